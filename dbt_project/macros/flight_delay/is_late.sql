{#- What late means, for the label and for the rates of lateness alike; null while the arrival is not known. -#}
{%- macro is_late(outcome) -%}
case
    when {{ outcome }}.cancelled or {{ outcome }}.diverted then 1
    when {{ outcome }}.arr_delay > 15 then 1
    when {{ outcome }}.arr_delay <= 15 then 0
end
{%- endmacro -%}
