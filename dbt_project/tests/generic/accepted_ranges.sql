{#- Values of several columns lie between two ends, both included; nulls are not judged. One test and one scan. -#}
{% test accepted_ranges(model, ranges) %}
{%- for column, ends in ranges.items() %}
select '{{ column }}' as column_name, cast({{ column }} as double) as value
from {{ model }}
where {{ column }} < {{ ends[0] }} or {{ column }} > {{ ends[1] }}
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endtest %}
