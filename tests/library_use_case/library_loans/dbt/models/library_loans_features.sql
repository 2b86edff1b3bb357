with rates as (
    select
        c.cutoff, r.branch,
        count(*) as loans,
        sum(cast(r.returned_at > r.due_at as integer)) as late
    from (select distinct cutoff from {{ source('lake', 'cutoffs') }}) as c
    join {{ source('lake', 'feed_returns') }} as r
        on r.visible_from <= c.cutoff and c.cutoff < r.visible_to
        and r.due_at > c.cutoff - interval 120 day and r.due_at <= c.cutoff - interval 21 day
    group by all
)
select
    e.partition_key, e.branch, e.loan_no, e.event_time, e.cutoff, e.genre,
    cast(e.pages as double) as pages,
    cast(b.staff as double) as staff,
    (coalesce(r.late, 0) + 6.0) / (coalesce(r.loans, 0) + 20.0) as branch_late_rate
from {{ ref('library_loans_entities') }} as e
left join {{ source('lake', 'feed_branches') }} as b
    on b.branch = e.branch and b.visible_from <= e.cutoff and e.cutoff < b.visible_to
left join rates as r on r.cutoff = e.cutoff and r.branch = e.branch
