"""Breaks of the data in rows that were accepted: nulls, new categories, too few rows, repeated values.

The limits are those of TFDV's and of Great Expectations' practice, measured anew: a null rate must
leave the range of the reference's own days, a row count that of the same weekday, and a value that is
repeated from the day before must be one that usually is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.shifts import NULL_BASE, NULL_P, NULL_STEP
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame

QUESTION = "contract"
HOLD_BACK = 0.5
"""A day with less than this share of its weekday's median rows is held back."""
ROWS_MAD, ROWS_LEAST = 4 * 1.4826, 0.10
"""Rows may leave the weekday's median by so many median absolute deviations, or by this share of it."""
REPEATED = 0.95
"""Share of a day's values that the day before had too, from which the day counts as stale."""
USUALLY_REPEATED = 0.8
"""Columns whose reference days repeat this share of values in the median are expected to."""
FEWEST_DISTINCT, MANY_DISTINCT = 3, 100
FEWEST_VALUES = 20
STUCK_STEP = 0.25
"""By so much one value's share of a day must exceed the largest of a reference day, in a column with at least
:data:`FEWEST_VALUES` values a day."""

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Days:
    """Rows in the order of time, and which day each belongs to.

    Attributes:
        frame: The rows, sorted by partition.
        keys: Partitions, ascending.
        of: (rows,) index into ``keys``.
        starts: (days + 1,) where each day starts, then the number of rows.
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    of: Integers
    starts: Integers

    @property
    def rows(self) -> Integers:
        """(days,) rows."""
        return np.diff(self.starts)

    def numbers(self, column: str) -> Floats:
        """(rows,) the column as floats, NaN where it is null or infinite."""
        values = self.frame[column].to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan)

    def counts(self, flags: Flags) -> Integers:
        """(days,) rows that are flagged."""
        return np.bincount(self.of[flags], minlength=len(self.keys))


def by_day(table: Table, columns: Sequence[str], what: str) -> Days:
    """Rows sorted by partition.

    Args:
        table: ``partition_key`` and more.
        columns: Columns needed besides.
        what: Name of the table for the error.

    Raises:
        IntegrityError: A column is missing.
    """
    frame = as_frame(table, (PARTITION, *columns), what)
    codes, keys = pd.factorize(frame[PARTITION].to_numpy(dtype=object), sort=True)
    order = np.argsort(codes, kind="stable")
    of = codes[order].astype(np.int64)
    starts = np.searchsorted(of, np.arange(len(keys) + 1)).astype(np.int64)
    return Days(frame.iloc[order], tuple(map(str, keys)), of, starts)


def is_numeric(frame: pd.DataFrame, column: str) -> bool:
    """Whether a column holds numbers, not flags."""
    kind = frame[column].dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def null_limit(nulls: Integers, rows: Integers) -> tuple[float, float]:
    """The null rate that is expected at most, and the rate that breaks: five points above.

    Args:
        nulls: Nulls of each reference day.
        rows: Rows of each, none of them zero.
    """
    base = max(float((nulls / rows).max(initial=0.0)), NULL_BASE)
    return min(base, 1.0), base + NULL_STEP


def null_breaks(nulls: Integers, rows: Integers, base: float, limit: float) -> Flags:
    """Which counts of nulls break: above the limit, with a binomial p-value below 1e-4."""
    rates = nulls / np.maximum(rows, 1)
    found: Flags = rates > limit
    if found.any():
        found &= stats.binom.sf(nulls - 1, np.maximum(rows, 1), base) < NULL_P
    return found


def data_breaks(
    reference: Table,
    current: Table,
    *,
    columns: Sequence[str],
    segments: Sequence[str],
    settings: DiagnosisConfig,
) -> Findings:
    """Do the accepted rows keep the contract that the reference's days imply?

    Args:
        reference: ``partition_key``, the columns and the segments: the reference's days.
        current: The same columns: the days to judge.
        columns: Columns to judge, numeric and categorical.
        segments: Categorical columns whose values are judged apart, where they have
            ``segment_minimum_rows`` rows on a day or else in the whole window.
        settings: ``segment_minimum_rows`` and ``unseen_share``.

    Returns:
        Findings ``row_count``; per column ``null_rate``; per categorical column ``new_categories``; per
        numeric column ``staleness`` and ``stuck_value``. A row count that is only unusual is a PASS with the
        fact ``warn``.

    Raises:
        IntegrityError: A column is missing.
    """
    needed = [*dict.fromkeys((*columns, *segments))]
    before, now = by_day(reference, needed, "reference rows"), by_day(current, needed, "current rows")
    if not before.keys or not now.keys:
        return Findings.unknown(QUESTION, f"there are no {'current' if before.keys else 'reference'} rows")
    numeric = [c for c in columns if is_numeric(before.frame, c) and is_numeric(now.frame, c)]
    found = [_row_count(before, now)]
    found += _null_rates(before, now, columns, segments, settings)
    found += [_new_categories(before, now, c, settings) for c in columns if c not in numeric]
    found += [_staleness(before, now, c) for c in numeric]
    found += [_stuck(before, now, c) for c in numeric]
    return Findings.of(QUESTION, found)


def new_category_counts(before: Days, now: Days, column: str) -> tuple[Integers, dict[str, int]]:
    """Rows of each current day whose category the reference does not have, and of each such category."""
    seen = set(before.frame[column].dropna().unique())
    codes, values = pd.factorize(now.frame[column])
    fresh = np.array([v not in seen for v in values] + [False], dtype=bool)  # code -1: null
    counts = now.counts(fresh[codes])
    sizes = np.bincount(codes[codes >= 0], minlength=len(values))
    named = {str(v): int(n) for v, n, new in zip(values, sizes, fresh[:-1], strict=True) if new}
    return counts, dict(sorted(named.items(), key=lambda item: -item[1]))


def _row_count(before: Days, now: Days) -> Finding:
    medians, widths = np.array([_usual_rows(before, key) for key in now.keys]).T
    shares = now.rows / medians
    few, odd = shares < HOLD_BACK, np.abs(shares - 1) > widths
    worst = int(np.argmax(np.abs(np.log(np.maximum(shares, 1e-9)))))
    if few.any():
        worst = int(np.argmin(shares))
    return Finding(
        statistic="row_count",
        subject="all",
        state="FAIL" if few.any() else "PASS",
        detail=f"{now.keys[worst]} has {now.rows[worst]} rows, its weekday usually {medians[worst]:.0f}",
        estimate=float(shares[worst]),
        floor=HOLD_BACK,
        blocks=len(before.keys) + len(now.keys),
        rows=int(now.rows.sum()),
        partitions=_named(now, few),
        facts={"warn": bool(odd.any()), "unusual": list(_named(now, odd))},
    )


def _usual_rows(before: Days, key: str) -> tuple[float, float]:
    """Median rows of the reference on the key's weekday, and the share by which they may differ."""
    days = pd.to_datetime(pd.Series([*before.keys, key]), errors="coerce", format="ISO8601")
    weekday = days.dt.weekday.to_numpy()
    same = before.rows[weekday[:-1] == weekday[-1]]  # NaN is not equal: keys that are no dates share none
    rows = same if same.size >= 2 else before.rows
    median = float(np.median(rows))
    deviation = float(np.median(np.abs(rows - median))) / median
    return median, max(ROWS_MAD * deviation, ROWS_LEAST)


