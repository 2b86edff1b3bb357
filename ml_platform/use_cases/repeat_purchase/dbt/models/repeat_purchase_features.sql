-- Recency, frequency and value of each known customer, as they could be known at the cutoff.
-- First one row per customer and day, because a day with two purchases counts once; then one row per customer.
with daily as (
    select
        c.partition_key,
        p.customer_id,
        {{ monday('c') }} - p.purchased_on as age,
        sum(p.cds) as cds,
        -- Decimal, so that the order of the rows leaves no trace in the sum.
        sum(cast(p.value_usd as decimal(18, 2))) as value_usd
    from {{ source('lake', 'cutoffs') }} as c
    join {{ source('lake', 'feed_purchases') }} as p
        on {{ visible_at('p', 'c.cutoff') }}
    group by all
),
sums as (
    select
        partition_key,
        customer_id,
        cast(max(age) as integer) as tenure_days,
        cast(min(age) as integer) as recency_days,
        count(*) as days,
        count(*) filter (where age <= 91) as days_91,
        count(*) filter (where age <= 182) as days_182,
        cast(sum(cds) as double) as cds,
        cast(sum(value_usd) as double) as value_usd,
        cast(coalesce(sum(value_usd) filter (where age <= 91), 0) as double) as value_91
    from daily
    group by partition_key, customer_id
)
select
    e.partition_key,
    e.customer_id,
    e.event_time,
    e.cutoff,
    strftime(e.monday - s.tenure_days, '%Y-%m') as acquired,
    cast(s.recency_days as double) as recency_days,
    cast(s.tenure_days as double) as tenure_days,
    cast(s.days as double) as purchase_days,
    cast(s.days_91 as double) as purchase_days_91,
    cast(s.days_182 as double) as purchase_days_182,
    -- Share of the life so far that lay before the last purchase: 0 for those who bought once.
    cast(s.tenure_days - s.recency_days as double) / s.tenure_days as active_share,
    -- Days from purchase to purchase; for those who bought once nothing is known.
    case when s.days > 1 then cast(s.tenure_days - s.recency_days as double) / (s.days - 1) end as mean_gap_days,
    s.value_usd / s.days as mean_value_usd,
    s.cds / s.days as mean_cds,
    s.value_usd as total_value_usd,
    s.value_91 as value_usd_91
from {{ ref('repeat_purchase_entities') }} as e
join sums as s
    on s.partition_key = e.partition_key and s.customer_id = e.customer_id
