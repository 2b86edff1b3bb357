-- The flights to score: what the schedule, as it could be seen at the cutoff, has for each partition.
select
    c.partition_key,
    s.carrier,
    s.flight,
    s.origin,
    s.scheduled_departure as event_time,
    c.cutoff,
    s.dest,
    s.distance,
    s.scheduled_arrival,
    {{ local_hour('s') }} as local_hour
from {{ source('lake', 'cutoffs') }} as c
join {{ source('lake', 'feed_flight_schedule') }} as s
    on s.partition_key = c.partition_key
    and {{ visible_at('s', 'c.cutoff') }}