def _null_rates(
    before: Days, now: Days, columns: Sequence[str], segments: Sequence[str], settings: DiagnosisConfig
) -> list[Finding]:
    groups = {s: _Groups(before, now, s, settings.segment_minimum_rows) for s in segments}
    return [_null_rate(before, now, c, groups) for c in columns]


class _Groups:
    """The values of one segment column, on common codes in both windows."""

    def __init__(self, before: Days, now: Days, segment: str, least: int) -> None:
        both = pd.concat([before.frame[segment], now.frame[segment]], ignore_index=True)
        codes, values = pd.factorize(both)
        self.names = [f"{segment}={v}" for v in values]
        self.least = least
        self._before, self._now = before, now
        self._codes = codes[: len(before.of)], codes[len(before.of) :]
        self.rows = self._table(before, self._codes[0]), self._table(now, self._codes[1])

    def _table(self, days: Days, codes: Integers, flags: Flags | None = None) -> Integers:
        """(values, days) rows, or flagged rows."""
        use = codes >= 0 if flags is None else flags & (codes >= 0)
        shape = len(self.names), len(days.keys)
        return np.bincount(codes[use] * shape[1] + days.of[use], minlength=shape[0] * shape[1]).reshape(shape)

    def broken(self, old: Flags, new: Flags) -> tuple[dict[str, float], set[str]]:
        """Null rate of each value that breaks, and the days on which it does."""
        nulls = self._table(self._before, self._codes[0], old), self._table(self._now, self._codes[1], new)
        rates: dict[str, float] = {}
        keys: set[str] = set()
        for i in np.flatnonzero(nulls[1].sum(axis=1)):
            base, limit = self._limit(nulls[0][i], self.rows[0][i])
            count, rows = nulls[1][i], self.rows[1][i]
            enough = rows >= self.least
            if not enough.any():  # small values are judged on the window as a whole
                count, rows = count.sum(keepdims=True), rows.sum(keepdims=True)
                enough = rows >= self.least
            bad = enough & null_breaks(count, rows, base, limit)
            if bad.any():
                rates[self.names[i]] = round(float((count / np.maximum(rows, 1))[bad].max()), 4)
                keys |= set(np.asarray(self._now.keys)[bad] if bad.size > 1 else self._now.keys)
        return rates, keys

    def _limit(self, nulls: Integers, rows: Integers) -> tuple[float, float]:
        """From days with a quarter of the least rows: on smaller ones a single null is a high rate."""
        enough = rows * 4 >= self.least
        if enough.any():
            return null_limit(nulls[enough], rows[enough])
        return null_limit(nulls.sum(keepdims=True), np.maximum(rows.sum(keepdims=True), 1))


