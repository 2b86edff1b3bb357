-- What became of the flights, as far as it is known at as_of; null while it is not.
select
    e.partition_key,
    e.carrier,
    e.flight,
    e.origin,
    e.event_time,
    {{ is_late('o') }} as late,
    -- Known and unknown together with `late`.
    case
        when o.cancelled or o.diverted then 'not_flown'
        when o.arr_delay > 60 then 'over_an_hour'
        when o.arr_delay > 15 then 'up_to_an_hour'
        when o.arr_delay <= 15 then 'on_time'
    end as delay_band,
    case when {{ is_late('o') }} is not null then k.first_known end as label_known_at,
    k.revision,
    o.arr_delay,
    o.dep_delay,
    o.cancelled,
    o.diverted,
    o.departed_at,
    o.arrived_at
from {{ ref('flight_delay_entities') }} as e
join {{ source('lake', 'cutoffs') }} as c
    on c.partition_key = e.partition_key
left join {{ source('lake', 'feed_flight_outcomes') }} as o
    on o.partition_key = e.partition_key
    and o.carrier = e.carrier
    and o.flight = e.flight
    and o.origin = e.origin
    and {{ visible_at('o', 'c.as_of') }}
-- A label that is revised was known before: its age is that of its first arrival.
left join (
    select
        f.partition_key,
        f.carrier,
        f.flight,
        f.origin,
        min(f.visible_from) as first_known,
        count(distinct {{ is_late('f') }}) as revision
    from {{ source('lake', 'feed_flight_outcomes') }} as f
    where {{ is_late('f') }} is not null
    group by all
) as k
    on k.partition_key = e.partition_key
    and k.carrier = e.carrier
    and k.flight = e.flight
    and k.origin = e.origin
