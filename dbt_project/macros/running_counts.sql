{#- Sums of whole-number changes up to each cutoff, by some columns.

    `changes` has those columns, `cutoff` (the first at which a change counts) and the `counts`. One pass over the
    changes serves all cutoffs; joining each cutoff with its own history would read that history once for each. -#}
{%- macro running_counts(changes, keys, counts) -%}
select
    {{ keys | join(', ') }}{{ ',' if keys }}
    cutoff,
    {%- for count in counts %}
    cast(sum(sum({{ count }})) over (
        {{ 'partition by ' ~ keys | join(', ') if keys }} order by cutoff
    ) as bigint) as {{ count }}{{ ',' if not loop.last }}
    {%- endfor %}
from {{ changes }}
group by {{ keys | join(', ') }}{{ ',' if keys }} cutoff
{%- endmacro -%}
