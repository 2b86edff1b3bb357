{#- Each row of another model has exactly one row here, by these columns. -#}
{% test same_rows(model, to, columns) %}
select {{ columns | join(', ') }}
from (
    select {{ columns | join(', ') }}, 1 as here from {{ model }}
    union all
    select {{ columns | join(', ') }}, -1 as here from {{ to }}
)
group by {{ columns | join(', ') }}
having sum(here) <> 0
{% endtest %}
