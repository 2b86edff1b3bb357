"""Counts and null rates are judged against what came before, and not at all without it."""

import numpy as np
import pyarrow as pa
import pytest

from ml_platform.contracts.model import (
    Limit,
    Operator,
    RowCountCheck,
    Rule,
    SameWeekdayCheck,
    SegmentNullRateCheck,
)
from ml_platform.contracts.table_rules import (
    null_rates,
    row_count,
    same_weekday_row_count,
    segment_counts,
    segment_null_rate,
)

WEEKDAY = SameWeekdayCheck()
RULE = Rule("rule", None, WEEKDAY, "warn", "as usual")
MONDAYS = {f"2024-05-{d:02}": 100 for d in (6, 13, 20, 27)}
NULLS = SegmentNullRateCheck("price", "shop", minimum_rows=200)


@pytest.mark.parametrize(
    ("rows", "state", "on_breach"),
    [
        (100, "PASS", "warn"),
        (110, "PASS", "warn"),
        (111, "FAIL", "warn"),
        (89, "FAIL", "warn"),
        (50, "FAIL", "warn"),
        (49, "FAIL", "hold"),
        (0, "FAIL", "hold"),
    ],
)
def test_a_count_is_compared_with_its_weekday(rows: int, state: str, on_breach: str) -> None:
    later_mondays = ("2024-06-10", "2024-06-17", "2024-06-24", "2024-07-01", "2024-07-08")
    noise = dict.fromkeys(("2024-05-07", "2024-05-14", *later_mondays), 9000)
    result = same_weekday_row_count(RULE, WEEKDAY, "2024-06-03", rows, MONDAYS | noise, complete=True)
    assert (result.state, result.on_breach, result.observed) == (state, on_breach, rows)


def test_a_weekday_that_varies_is_given_room() -> None:
    varied = dict(zip(MONDAYS, (80, 95, 105, 120), strict=True))
    assert same_weekday_row_count(RULE, WEEKDAY, "2024-06-03", 160, varied, complete=True).state == "PASS"
    assert same_weekday_row_count(RULE, WEEKDAY, "2024-06-03", 190, varied, complete=True).state == "FAIL"


def test_a_count_is_not_judged_early_or_without_history() -> None:
    for history, key, complete in (
        (MONDAYS, "2024-06-03", False),
        (dict(list(MONDAYS.items())[1:]), "2024-06-03", True),
        (MONDAYS, "2024-06-04", True),
        (MONDAYS, "static", True),
    ):
        result = same_weekday_row_count(RULE, WEEKDAY, key, 1, history, complete=complete)
        assert (result.state, bool(result.reason)) == ("UNKNOWN", True)


def test_only_the_latest_partitions_are_compared() -> None:
    check = SameWeekdayCheck(maximum_partitions=4)
    old = {f"2024-04-{d:02}": 1000 for d in (1, 8, 15, 22, 29)}
    result = same_weekday_row_count(RULE, check, "2024-06-03", 100, old | MONDAYS, complete=True)
    assert result.state == "PASS"


@pytest.mark.parametrize(
    ("operator", "low", "high", "kept"),
    [
        ("mustBe", 3, 3, [3]),
        ("mustNotBe", 3, 3, [1, 2, 4, 5]),
        ("mustBeGreaterThan", 3, 3, [4, 5]),
        ("mustBeGreaterOrEqualTo", 3, 3, [3, 4, 5]),
        ("mustBeLessThan", 3, 3, [1, 2]),
        ("mustBeLessOrEqualTo", 3, 3, [1, 2, 3]),
        ("mustBeBetween", 2, 4, [2, 3, 4]),
        ("mustNotBeBetween", 2, 4, [1, 5]),
    ],
)
def test_limits_compare_as_odcs_says(operator: Operator, low: float, high: float, kept: list[int]) -> None:
    check = RowCountCheck(Limit(operator, low, high))
    states = {n: row_count(RULE, check, "k", n, complete=True).state for n in range(1, 6)}
    assert [n for n, state in states.items() if state == "PASS"] == kept
    assert row_count(RULE, check, "k", 3, complete=False).state == "UNKNOWN"


def history(rate: float, partitions: int = 4) -> dict[str, dict[str, float]]:
    return {f"2024-05-{d + 1:02}": {"north": rate} for d in range(partitions)}


@pytest.mark.parametrize(
    ("nulls", "rows", "reference", "state"),
    [
        (16, 300, 0.0, "PASS"),
        (17, 300, 0.0, "FAIL"),
        (44, 300, 0.10, "PASS"),
        (46, 300, 0.10, "PASS"),
        (60, 300, 0.10, "FAIL"),
        (300, 300, 0.0, "FAIL"),
    ],
)
def test_nulls_of_a_segment_are_compared_with_its_worst_partition(
    nulls: int, rows: int, reference: float, state: str
) -> None:
    past = history(reference) | {"2024-04-30": {"north": 0.0}}
    result = segment_null_rate(RULE, NULLS, "2024-06-01", {"north": (rows, nulls)}, past)
    assert result.state == state
    assert ("north" in result.reason) == (state == "FAIL")


def test_small_new_and_later_segments_are_not_judged() -> None:
    for counts, past in (
        ({"north": (199, 199)}, history(0.0)),
        ({"north": (300, 300)}, history(0.0, 3)),
        ({"south": (300, 300)}, history(0.0)),
        ({"north": (300, 300)}, {"2024-07-0" + k[-1]: v for k, v in history(0.0).items()}),
    ):
        assert segment_null_rate(RULE, NULLS, "2024-06-01", counts, past).state == "UNKNOWN"


def test_segments_are_counted_by_partition() -> None:
    values = pa.chunked_array([[1.0, None, float("nan"), 4.0, None]])
    segments = pa.chunked_array([["a", "a", "b", None, "a"]])
    codes = np.array([0, 0, 0, 1, 2])
    counted = segment_counts(values, segments, codes, 3)
    assert counted == [{"a": (2, 1), "b": (1, 1)}, {}, {"a": (1, 1)}]
    assert null_rates(SegmentNullRateCheck("x", "y", minimum_rows=2), counted[0]) == {"a": 0.5}
