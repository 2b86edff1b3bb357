select c.partition_key, l.branch, l.loan_no, l.due_at as event_time, c.cutoff, l.genre, l.pages
from {{ source('lake', 'cutoffs') }} as c
join {{ source('lake', 'feed_loans') }} as l
    on l.partition_key = c.partition_key
    and l.visible_from <= c.cutoff and c.cutoff < l.visible_to
