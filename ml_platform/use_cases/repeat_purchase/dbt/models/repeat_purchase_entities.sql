-- The customers to score: all of whom a purchase was known at the cutoff.
with customers as (
    select customer_id, min(visible_from) as known_from, max(visible_to) as known_to
    from {{ source('lake', 'feed_purchases') }}
    group by customer_id
)
select
    c.partition_key,
    p.customer_id,
    c.partition_start as event_time,
    c.cutoff,
    {{ monday('c') }} as monday
from {{ source('lake', 'cutoffs') }} as c
join customers as p
    on p.known_from <= c.cutoff and c.cutoff < p.known_to
