-- What became of the flights, as far as it is known at as_of; null while it is not.
select
    e.partition_key,
    e.carrier,
    e.flight,
    e.origin,
    e.event_time,
    {{ is_late('o') }} as late,
    case when {{ is_late('o') }} is not null then o.visible_from end as label_known_at,
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