def _null_rate(before: Days, now: Days, column: str, groups: dict[str, _Groups]) -> Finding:
    old, new = (d.frame[column].isna().to_numpy() for d in (before, now))
    base, limit = null_limit(before.counts(old), before.rows)
    counts = now.counts(new)
    rates = counts / now.rows
    bad = null_breaks(counts, now.rows, base, limit)
    segments: dict[str, float] = {}
    keys: set[str] = set(_named(now, bad))
    if new.any():
        for name, group in groups.items():
            if name != column:
                broken, when = group.broken(old, new)
                segments |= broken
                keys |= when
    segments = dict(sorted(segments.items(), key=lambda item: -item[1]))
    worst = int(np.argmax(rates))
    usual = _worst_rate(before, old)
    detail = f"{rates[worst]:.1%} null on {now.keys[worst]}; the worst reference day has {usual:.1%}"
    if segments and not bad.any():
        first = next(iter(segments))
        detail = f"{segments[first]:.1%} null at {first}, {rates[worst]:.1%} overall"
    return Finding(
        statistic="null_rate",
        subject=column,
        state="FAIL" if bad.any() or segments else "PASS",
        detail=detail,
        estimate=float(rates[worst]),
        floor=limit,
        blocks=len(before.keys) + len(now.keys),
        rows=int(now.rows.sum()),
        partitions=tuple(sorted(keys)),
        facts={"segments": segments} if segments else {},
    )


def _worst_rate(days: Days, nulls: Flags) -> float:
    return float((days.counts(nulls) / days.rows).max())


def _new_categories(before: Days, now: Days, column: str, settings: DiagnosisConfig) -> Finding:
    counts, named = new_category_counts(before, now, column)
    values = now.counts(now.frame[column].notna().to_numpy())
    total, fresh = int(values.sum()), int(counts.sum())
    least, limit = settings.segment_minimum_rows, settings.unseen_share
    share = fresh / total if total else 0.0
    days = (values >= least) & (counts > limit * values)
    failed = bool(days.any()) or (total >= least and share > limit)
    few = not failed and share > limit
    names = ", ".join(list(named)[:5])
    return Finding(
        statistic="new_categories",
        subject=column,
        state="FAIL" if failed else "UNDERPOWERED" if few else "PASS",
        detail=f"{share:.2%} of {total} values are new to the reference" + (f": {names}" if names else ""),
        estimate=share,
        floor=limit,
        blocks=len(before.keys) + len(now.keys),
        rows=total,
        partitions=_named(now, counts > 0) if failed or few else (),
        facts={"categories": dict(list(named.items())[:20])} if named else {},
    )


def _staleness(before: Days, now: Days, column: str) -> Finding:
    """Days that repeat the values of the day before them, in a column that usually does not.

    The column's commonest value is left out: two dry days both have no rain, and nothing is stale.
    """
    new, usual_value = now.numbers(column), _commonest(before.numbers(column))
    days = [d[~np.isnan(d) & (d != usual_value)] for d in np.split(new, now.starts[1:-1])]
    last = before.numbers(column)[before.starts[-2] :]
    previous = [last[~np.isnan(last) & (last != usual_value)], *days[:-1]]
    shares = np.array([_repeated(a, b) for a, b in zip(previous, days, strict=True)])
    stale = shares > REPEATED
    usual: float | None = None
    if stale.any():  # rare, so the reference is looked at only now
        old = [d[~np.isnan(d)] for d in np.split(before.numbers(column), before.starts[1:-1])]
        usual = float(np.median([_repeated(a, b) for a, b in pairwise(old)] or [1.0]))
        stale &= usual < USUALLY_REPEATED
        # Two days may share a timetable of few values; a feed that stands still goes on standing still.
        if max(np.unique(d).size for d in days) < MANY_DISTINCT:
            stale &= np.r_[stale[1:], False] | np.r_[False, stale[:-1]]
    worst = int(np.argmax(shares))
    return Finding(
        statistic="staleness",
        subject=column,
        state="FAIL" if stale.any() else "PASS",
        detail=f"{shares[worst]:.1%} of the values on {now.keys[worst]} are those of the day before",
        estimate=float(shares[worst]),
        floor=REPEATED,
        blocks=len(before.keys) + len(now.keys),
        rows=int(new.size),
        partitions=_named(now, stale),
        facts={} if usual is None else {"usual_share": usual},
    )


