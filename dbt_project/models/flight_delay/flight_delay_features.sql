-- Features of the flights to score, each cut at its own cutoff.
--
-- Rates of lateness and seats count 60 days of outcomes, which end 11 days (264 hours) before the cutoff. Late flights
-- are reported later than others, so that rates over younger days would flatter; after 11 days all are reported.
-- Counts are whole numbers, so that one day and a year at once give the same bits.
with moments as (
    select distinct cutoff from {{ source('lake', 'cutoffs') }}
),

-- Each outcome counts from one instant until another.
outcomes as (
    select
        o.carrier,
        o.flight,
        o.origin,
        o.dest,
        {{ local_hour('o') }} as local_hour,
        o.tailnum,
        {{ is_late('o') }} as late,
        timezone('America/New_York', cast(o.partition_key as timestamp)) as midnight,
        greatest(o.visible_from, midnight + interval 264 hour) as counts_from,
        least(o.visible_to, midnight + interval 1704 hour) as counts_to
    from {{ source('lake', 'feed_flight_outcomes') }} as o
),

-- The aircraft's seats as they are known when the outcome begins to count.
facts as (
    select o.* exclude (tailnum, midnight), p.seats
    from outcomes as o
    left join {{ source('lake', 'feed_planes') }} as p
        on p.tailnum = o.tailnum
        and {{ visible_at('p', 'o.counts_from') }}
    where o.late is not null and o.counts_from < o.counts_to
),

events as (
    select * exclude (counts_from, counts_to), counts_from as instant, 1 as step from facts
    union all
    select * exclude (counts_from, counts_to), counts_to as instant, -1 as step from facts
),

-- The first cutoff at which an event counts. The instants are few: most outcomes wait for their day to mature.
instants as (
    select i.instant, m.cutoff
    from (select distinct instant from events) as i
    asof join moments as m
        on m.cutoff >= i.instant
),

changes as (
    select
        e.carrier,
        e.flight,
        e.origin,
        e.dest,
        e.local_hour,
        i.cutoff,
        sum(e.step) as flights,
        sum(e.step * e.late) as late,
        coalesce(sum(e.step) filter (e.seats is not null), 0) as seated,
        coalesce(sum(e.step * e.seats), 0) as seats
    from events as e
    join instants as i
        on i.instant = e.instant
    group by all
    union all
    -- Changes nothing, but gives each flight to score a count at its own cutoff.
    select carrier, flight, origin, dest, local_hour, cutoff, 0, 0, 0, 0
    from {{ ref('flight_delay_entities') }}
),

by_all as (
    {{ running_counts('changes', [], ['flights', 'late']) }}
),

by_carrier as (
    {{ running_counts('changes', ['carrier'], ['flights', 'late']) }}
),

by_dest as (
    {{ running_counts('changes', ['dest'], ['flights', 'late']) }}
),

by_hour as (
    {{ running_counts('changes', ['origin', 'local_hour'], ['flights', 'late']) }}
),

by_flight as (
    {{ running_counts('changes', ['carrier', 'flight', 'origin'], ['flights', 'late', 'seated', 'seats']) }}
),

by_route as (
    {{ running_counts('changes', ['carrier', 'origin', 'dest'], ['flights', 'late', 'seated', 'seats']) }}
),

weather_days as (
    select
        cutoff,
        strftime(timezone('America/New_York', cutoff) - to_days(unnest([0, 1])), '%Y-%m-%d') as partition_key
    from moments
),

-- The newest value of each kind among the last twelve hours; older weather is no weather.
weather as (
    select
        d.cutoff,
        w.origin,
        arg_max(w.temp, w.observed_at) as temp,
        arg_max(w.humid, w.observed_at) as humid,
        arg_max(w.wind_speed, w.observed_at) as wind_speed,
        -- No gust is reported where there is none.
        arg_max(coalesce(w.wind_gust, w.wind_speed), w.observed_at) as wind_gust,
        arg_max(w.visib, w.observed_at) as visib,
        sum(cast(round(w.precip * 100) as bigint)) / 100.0 as precip_12h,
        date_diff('minute', max(w.observed_at), d.cutoff) / 60.0 as weather_age_hours
    from weather_days as d
    join {{ source('lake', 'feed_weather_observations') }} as w
        on w.partition_key = d.partition_key
        and {{ visible_at('w', 'd.cutoff') }}
        and w.observed_at > d.cutoff - interval 12 hour
    group by d.cutoff, w.origin
),

flights as (
    select
        *,
        count(*) over (partition by partition_key, origin, local_hour) as origin_hour_departures,
        count(*) over (partition by partition_key, origin, carrier) as carrier_day_departures
    from {{ ref('flight_delay_entities') }}
)

select
    e.partition_key,
    e.carrier,
    e.flight,
    e.origin,
    e.event_time,
    e.cutoff,
    cast(e.local_hour as double) as local_hour,
    cast(isodow(cast(e.partition_key as date)) as double) as weekday,
    cast(date_diff('minute', e.event_time, e.scheduled_arrival) as double) as block_minutes,
    cast(e.distance as double) as distance,
    coalesce(f.seats / nullif(f.seated, 0), r.seats / nullif(r.seated, 0)) as typical_seats,
    cast(e.origin_hour_departures as double) as origin_hour_departures,
    cast(e.carrier_day_departures as double) as carrier_day_departures,
    w.temp,
    w.humid,
    w.wind_speed,
    w.wind_gust,
    w.visib,
    cast(w.precip_12h as double) as precip_12h,
    w.weather_age_hours,
    -- Null before the first outcome is mature.
    a.late / nullif(a.flights, 0) as late_rate,
    {{ smoothed_rate('c.late', 'c.flights', 'late_rate', 50) }} as carrier_late_rate,
    {{ smoothed_rate('d.late', 'd.flights', 'late_rate', 50) }} as dest_late_rate,
    {{ smoothed_rate('h.late', 'h.flights', 'late_rate', 50) }} as origin_hour_late_rate,
    {{ smoothed_rate('r.late', 'r.flights', 'late_rate', 30) }} as route_late_rate,
    {{ smoothed_rate('f.late', 'f.flights', 'late_rate', 10) }} as flight_late_rate
from flights as e
left join weather as w
    on w.cutoff = e.cutoff
    and w.origin = e.origin
left join by_all as a
    on a.cutoff = e.cutoff
left join by_carrier as c
    on c.cutoff = e.cutoff
    and c.carrier = e.carrier
left join by_dest as d
    on d.cutoff = e.cutoff
    and d.dest = e.dest
left join by_hour as h
    on h.cutoff = e.cutoff
    and h.origin = e.origin
    and h.local_hour = e.local_hour
left join by_flight as f
    on f.cutoff = e.cutoff
    and f.carrier = e.carrier
    and f.flight = e.flight
    and f.origin = e.origin
left join by_route as r
    on r.cutoff = e.cutoff
    and r.carrier = e.carrier
    and r.origin = e.origin
    and r.dest = e.dest
