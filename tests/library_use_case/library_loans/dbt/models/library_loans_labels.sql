select
    e.partition_key, e.branch, e.loan_no, e.event_time,
    cast(r.returned_at > r.due_at as integer) as late,
    date_diff('hour', r.due_at, r.returned_at) / 24.0 as days_late,
    case
        when r.returned_at <= r.due_at then 'in_time'
        when r.returned_at <= r.due_at + interval 4 day then 'late'
        when r.returned_at is not null then 'very_late'
    end as return_band,
    case when r.returned_at is not null then k.first_known end as label_known_at,
    k.revision,
    r.returned_at
from {{ ref('library_loans_entities') }} as e
join {{ source('lake', 'cutoffs') }} as c on c.partition_key = e.partition_key
left join {{ source('lake', 'feed_returns') }} as r
    on r.partition_key = e.partition_key and r.branch = e.branch and r.loan_no = e.loan_no
    and r.visible_from <= c.as_of and c.as_of < r.visible_to
-- A label that is revised was known before: its age is that of its first arrival.
left join (
    select
        partition_key, branch, loan_no,
        min(visible_from) as first_known,
        count(distinct returned_at > due_at) as revision
    from {{ source('lake', 'feed_returns') }}
    where returned_at is not null
    group by all
) as k on k.partition_key = e.partition_key and k.branch = e.branch and k.loan_no = e.loan_no
