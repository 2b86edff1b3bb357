select
    e.partition_key, e.branch, e.loan_no, e.event_time,
    cast(r.returned_at > r.due_at as integer) as late,
    r.visible_from as label_known_at,
    r.returned_at
from {{ ref('library_loans_entities') }} as e
join {{ source('lake', 'cutoffs') }} as c on c.partition_key = e.partition_key
left join {{ source('lake', 'feed_returns') }} as r
    on r.partition_key = e.partition_key and r.branch = e.branch and r.loan_no = e.loan_no
    and r.visible_from <= c.as_of and c.as_of < r.visible_to
