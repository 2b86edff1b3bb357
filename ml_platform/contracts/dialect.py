"""The part of ODCS and of Great Expectations that a contract may use, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ml_platform.contracts.model import LogicalType, OnBreach, Operator

LOGICAL_TYPES: tuple[str, ...] = get_args(LogicalType)
ON_BREACH: tuple[str, ...] = get_args(OnBreach)
OPERATORS: tuple[str, ...] = get_args(Operator)
DIMENSIONS = (
    "accuracy",
    "completeness",
    "conformity",
    "consistency",
    "coverage",
    "timeliness",
    "uniqueness",
)
METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
ENGINES = ("greatExpectations", "ml_platform")
TYPE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "boolean": (),
    "date": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "timestamp": (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "timezone",
        "defaultTimezone",
    ),
}
"""``logicalTypeOptions`` that are enforced, by logical type."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How an expectation is called.

    Attributes:
        by_row: It judges each row, so that rows can be quarantined; else the partition as a whole.
        columns: Arguments that name a column, or a list of columns, each required.
        required: Other arguments that must be there.
        optional: Arguments that may be there.
        values: Arguments that hold values of the column, or lists of them.
    """

    by_row: bool
    columns: tuple[str, ...] = ("column",)
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def arguments(self) -> set[str]:
        """All arguments it knows."""
        return {*self.columns, *self.required, *self.optional}


_BETWEEN = ("min_value", "max_value", "strict_min", "strict_max")
_ENDS = ("min_value", "max_value")


def _statistic(values: tuple[str, ...] = ()) -> Shape:
    return Shape(False, optional=_BETWEEN, values=values)


EXPECTATIONS: Mapping[str, Shape] = {
    "expect_column_values_to_not_be_null": Shape(True),
    "expect_column_values_to_be_null": Shape(True),
    "expect_column_values_to_be_between": Shape(True, optional=_BETWEEN, values=_ENDS),
    "expect_column_values_to_be_in_set": Shape(True, required=("value_set",), values=("value_set",)),
    "expect_column_values_to_not_be_in_set": Shape(True, required=("value_set",), values=("value_set",)),
    "expect_column_values_to_match_regex": Shape(True, required=("regex",)),
    "expect_column_values_to_not_match_regex": Shape(True, required=("regex",)),
    "expect_column_values_to_be_unique": Shape(True),
    "expect_column_value_lengths_to_be_between": Shape(True, optional=_BETWEEN),
    "expect_column_value_lengths_to_equal": Shape(True, required=("value",)),
    "expect_column_pair_values_a_to_be_greater_than_b": Shape(
        True, ("column_A", "column_B"), optional=("or_equal", "ignore_row_if")
    ),
    "expect_column_pair_values_to_be_equal": Shape(
        True, ("column_A", "column_B"), optional=("ignore_row_if",)
    ),
    "expect_compound_columns_to_be_unique": Shape(True, ("column_list",), optional=("ignore_row_if",)),
    "expect_select_column_values_to_be_unique_within_record": Shape(
        True, ("column_list",), optional=("ignore_row_if",)
    ),
    "expect_multicolumn_sum_to_equal": Shape(
        True, ("column_list",), required=("sum_total",), optional=("ignore_row_if",)
    ),
    "expect_column_mean_to_be_between": _statistic(),
    "expect_column_median_to_be_between": _statistic(),
    "expect_column_stdev_to_be_between": _statistic(),
    "expect_column_sum_to_be_between": _statistic(),
    "expect_column_min_to_be_between": _statistic(_ENDS),
    "expect_column_max_to_be_between": _statistic(_ENDS),
    "expect_column_unique_value_count_to_be_between": _statistic(),
    "expect_column_proportion_of_unique_values_to_be_between": _statistic(),
    "expect_column_distinct_values_to_be_in_set": Shape(
        False, required=("value_set",), values=("value_set",)
    ),
    "expect_column_distinct_values_to_contain_set": Shape(
        False, required=("value_set",), values=("value_set",)
    ),
    "expect_column_distinct_values_to_equal_set": Shape(
        False, required=("value_set",), values=("value_set",)
    ),
}
"""The expectations that a contract may name."""
