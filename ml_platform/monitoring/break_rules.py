"""When a day's nulls or rows break: rules for all rows and for those of a segment."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ml_platform.monitoring.days import Days, Flags, Integers
from ml_platform.monitoring.shifts import NULL_BASE, NULL_P, NULL_STEP
from ml_platform.partitions import key_time
from ml_platform.statistics.blocks import Floats

HOLD_BACK = 0.5
"""A day with less than this share of its weekday's median rows is held back, unless chance leaves so few."""
ROWS_MAD, ROWS_LEAST = 4 * 1.4826, 0.10
"""Rows may leave the weekday's median by so many median absolute deviations, or by this share of it."""


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


def row_breaks(rows: Integers, usual: Floats) -> Flags:
    """Which days have too few rows: less than half of the usual ones, and fewer than chance leaves.

    Seven rows where fifteen are usual come by every few weeks; with a Poisson p-value below 1e-4 they do not.

    Args:
        rows: Rows of each day.
        usual: Rows that are usual on it.
    """
    found: Flags = rows < HOLD_BACK * usual
    if found.any():
        found &= stats.poisson.cdf(rows, usual) < NULL_P
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
