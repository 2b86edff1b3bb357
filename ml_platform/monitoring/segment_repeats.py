"""Repeated and stuck values of one segment: the rules of :mod:`ml_platform.monitoring.break_rules`, stricter.

A segment has few rows and a timetable of its own, so that no earlier day of it may have done the same. Most
segments are sound, and are left after a look at the current days alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from ml_platform.monitoring.break_rules import (
    FEWEST_DISTINCT,
    FEWEST_VALUES,
    MANY_DISTINCT,
    REPEATED,
    STUCK_STEP,
)
from ml_platform.monitoring.days import Flags, Integers
from ml_platform.monitoring.shifts import NULL_P
from ml_platform.statistics.blocks import Floats

STALE, STUCK = "staleness", "stuck_value"
NEVER_REPEATED = 0.5
"""A segment is judged where no earlier day repeated this share. A timetable of which three quarters are those
of the day before is once all the same: with a limit of .8 a drill's 96 % at one site were a false alarm."""


@dataclass(frozen=True)
class SegmentDays:
    """Numbers of one segment by day.

    Attributes:
        values: (rows,) numbers, NaN where there is none, in the order of days.
        of: (rows,) day of each.
        days: How many days there are.
    """

    values: Floats
    of: Integers
    days: int

    @property
    def rows(self) -> Integers:
        """(days,) rows, those without a number too."""
        return np.bincount(self.of, minlength=self.days)

    @cached_property
    def counts(self) -> tuple[Floats, Integers]:
        """The numbers that occur, and (days, numbers) how often each does."""
        known = ~np.isnan(self.values)
        numbers, codes = np.unique(self.values[known], return_inverse=True)
        cells = self.of[known] * numbers.size + codes
        size = self.days * numbers.size
        return numbers, np.bincount(cells, minlength=size).reshape(self.days, numbers.size)

    def last(self) -> SegmentDays:
        """Only the last day."""
        at = self.of == self.days - 1
        return SegmentDays(self.values[at], np.zeros(int(at.sum()), np.int64), 1)

    def then(self, other: SegmentDays) -> SegmentDays:
        """These days, and after them the other ones."""
        of = np.r_[self.of, other.of + self.days]
        return SegmentDays(np.r_[self.values, other.values], of, self.days + other.days)


def repeats(past: SegmentDays, now: SegmentDays, least: int) -> dict[str, tuple[Flags, Floats]]:
    """Which current days repeat the day before, or tell one number over and over, as no earlier day did.

    Args:
        past: Days before, at least one.
        now: Days to judge.
        least: Rows of a day from which it is judged.

    Returns:
        By statistic, only those that found something: flags of the days, and the share of each day's values.
    """
    enough = now.rows >= least
    found = {STALE: _stale(past, now, enough), STUCK: _stuck(past, now, enough)}
    return {name: each for name, each in found.items() if each[0].any()}


def _stuck(past: SegmentDays, now: SegmentDays, enough: Flags) -> tuple[Flags, Floats]:
    tops, sizes = _tops(now)
    shares = tops / np.maximum(sizes, 1)
    stuck: Flags = enough & (shares > STUCK_STEP) & (sizes >= FEWEST_VALUES)
    if stuck.any():
        before, rows = _tops(past)
        usual = float((before / np.maximum(rows, 1)).max(initial=0.0))
        distinct = (past.counts[1] > 0).sum(axis=1)[rows > 0]
        varies = distinct.size > 0 and float(np.median(distinct)) >= FEWEST_VALUES
        stuck &= varies & (shares > usual + STUCK_STEP)
        stuck &= stats.binom.sf(tops - 1, np.maximum(sizes, 1), usual) < NULL_P
    return stuck, shares


def _tops(told: SegmentDays) -> tuple[Integers, Integers]:
    """How often each day's most frequent number occurs, and how many numbers the day has."""
    _, counts = told.counts
    return counts.max(axis=1, initial=0), counts.sum(axis=1)


def _stale(past: SegmentDays, now: SegmentDays, enough: Flags) -> tuple[Flags, Floats]:
    numbers, counts = now.counts
    if not numbers.size:
        return np.zeros(now.days, dtype=bool), np.zeros(now.days)
    # Two dry days both have no rain: the commonest number says nothing.
    usual = float(numbers[counts.sum(axis=0).argmax()])
    shares = _repeated(past.last().then(now), usual)
    stale: Flags = enough & (shares > REPEATED)
    if stale.any():
        stale &= _repeated(past, usual).max(initial=0.0) < NEVER_REPEATED
        if (counts > 0).sum(axis=1).max() < MANY_DISTINCT:  # a short timetable may repeat once
            stale &= np.r_[stale[1:], False] | np.r_[False, stale[:-1]]
    return stale, shares


def _repeated(told: SegmentDays, left_out: float) -> Floats:
    """(days - 1,) share of the larger day's numbers that it and the day before both have, but for one number.

    Days with few numbers, as :data:`FEWEST_VALUES` and :data:`FEWEST_DISTINCT` say, have a share of 0.
    """
    numbers, counts = told.counts
    kept = counts[:, numbers != left_out]
    sizes = kept.sum(axis=1)
    both = np.minimum(kept[1:], kept[:-1]).sum(axis=1)
    judged = np.minimum(sizes[1:], sizes[:-1]) >= FEWEST_VALUES
    judged &= (kept[1:] > 0).sum(axis=1) >= FEWEST_DISTINCT
    shares: Floats = np.where(judged, both / np.maximum(np.maximum(sizes[1:], sizes[:-1]), 1), 0.0)
    return shares
