-- Recency, frequency and value of each known customer, as they could be known at the cutoff.
select
    partition_key,
    customer_id,
    event_time,
    cutoff,
    strftime({{ monday('e') }} - cast(tenure_days as integer), '%Y-%m') as acquired,
    cast(recency_days as double) as recency_days,
    cast(tenure_days as double) as tenure_days,
    cast(days as double) as purchase_days,
    cast(days_91 as double) as purchase_days_91,
    cast(days_182 as double) as purchase_days_182,
    -- Share of the life so far that lay before the last purchase: 0 for those who bought once.
    cast(tenure_days - recency_days as double) / tenure_days as active_share,
    -- Days from purchase to purchase; for those who bought once nothing is known.
    case when days > 1 then cast(tenure_days - recency_days as double) / (days - 1) end as mean_gap_days,
    value_usd / days as mean_value_usd,
    cast(cds as double) / days as mean_cds,
    value_usd as total_value_usd,
    value_91 as value_usd_91
from {{ ref('repeat_purchase_entities') }} as e
