{#- A rate drawn towards a prior, as if `weight` more rows had it. Whole numbers in, so that the order in which
    rows were counted leaves no trace; nothing counted yet gives the prior. -#}
{%- macro smoothed_rate(events, rows, prior, weight) -%}
({{ events }} + {{ weight }} * {{ prior }}) / ({{ rows }} + {{ weight }})
{%- endmacro -%}
