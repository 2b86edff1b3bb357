{#- The label's window and when it is over: 90 days from the Monday on, the Monday included. -#}
{%- macro window_days() -%}90{%- endmacro -%}

{#- The local date of a partition's first day. -#}
{%- macro monday(alias) -%}
cast({{ alias }}.partition_key as date)
{%- endmacro -%}

{#- Whether a revision of a feed's row is the one that could be seen at an instant. -#}
{%- macro visible_at(alias, instant) -%}
{{ alias }}.visible_from <= {{ instant }} and {{ instant }} < {{ alias }}.visible_to
{%- endmacro -%}
