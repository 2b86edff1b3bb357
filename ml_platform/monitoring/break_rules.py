"""When a day's nulls, rows or repeated values break: rules for all rows and for those of a segment."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy import stats

from ml_platform.monitoring.days import Days, Flags, Integers
from ml_platform.monitoring.shifts import NULL_BASE, NULL_P, NULL_STEP
from ml_platform.partitions import key_time
from ml_platform.statistics.blocks import Floats

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


def null_limit(nulls: Integers, rows: Integers, step: float = NULL_STEP) -> tuple[float, float]:
    """The null rate that is expected at most, and the rate that breaks: by a step above.

    Args:
        nulls: Nulls of each reference day.
        rows: Rows of each, none of them zero.
        step: Share of the rows.
    """
    base = max(float((nulls / rows).max(initial=0.0)), NULL_BASE)
    return min(base, 1.0), base + step


def null_breaks(nulls: Integers, rows: Integers, base: float, limit: float) -> Flags:
    """Which counts of nulls break: above the limit, with a binomial p-value below 1e-4."""
    rates = nulls / np.maximum(rows, 1)
    found: Flags = rates > limit
    if found.any():
        found &= stats.binom.sf(nulls - 1, np.maximum(rows, 1), base) < NULL_P
    return found


def usual_rows(before: Days, key: str, counts: Integers | None = None) -> tuple[float, float]:
    """Median rows of the reference on the key's weekday, and the share by which they may differ.

    Of hours those of the same weekday and hour, else of the same hour; of months all.

    Args:
        before: The reference's days.
        key: The day to judge.
        counts: Rows of each reference day that count; all of them when None.
    """
    every = before.rows if counts is None else counts
    hour, weekday, day = np.array([_moment(k) for k in (*before.keys, key)]).T
    if not (day == 1).all():  # months begin on any weekday
        alike = hour[:-1] == hour[-1]  # NaN is not equal: keys that are no dates share none
        for same in (alike & (weekday[:-1] == weekday[-1]), alike):
            if same.sum() >= 2:
                every = every[same]
                break
    median = float(np.median(every))
    deviation = float(np.median(np.abs(every - median))) / max(median, 1.0)
    return median, max(ROWS_MAD * deviation, ROWS_LEAST)


def _moment(key: str) -> tuple[float, float, float]:
    """Hour, weekday from Monday 0 and day of the month; NaN where the key is no date."""
    try:
        found = key_time(key)
    except ValueError:
        return math.nan, math.nan, math.nan
    return float(found.hour), float(found.weekday()), float(found.day)


def stale_days(before: Days, now: Days, column: str) -> tuple[Flags, Floats, float | None]:
    """Days that repeat the values of the day before them, in a column that usually does not.

    The column's commonest value is left out: two dry days both have no rain, and nothing is stale.

    Returns:
        Flags of the days, the share of values that each repeats, and the share that a reference day usually
        repeats, where it was looked at.
    """
    new, usual_value = now.numbers(column), _commonest(before.numbers(column))
    days = [d[~np.isnan(d) & (d != usual_value)] for d in np.split(new, now.starts[1:-1])]
    last = before.numbers(column)[before.starts[-2] :]
    previous = [last[~np.isnan(last) & (last != usual_value)], *days[:-1]]
    shares = np.array([_repeated(a, b) for a, b in zip(previous, days, strict=True)])
    stale: Flags = shares > REPEATED
    usual: float | None = None
    if stale.any():  # rare, so the reference is looked at only now
        old = [d[~np.isnan(d)] for d in np.split(before.numbers(column), before.starts[1:-1])]
        usual = float(np.median([_repeated(a, b) for a, b in pairwise(old)] or [1.0]))
        stale &= usual < USUALLY_REPEATED
        # Two days may share a timetable of few values; a feed that stands still goes on standing still.
        if max(np.unique(d).size for d in days) < MANY_DISTINCT:
            stale &= np.r_[stale[1:], False] | np.r_[False, stale[:-1]]
    return stale, shares, usual


def stuck_days(before: Days, now: Days, column: str) -> tuple[Flags, Floats, float]:
    """Days on which one value is told far more often than any was, in a column that usually varies.

    Returns:
        Flags of the days, the share of each day's most frequent value, and the largest share of a reference
        day, where it was looked at (else 0).
    """
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
    return stuck, shares, usual


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
