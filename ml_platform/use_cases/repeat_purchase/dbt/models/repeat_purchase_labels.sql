-- What the customers did in the 90 days, as far as it is known at as_of.
-- A purchase makes the label 1 at once. A 0 needs the whole window: it is known from the instant at which the feed
-- had told of the window's last day, so that an outage of the feed makes no negatives.
-- What was spent needs the whole window as well, also of those who have bought: their next purchase may be to come.
with days as (
    select purchased_on, min(visible_from) as told_at
    from {{ source('lake', 'feed_purchases') }}
    group by purchased_on
),
ends as (
    select c.partition_key, c.as_of, min(d.told_at) as over_at
    from {{ source('lake', 'cutoffs') }} as c
    left join days as d on d.purchased_on >= {{ monday('c') }} + {{ window_days() }} - 1
    group by all
),
buyers as (
    select
        c.partition_key,
        p.customer_id,
        min(p.visible_from) as first_told_at,
        min(p.purchased_on) as next_on,
        -- Decimal, so that the order of the rows leaves no trace in the sum.
        sum(cast(p.value_usd as decimal(18, 2))) as spend_usd
    from {{ source('lake', 'cutoffs') }} as c
    join {{ source('lake', 'feed_purchases') }} as p
        on p.purchased_on >= {{ monday('c') }} and p.purchased_on < {{ monday('c') }} + {{ window_days() }}
        and {{ visible_at('p', 'c.as_of') }}
    group by all
)
select
    e.partition_key,
    e.customer_id,
    e.event_time,
    case when b.first_told_at is not null then 1 when w.over_at <= w.as_of then 0 end as bought,
    case when b.first_told_at is not null then b.first_told_at when w.over_at <= w.as_of then w.over_at end
        as label_known_at,
    b.next_on,
    case when w.over_at <= w.as_of then cast(coalesce(b.spend_usd, 0) as double) end as spend_usd,
    case when w.over_at <= w.as_of then w.over_at end as spend_known_at
from {{ ref('repeat_purchase_entities') }} as e
join ends as w on w.partition_key = e.partition_key
left join buyers as b on b.partition_key = e.partition_key and b.customer_id = e.customer_id
