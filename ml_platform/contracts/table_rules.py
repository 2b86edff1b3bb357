"""Rules about a partition as a whole that compare it with earlier ones; plain functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import bdtrc

from ml_platform.contracts.model import (
    RowCountCheck,
    Rule,
    RuleResult,
    SameWeekdayCheck,
    SegmentNullRateCheck,
)
from ml_platform.partitions import key_time

_MAD_TO_SIGMA = 1.4826
SegmentCounts = Mapping[str, tuple[int, int]]
"""(rows, nulls) by segment."""


def row_count(rule: Rule, check: RowCountCheck, partition: str, rows: int, *, complete: bool) -> RuleResult:
    """Judge a partition's row count against the contract's limit."""
    if not complete:
        return _unknown(rule, partition, rows, "the partition is not complete yet")
    kept = check.limit.holds(rows)
    return RuleResult(
        rule.name,
        partition,
        None,
        rule.on_breach,
        "PASS" if kept else "FAIL",
        rows,
        str(check.limit),
        checked_rows=rows,
        reason="" if kept else f"{rows} rows; {rule.requirement}",
    )


def same_weekday_row_count(
    rule: Rule,
    check: SameWeekdayCheck,
    partition: str,
    rows: int,
    history: Mapping[str, int],
    *,
    complete: bool,
) -> RuleResult:
    """Judge a partition's row count against the median of earlier partitions of its weekday.

    Args:
        rule: The rule.
        check: Its thresholds.
        partition: Partition key.
        rows: Rows that would be accepted.
        history: Accepted rows of complete partitions; those before ``partition`` count.
        complete: Whether nothing new is expected in the partition; UNKNOWN otherwise.
    """
    if not complete:
        return _unknown(rule, partition, rows, "the partition is not complete yet")
    counts = _same_weekday(partition, history)[-check.maximum_partitions :]
    if len(counts) < max(check.minimum_partitions, 1):
        reason = f"{len(counts)} earlier partitions of this weekday; {check.minimum_partitions} are needed"
        return _unknown(rule, partition, rows, reason)
    middle = median(counts)
    deviation = median(abs(c - middle) for c in counts)
    width = max(check.mad_multiplier * _MAD_TO_SIGMA * deviation, check.warn_deviation * middle)
    limit = f"{middle - width:.0f} to {middle + width:.0f}, held below {check.hold_below * middle:.0f}"
    too_few, kept = rows < check.hold_below * middle, abs(rows - middle) <= width
    return RuleResult(
        rule.name,
        partition,
        None,
        "hold" if too_few else rule.on_breach,
        "PASS" if kept and not too_few else "FAIL",
        rows,
        limit,
        checked_rows=rows,
        reason="" if kept else f"{rows} rows where this weekday has {middle:.0f}",
    )


def segment_null_rate(
    rule: Rule,
    check: SegmentNullRateCheck,
    partition: str,
    counts: SegmentCounts,
    history: Mapping[str, Mapping[str, float]],
) -> RuleResult:
    """Judge the share of nulls in each segment against the worst earlier partition.

    Args:
        rule: The rule.
        check: Its thresholds.
        partition: Partition key.
        counts: (rows, nulls) by segment in this partition.
        history: Share of nulls by partition and segment; those before ``partition`` count.

    Returns:
        Observed is the largest share among the segments judged.
    """
    earlier = [history[k] for k in sorted(history) if k < partition][-check.maximum_partitions :]
    judged: dict[str, float] = {}
    broken: dict[str, str] = {}
    for segment, rate in null_rates(check, counts).items():
        reference = [rates[segment] for rates in earlier if segment in rates]
        if len(reference) < max(check.minimum_partitions, 1):
            continue
        base = max(*reference, check.floor)
        limit = base + check.maximum_increase
        rows, nulls = counts[segment]
        judged[segment] = rate
        if rate > limit and bdtrc(nulls - 1, rows, min(base, 1.0)) < check.p_value:
            broken[segment] = f"{segment}: {rate:.1%} of {rows} rows, at most {limit:.1%}"
    checked = sum(counts[s][0] for s in judged)
    if not judged:
        return _unknown(rule, partition, 0, "no segment has enough rows and earlier partitions")
    return RuleResult(
        rule.name,
        partition,
        check.column,
        rule.on_breach,
        "FAIL" if broken else "PASS",
        max(judged.values()),
        f"worst reference, at least {check.floor:.1%}, plus {check.maximum_increase:.1%}",
        failed_rows=sum(counts[s][1] for s in broken),
        checked_rows=checked,
        reason="; ".join(broken.values()),
    )


def null_rates(check: SegmentNullRateCheck, counts: SegmentCounts) -> dict[str, float]:
    """Share of nulls in each segment that is large enough, to be the reference of later partitions."""
    return {
        segment: nulls / rows
        for segment, (rows, nulls) in sorted(counts.items())
        if rows >= max(check.minimum_rows, 1)
    }


def segment_counts(
    values: pa.ChunkedArray, segments: pa.ChunkedArray, codes: npt.NDArray[np.int64], partitions: int
) -> list[dict[str, tuple[int, int]]]:
    """(rows, nulls) by segment, for each partition.

    Args:
        values: The column whose nulls are counted, shape (rows,).
        segments: The segment of each row; rows without one are left out.
        codes: Partition number of each row.
        partitions: How many partitions there are.
    """
    encoded = segments.cast(pa.string()).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    known = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    where = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)[known]
    cells = codes[known] * len(names) + where
    null = values.is_null(nan_is_null=True).combine_chunks().to_numpy(zero_copy_only=False)[known]
    size = partitions * len(names)
    rows = np.bincount(cells, minlength=size).reshape(partitions, len(names))
    nulls = np.bincount(cells[null], minlength=size).reshape(partitions, len(names))
    return [
        {name: (int(rows[p, i]), int(nulls[p, i])) for i, name in enumerate(names) if rows[p, i]}
        for p in range(partitions)
    ]


def _same_weekday(partition: str, history: Mapping[str, int]) -> list[int]:
    """Counts of the earlier partitions of the weekday (and hour), in order; none where keys are no dates."""
    try:
        season = _season(partition)
        earlier = sorted(k for k in history if k < partition)
        return [history[k] for k in earlier if _season(k) == season]
    except ValueError:
        return []


def _unknown(rule: Rule, partition: str, rows: int, reason: str) -> RuleResult:
    return RuleResult(
        rule.name, partition, rule.column, rule.on_breach, "UNKNOWN", checked_rows=rows, reason=reason
    )


def _season(partition: str) -> tuple[int, int]:
    moment = key_time(partition)
    return moment.weekday(), moment.hour
