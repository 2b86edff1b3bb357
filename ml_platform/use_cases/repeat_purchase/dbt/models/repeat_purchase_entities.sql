-- The customers to score: all who had bought by the cutoff, with what their purchases come to.
-- First one row per customer and day, because a day with two purchases counts once; then one row per customer.
with daily as (
    select
        c.partition_key,
        c.partition_start,
        c.cutoff,
        p.customer_id,
        p.purchased_on,
        {{ monday('c') }} - p.purchased_on as age,
        sum(p.cds) as cds,
        -- Decimal, so that the order of the rows leaves no trace in the sum.
        sum(cast(p.value_usd as decimal(18, 2))) as value_usd
    from {{ source('lake', 'cutoffs') }} as c
    join {{ source('lake', 'feed_purchases') }} as p
        on {{ visible_at('p', 'c.cutoff') }}
    group by all
)
select
    partition_key,
    customer_id,
    partition_start as event_time,
    cutoff,
    max(age) as tenure_days,
    min(age) as recency_days,
    count(*) as days,
    count(*) filter (where age <= 91) as days_91,
    count(*) filter (where age <= 182) as days_182,
    cast(sum(cds) as bigint) as cds,
    cast(sum(value_usd) as double) as value_usd,
    cast(coalesce(sum(value_usd) filter (where age <= 91), 0) as double) as value_91
from daily
group by partition_key, customer_id, partition_start, cutoff
