{#- Whether a revision of a feed's row is the one that could be seen at an instant. -#}
{%- macro visible_at(alias, instant) -%}
{{ alias }}.visible_from <= {{ instant }} and {{ instant }} < {{ alias }}.visible_to
{%- endmacro -%}