def _stuck(before: Days, now: Days, column: str) -> Finding:
    """Days on which one value is told far more often than any was, in a column that usually varies."""
    counts = [_top(d) for d in np.split(now.numbers(column), now.starts[1:-1])]
    tops, sizes = (np.array(values, dtype=np.int64) for values in zip(*counts, strict=True))
    shares = tops / np.maximum(sizes, 1)
    stuck, usual = (shares > STUCK_STEP) & (sizes >= FEWEST_VALUES), 0.0
    if stuck.any():  # rare, so the reference is looked at only now
        old = [d[~np.isnan(d)] for d in np.split(before.numbers(column), before.starts[1:-1])]
        usual = max((_top(d)[0] / d.size for d in old if d.size), default=1.0)
        varies = float(np.median([np.unique(d).size for d in old])) >= FEWEST_VALUES
        stuck &= varies & (shares > usual + STUCK_STEP)
        stuck &= stats.binom.sf(tops - 1, np.maximum(sizes, 1), usual) < NULL_P
    worst = int(np.argmax(shares))
    return Finding(
        statistic="stuck_value",
        subject=column,
        state="FAIL" if stuck.any() else "PASS",
        detail=f"{shares[worst]:.1%} of the values on {now.keys[worst]} are one and the same",
        estimate=float(shares[worst]),
        floor=usual + STUCK_STEP,
        blocks=len(before.keys) + len(now.keys),
        rows=int(sizes.sum()),
        partitions=_named(now, stuck),
    )


def _top(values: Floats) -> tuple[int, int]:
    """How often the most frequent value occurs, and how many values there are."""
    known = values[~np.isnan(values)]
    return int(np.unique(known, return_counts=True)[1].max(initial=0)), known.size


def _commonest(values: Floats) -> float:
    """The most frequent value; NaN without values."""
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return float(found[np.argmax(counts)]) if found.size else float("nan")


def _repeated(previous: Floats, day: Floats) -> float:
    """Share of the larger day's values that both have, counted with multiplicity; 0 for tiny days."""
    # A column with one or two values a day, such as a date's part, repeats itself without being stale.
    if min(previous.size, day.size) < FEWEST_VALUES or np.unique(day).size < FEWEST_DISTINCT:
        return 0.0
    values, codes = np.unique(np.concatenate([previous, day]), return_inverse=True)
    old = np.bincount(codes[: previous.size], minlength=values.size)
    new = np.bincount(codes[previous.size :], minlength=values.size)
    return float(np.minimum(old, new).sum() / max(previous.size, day.size))


def _named(days: Days, flags: Flags) -> tuple[str, ...]:
    return tuple(k for k, flag in zip(days.keys, flags, strict=True) if flag)


def daily_ks(before: Days, now: Days, column: str) -> tuple[Floats, Floats]:
    """Kolmogorov-Smirnov distance of each day to the reference: of its own days, then of the current ones.

    A reference day is compared with the *other* reference days. Distances are taken at up to 200
    quantiles of the reference, so that they are low by at most .005. NaN for days without values.
    """
    old, new = before.numbers(column), now.numbers(column)
    known = ~np.isnan(old)
    sample = old[known]
    if not sample.size:
        return np.full(len(before.keys), np.nan), np.full(len(now.keys), np.nan)
    ordered = np.sort(sample[:: max(sample.size // 4000, 1)])
    edges = np.unique(ordered[np.linspace(0, ordered.size - 1, min(ordered.size, 200)).astype(int)])
    counted = _cumulated(before, old, edges)
    rows = counted[:, -1]
    pooled = counted.sum(axis=0) / rows.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        own = _largest(counted / rows[:, None] - pooled) / (1 - rows / rows.sum())
        current = _cumulated(now, new, edges)
        far = _largest(current / current[:, -1:] - pooled)
    return own, far


def _cumulated(days: Days, values: Floats, edges: Floats) -> Floats:
    """(days, 2 * edges + 1) values below, and up to, each edge, then all of them."""
    known = ~np.isnan(values)
    numbers, of = values[known], days.of[known]
    below = np.searchsorted(edges, numbers, side="right")
    # Even places hold what lies between two edges, odd ones what lies on an edge: ties count once.
    place = 2 * below - (edges[np.maximum(below - 1, 0)] == numbers) * (below > 0)
    width = 2 * edges.size + 1
    counts = np.bincount(of * width + place, minlength=len(days.keys) * width)
    return counts.reshape(len(days.keys), width).cumsum(axis=1).astype(np.float64)


def _largest(gaps: Floats) -> Floats:
    found: Floats = np.abs(gaps).max(axis=1)
    return found
