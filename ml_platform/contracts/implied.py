"""The rules that a contract's columns imply without being spelt out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_platform.contracts.checks import matches, not_null, one_of, requirement, unique
from ml_platform.contracts.model import KEY_RULE, Column, Expectation, OnBreach, RowCheck, Rule, SchemaCheck
from ml_platform.contracts.quality import breach, tolerant
from ml_platform.contracts.source import require_order


def schema_rules() -> list[Rule]:
    """The rules that every contract has: what a delivery's columns must be."""
    says: list[tuple[str, SchemaCheck, OnBreach, str]] = [
        ("schema_columns", SchemaCheck("missing"), "hold", "every promised column must be there"),
        ("schema_extra_columns", SchemaCheck("extra"), "warn", "no column beyond the promised ones"),
        ("schema_types", SchemaCheck("types"), "quarantine", "every value must be of the promised type"),
    ]
    return [Rule(name, None, check, on_breach, text) for name, check, on_breach, text in says]


def key_rule(key: Sequence[str]) -> Rule:
    """No two rows of a partition with one key."""
    check = RowCheck((unique(key),))
    return Rule(
        KEY_RULE,
        None,
        check,
        "quarantine",
        requirement(check),
        dimension="uniqueness",
        columns=tuple(key),
    )


def column_rules(column: Column, options: Mapping[str, Any], custom: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules that a property implies by itself.

    Args:
        column: The column.
        options: Its ``logicalTypeOptions``, values already typed.
        custom: Its ``onBreach`` and ``tolerance``, if it has them; rows are quarantined otherwise.

    Raises:
        Problem: ``custom`` has no such meaning.
    """
    on_breach = breach(custom, required=False)
    for suffix, dimension, expectation in _implied(column, options):
        check = tolerant(RowCheck((expectation,)), custom, on_breach)
        yield Rule(
            f"{column.name}_{suffix}",
            column.name,
            check,
            on_breach,
            requirement(check),
            dimension,
            columns=(column.name,),
        )


def _implied(column: Column, options: Mapping[str, Any]) -> Iterator[tuple[str, str, Expectation]]:
    name = column.name
    if column.required:
        yield "required", "completeness", not_null(name)
    if column.unique:
        yield "unique", "uniqueness", unique([name])
    if column.enum:
        yield "enum", "conformity", one_of(name, column.enum)
    if "pattern" in options:
        yield "pattern", "conformity", matches(name, options["pattern"])
    if lengths := _ends(options, "minLength", "maxLength"):
        kwargs = {"column": name, **lengths}
        yield "length", "conformity", Expectation("expect_column_value_lengths_to_be_between", kwargs)
    if ends := _ends(options, "minimum", "maximum"):
        yield "range", "accuracy", Expectation("expect_column_values_to_be_between", {"column": name, **ends})
    if ends := _ends(options, "exclusiveMinimum", "exclusiveMaximum"):
        kwargs = {"column": name, **ends, "strict_min": True, "strict_max": True}
        yield "open_range", "accuracy", Expectation("expect_column_values_to_be_between", kwargs)


def _ends(options: Mapping[str, Any], low: str, high: str) -> dict[str, Any]:
    named = {"min_value": options.get(low), "max_value": options.get(high)}
    require_order(named, "logicalTypeOptions", high)
    return {k: v for k, v in named.items() if v is not None}
