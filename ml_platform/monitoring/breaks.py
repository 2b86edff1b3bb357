"""Breaks of the data in rows that were accepted: nulls, new categories, too few rows, repeated values.

The limits are those of TFDV's and of Great Expectations' practice, measured anew: a null rate must
leave the range of the reference's own days, a row count that of the same weekday, and a value that is
repeated from the day before must be one that usually is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.break_rules import (
    HOLD_BACK,
    null_breaks,
    null_limit,
    row_breaks,
    usual_rows,
)
from ml_platform.monitoring.days import Days, Flags, Integers, by_day, is_numeric, named
from ml_platform.monitoring.repeats import (
    OF_ALL,
    REPEATED,
    STALE,
    STUCK,
    STUCK_STEP,
    DayNumbers,
    at_rest,
    stale,
    stuck,
)
from ml_platform.monitoring.segment_breaks import Broken, Groups
from ml_platform.numbers import number
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame

QUESTION = "contract"


def data_breaks(
    reference: Table,
    current: Table,
    *,
    columns: Sequence[str],
    segments: Sequence[str],
    settings: DiagnosisConfig,
    earlier: Table | None = None,
) -> Findings:
    """Do the accepted rows keep the contract that the reference's days imply?

    Args:
        reference: ``partition_key``, the columns and the segments: the reference's days.
        current: The same columns: the days to judge.
        columns: Columns to judge, numeric and categorical.
        segments: Categorical columns whose values are judged apart, where they have
            ``segment_minimum_rows`` rows on a day or else in the whole window.
        earlier: Days right before the current ones that were sound: a segment must jump from those too, and
            the last of them is the day before the first current one; else the reference's last day is.
        settings: ``segment_minimum_rows`` and ``unseen_share``.

    Returns:
        Findings ``row_count``; per column ``null_rate``; per categorical column ``new_categories``; per
        numeric column ``staleness`` and ``stuck_value``. A row count that is only unusual is a PASS with the
        fact ``warn``. Segments that break are the fact ``segments``, and make their column's finding FAIL.

    Raises:
        IntegrityError: A column is missing.
    """
    needed = [*dict.fromkeys((*columns, *segments))]
    before, now = by_day(reference, needed, "reference rows"), by_day(current, needed, "current rows")
    if not before.keys or not now.keys:
        return Findings.unknown(QUESTION, f"there are no {'current' if before.keys else 'reference'} rows")
    numeric = [c for c in columns if is_numeric(before.frame, c) and is_numeric(now.frame, c)]
    past = before
    if earlier is not None:
        sound = as_frame(earlier, (PARTITION, *needed), "earlier rows")
        sound = sound[~sound[PARTITION].isin(before.keys)]
        past = by_day(pd.concat([before.frame, sound], ignore_index=True), needed, "earlier rows")
    groups = [Groups(past, now, s, settings.segment_minimum_rows) for s in segments]
    found = [_row_count(before, now, groups)]
    found += [_null_rate(before, now, c, groups) for c in columns]
    found += [_new_categories(before, now, c, settings) for c in columns if c not in numeric]
    told = [g.repeated(numeric) for g in groups]
    found += [_apart(_staleness(past, now, c), _of(told, c, STALE), "repeated") for c in numeric]
    found += [_apart(_stuck(before, now, c), _of(told, c, STUCK), "one and the same") for c in numeric]
    return Findings.of(QUESTION, found)


def new_category_counts(before: Days, now: Days, column: str) -> tuple[Integers, dict[str, int]]:
    """Rows of each current day whose category the reference does not have, and of each such category."""
    seen = set(before.frame[column].dropna().unique())
    codes, values = pd.factorize(now.frame[column])
    fresh = np.array([v not in seen for v in values] + [False], dtype=bool)  # code -1: null
    counts = now.counts(fresh[codes])
    sizes = np.bincount(codes[codes >= 0], minlength=len(values))
    by_name = {str(v): int(n) for v, n, new in zip(values, sizes, fresh[:-1], strict=True) if new}
    return counts, dict(sorted(by_name.items(), key=lambda item: -item[1]))


def _row_count(before: Days, now: Days, groups: Sequence[Groups]) -> Finding:
    medians, widths = np.array([usual_rows(before, key) for key in now.keys]).T
    shares = now.rows / medians
    few, odd = row_breaks(now.rows, medians), np.abs(shares - 1) > widths
    worst = int(np.argmax(np.abs(np.log(np.maximum(shares, 1e-9)))))
    if few.any():
        worst = int(np.argmin(shares))
    whole = Finding(
        statistic="row_count",
        subject="all",
        state="FAIL" if few.any() else "PASS",
        detail=f"{now.keys[worst]} has {now.rows[worst]} rows, {medians[worst]:.0f} are usual",
        estimate=float(shares[worst]),
        floor=HOLD_BACK,
        blocks=len(before.keys) + len(now.keys),
        rows=int(now.rows.sum()),
        partitions=named(now, few),
        facts={"warn": bool(odd.any()), "unusual": list(named(now, odd))},
    )
    return _apart(whole, [g.few() for g in groups], "of its usual rows")


def _null_rate(before: Days, now: Days, column: str, groups: Sequence[Groups]) -> Finding:
    old, new = (d.frame[column].isna().to_numpy() for d in (before, now))
    base, limit = null_limit(before.counts(old), before.rows)
    rates = now.counts(new) / now.rows
    bad = null_breaks(now.counts(new), now.rows, base, limit)
    worst = int(np.argmax(rates))
    whole = Finding(
        statistic="null_rate",
        subject=column,
        state="FAIL" if bad.any() else "PASS",
        detail=f"{rates[worst]:.1%} null on {now.keys[worst]}; the worst of the reference has "
        f"{_worst_rate(before, old):.1%}",
        estimate=float(rates[worst]),
        floor=limit,
        blocks=len(before.keys) + len(now.keys),
        rows=int(now.rows.sum()),
        partitions=named(now, bad),
    )
    return _apart(
        whole, [g.nulls(column) for g in groups if g.segment != column] if new.any() else [], "null"
    )


def _worst_rate(days: Days, nulls: Flags) -> float:
    return float((days.counts(nulls) / days.rows).max())


def _new_categories(before: Days, now: Days, column: str, settings: DiagnosisConfig) -> Finding:
    counts, by_name = new_category_counts(before, now, column)
    values = now.counts(now.frame[column].notna().to_numpy())
    total, fresh = int(values.sum()), int(counts.sum())
    least, limit = settings.segment_minimum_rows, settings.unseen_share
    share = fresh / total if total else 0.0
    days = (values >= least) & (counts > limit * values)
    failed = bool(days.any()) or (total >= least and share > limit)
    few = not failed and share > limit
    names = ", ".join(list(by_name)[:5])
    return Finding(
        statistic="new_categories",
        subject=column,
        state="FAIL" if failed else "UNDERPOWERED" if few else "PASS",
        detail=f"{share:.2%} of {total} values are new to the reference" + (f": {names}" if names else ""),
        estimate=share,
        floor=limit,
        blocks=len(before.keys) + len(now.keys),
        rows=total,
        partitions=named(now, counts > 0) if failed or few else (),
        facts={"categories": dict(list(by_name.items())[:20])} if by_name else {},
    )


def _staleness(past: Days, now: Days, column: str) -> Finding:
    old, new = DayNumbers.column(past, column), DayNumbers.column(now, column)
    found = stale(old, new, OF_ALL)
    worst = int(np.argmax(found.shares))
    detail = f"{found.shares[worst]:.1%} of the values on {now.keys[worst]} are those of the day before"
    rest = at_rest(old, new)
    if rest.days.any():
        found, worst = rest, int(np.flatnonzero(rest.days)[-1])
        detail = (
            f"one number, {number(float(new.only[-1]))}, stays from the day before "
            f"{now.keys[int(np.argmax(rest.days))]} on; of the earlier days {rest.usual:.0%} repeat one"
        )
    return Finding(
        statistic=STALE,
        subject=column,
        state="FAIL" if found.days.any() else "PASS",
        detail=detail,
        estimate=float(found.shares[worst]),
        floor=REPEATED,
        blocks=len(past.keys) + len(now.keys),
        rows=len(now.of),
        partitions=named(now, found.days),
        facts={} if found.usual is None else {"usual_share": found.usual},
    )


def _stuck(before: Days, now: Days, column: str) -> Finding:
    found = stuck(DayNumbers.column(before, column), DayNumbers.column(now, column))
    worst = int(np.argmax(found.shares))
    return Finding(
        statistic=STUCK,
        subject=column,
        state="FAIL" if found.days.any() else "PASS",
        detail=f"{found.shares[worst]:.1%} of the values on {now.keys[worst]} are one and the same",
        estimate=float(found.shares[worst]),
        floor=(found.usual or 0.0) + STUCK_STEP,
        blocks=len(before.keys) + len(now.keys),
        rows=len(now.of),
        partitions=named(now, found.days),
    )


def _of(found: Sequence[Mapping[str, Mapping[str, Broken]]], column: str, statistic: str) -> list[Broken]:
    return [f[column][statistic] for f in found if statistic in f[column]]


def _apart(whole: Finding, found: Sequence[Broken], what: str) -> Finding:
    """The finding on all rows with the segments that break; it fails where one of them does."""
    rates = dict(sorted({k: v for b in found for k, v in b.rates.items()}.items(), key=lambda i: -i[1]))
    if not rates:
        return whole
    first = next(iter(rates))
    hidden = whole.state != "FAIL"
    return replace(
        whole,
        state="FAIL",
        detail=f"{rates[first]:.1%} {what} at {first}; overall {whole.detail}" if hidden else whole.detail,
        partitions=tuple(sorted({*whole.partitions, *(k for b in found for k in b.keys)})),
        facts={**whole.facts, "segments": rates},
    )
