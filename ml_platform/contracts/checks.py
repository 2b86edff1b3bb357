"""Checks by name: how the platform calls an expectation, and how it says it to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_platform.contracts.model import (
    NO_ROWS,
    PARTITION_KEY,
    Check,
    Expectation,
    RowCheck,
    RowCountCheck,
    SameWeekdayCheck,
    SegmentNullRateCheck,
    TableCheck,
)


def not_null(column: str) -> Expectation:
    """No missing value; NaN counts as missing."""
    return Expectation("expect_column_values_to_not_be_null", {"column": column})


def unique(columns: Sequence[str]) -> Expectation:
    """No two rows of a partition with the same values in these columns (rows with a null aside)."""
    kwargs = {"column_list": [PARTITION_KEY, *columns], "ignore_row_if": "any_value_is_missing"}
    return Expectation("expect_compound_columns_to_be_unique", kwargs)


def one_of(column: str, values: Sequence[Any]) -> Expectation:
    """Only these values."""
    return Expectation("expect_column_values_to_be_in_set", {"column": column, "value_set": list(values)})


def matches(column: str, pattern: str) -> Expectation:
    """Values in which the pattern is found; anchor it with ^ and $ to mean the whole value."""
    return Expectation("expect_column_values_to_match_regex", {"column": column, "regex": pattern})


def scoped(name: str, kwargs: dict[str, Any]) -> Expectation:
    """The expectation with our defaults: unique means in a partition, missing values are not judged."""
    if name == "expect_column_values_to_be_unique":
        return unique([kwargs["column"]])
    if "column_B" in kwargs:
        kwargs.setdefault("ignore_row_if", "either_value_is_missing")
    if "column_list" in kwargs:
        kwargs.setdefault("ignore_row_if", "any_value_is_missing")
    if name == "expect_compound_columns_to_be_unique":
        kwargs["column_list"] = [PARTITION_KEY, *kwargs["column_list"]]
    return Expectation(name, kwargs)


def requirement(check: Check) -> str:
    """What a check requires, for people."""
    if isinstance(check, RowCheck):
        text = " and ".join(_says(e) for e in check.expectations)
        return text if check.limit is NO_ROWS else f"{text}; {check.limit} may break it"
    if isinstance(check, TableCheck):
        return _says(check.expectation)
    if isinstance(check, RowCountCheck):
        return f"must have {check.limit}"
    if isinstance(check, SameWeekdayCheck):
        return (
            f"rows within max({check.mad_multiplier:g} x 1.4826 x MAD, {check.warn_deviation:.0%}) of the "
            f"same weekday's median, and not below {check.hold_below:.0%} of it"
        )
    if isinstance(check, SegmentNullRateCheck):
        return f"nulls of {check.column} by {check.by} at most {check.maximum_increase:.0%} above reference"
    return check.aspect


def _says(expectation: Expectation) -> str:
    name, kwargs = expectation.name, expectation.kwargs
    if "min_value" in kwargs or "max_value" in kwargs:
        return f"{_subject(name)}must be {_range(kwargs)}"
    words: dict[str, Callable[[], str]] = {
        "expect_column_values_to_not_be_null": lambda: "must not be missing",
        "expect_column_values_to_be_in_set": lambda: f"must be one of {_shortened(kwargs['value_set'])}",
        "expect_column_values_to_not_be_in_set": lambda: f"must be none of {_shortened(kwargs['value_set'])}",
        "expect_column_values_to_match_regex": lambda: f"must match {kwargs['regex']}",
        "expect_compound_columns_to_be_unique": lambda: (
            f"must be unique in the partition by {', '.join(kwargs['column_list'][1:])}"
        ),
        "expect_column_pair_values_a_to_be_greater_than_b": lambda: (
            f"{kwargs['column_A']} must be {'at least' if kwargs.get('or_equal') else 'greater than'} "
            f"{kwargs['column_B']}"
        ),
    }
    if name in words:
        return words[name]()
    arguments = ", ".join(f"{k}={v}" for k, v in kwargs.items() if k not in ("column", "ignore_row_if"))
    return f"must fulfil {name.removeprefix('expect_')}({arguments})"


def _subject(name: str) -> str:
    """What of a column is limited: nothing to add for its values, else "length", "mean" and so on."""
    if name.startswith("expect_column_value_lengths"):
        return "length "
    subject = name.removeprefix("expect_column_").removesuffix("_to_be_between")
    return "" if subject == "values" else f"{subject.replace('_', ' ')} "


def _range(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = "above" if kwargs.get("strict_min") else "at least"
    below = "below" if kwargs.get("strict_max") else "at most"
    ends = [f"{above} {low}"] if low is not None else []
    return " and ".join(ends + ([f"{below} {high}"] if high is not None else []))


def _shortened(values: Sequence[Any], most: int = 8) -> str:
    return ", ".join(map(str, values[:most])) + (f" … ({len(values)})" if len(values) > most else "")


def columns_of(check: Check) -> tuple[str, ...]:
    """The contract's columns that a check reads."""
    if isinstance(check, SegmentNullRateCheck):
        return (check.column, check.by)
    if isinstance(check, RowCheck):
        expectations: tuple[Expectation, ...] = check.expectations
    elif isinstance(check, TableCheck):
        expectations = (check.expectation,)
    else:
        return ()
    found: dict[str, None] = {}
    for expectation in expectations:
        for argument in ("column", "column_A", "column_B", "column_list"):
            value = expectation.kwargs.get(argument, [])
            found |= dict.fromkeys([value] if isinstance(value, str) else value)
    return tuple(n for n in found if n != PARTITION_KEY)
