{#- Hour of the scheduled departure on the clocks of New York. -#}
{%- macro local_hour(flight) -%}
cast(substr({{ flight }}.sched_dep_local, 12, 2) as integer)
{%- endmacro -%}
