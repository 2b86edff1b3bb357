"""Values that a day repeats from the day before, or tells over and over: of all rows, and of a segment's.

A feed that stands still repeats nearly all of the day before; one that is stuck tells one number. A column
that always did so may go on. Of all rows the usual day decides what is always; a segment has few rows and a
timetable of its own, so that no earlier day of it may have done the same.

A column that tells one number a day, as of a feed with one row a day, is stuck where that number stays the
same for more days than what it did before explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from ml_platform.monitoring.days import Days, Flags, Integers
from ml_platform.monitoring.shifts import NULL_P
from ml_platform.statistics.blocks import Floats

STALE, STUCK = "staleness", "stuck_value"
REPEATED = 0.95
"""Share of a day's values that the day before had too, from which the day counts as stale."""
FEWEST_DISTINCT, MANY_DISTINCT = 3, 100
FEWEST_VALUES = 20
STUCK_STEP = 0.25
"""By so much one value's share of a day must exceed the largest of an earlier day, in a column with at least
:data:`FEWEST_VALUES` values a day."""


@dataclass(frozen=True)
class Always:
    """When a column repeats itself always, so that nothing is stale.

    Attributes:
        usual: Of the shares that the earlier days repeat.
        limit: From this on.
    """

    usual: Callable[[Floats], float]
    limit: float


OF_ALL = Always(lambda shares: float(np.median(shares)), 0.8)
OF_A_SEGMENT = Always(lambda shares: float(shares.max()), 0.5)
"""A timetable of which three quarters are those of the day before is once all the same: with a limit of .8 a
drill's 96 % at one site were a false alarm."""


@dataclass(frozen=True)
class Repeats:
    """Which days repeat.

    Attributes:
        days: (days,) flags.
        shares: (days,) share of each day's values.
        usual: The share that was usual before; None where no day made one look.
    """

    days: Flags
    shares: Floats
    usual: float | None = None


@dataclass(frozen=True)
class DayNumbers:
    """Numbers by day.

    Attributes:
        values: (rows,) numbers, NaN where there is none, in the order of days.
        of: (rows,) day of each.
        days: How many days there are.
    """

    values: Floats
    of: Integers
    days: int

    @classmethod
    def column(cls, days: Days, name: str) -> DayNumbers:
        """A column of all rows."""
        return cls(days.numbers(name), days.of, len(days.keys))

    def at(self, rows: Flags) -> DayNumbers:
        """Some of the rows."""
        return DayNumbers(self.values[rows], self.of[rows], self.days)

    def last(self) -> DayNumbers:
        """Only the last day."""
        at = self.of == self.days - 1
        return DayNumbers(self.values[at], np.zeros(int(at.sum()), np.int64), 1)

    def then(self, other: DayNumbers) -> DayNumbers:
        """These days, and after them the other ones."""
        of = np.r_[self.of, other.of + self.days]
        return DayNumbers(np.r_[self.values, other.values], of, self.days + other.days)

    @property
    def rows(self) -> Integers:
        """(days,) rows, those without a number too."""
        return np.bincount(self.of, minlength=self.days)

    @cached_property
    def _told(self) -> tuple[Floats, Integers, Integers]:
        """The numbers that occur; day × their count + the place of one among them; how often it does."""
        known = ~np.isnan(self.values)
        numbers, codes = np.unique(self.values[known], return_inverse=True)
        cells, counts = np.unique(self.of[known] * numbers.size + codes, return_counts=True)
        return numbers, cells, counts

    @property
    def distinct(self) -> Integers:
        """(days,) different numbers."""
        numbers, cells, _ = self._told
        return np.bincount(cells // max(numbers.size, 1), minlength=self.days)

    @property
    def sizes(self) -> Integers:
        """(days,) numbers."""
        return np.bincount(self.of[~np.isnan(self.values)], minlength=self.days)

    @property
    def tops(self) -> Integers:
        """(days,) how often the most frequent number occurs."""
        numbers, cells, counts = self._told
        found = np.zeros(self.days, np.int64)
        np.maximum.at(found, cells // max(numbers.size, 1), counts)
        return found

    @property
    def commonest(self) -> float:
        """The most frequent number of all days; NaN without any."""
        numbers, cells, counts = self._told
        if not numbers.size:
            return float("nan")
        return float(numbers[np.bincount(cells % numbers.size, weights=counts).argmax()])

    @property
    def only(self) -> Floats:
        """(days with a number,) the number of a day that tells a single one, NaN where it tells several."""
        numbers, cells, _ = self._told
        days, places = np.divmod(cells, max(numbers.size, 1))
        first = np.r_[True, days[1:] != days[:-1]] if days.size else np.zeros(0, dtype=bool)
        alone = np.bincount(days, minlength=self.days)[days[first]] == 1
        found: Floats = np.where(alone, numbers[places[first]], np.nan)
        return found

    def repeated(self, left_out: float) -> Floats:
        """(days - 1,) share of the larger day's numbers that the day before has too, but for one number.

        Days with few numbers, as :data:`FEWEST_VALUES` and :data:`FEWEST_DISTINCT` say, have a share of 0: a
        date's part repeats itself without being stale.
        """
        numbers, cells, counts = self._told
        size = max(numbers.size, 1)
        kept = numbers[cells % size] != left_out if numbers.size else np.zeros(0, dtype=bool)
        cells, counts = cells[kept], counts[kept]
        days = cells // size
        before = np.searchsorted(cells, cells - size)  # the same number on the day before
        same = cells[np.minimum(before, cells.size - 1)] == cells - size if cells.size else kept[:0]
        both = np.minimum(counts[same], counts[before[same]])
        shared, sizes = (
            np.bincount(of, weights=of_them, minlength=self.days)
            for of, of_them in ((days[same], both), (days, counts))
        )
        distinct = np.bincount(days, minlength=self.days)
        judged = np.minimum(sizes[1:], sizes[:-1]) >= FEWEST_VALUES
        judged &= distinct[1:] >= FEWEST_DISTINCT
        larger = np.maximum(np.maximum(sizes[1:], sizes[:-1]), 1)
        return np.asarray(np.where(judged, shared[1:] / larger, 0.0), dtype=np.float64)


def stale(past: DayNumbers, now: DayNumbers, always: Always, enough: Flags | None = None) -> Repeats:
    """Days that repeat the values of the day before them, in a column that does not always.

    The commonest value is left out: two dry days both have no rain, and nothing is stale.

    Args:
        past: Days before, at least one.
        now: Days to judge.
        always: What the earlier days may not have done.
        enough: (days,) which days have enough rows to be judged; all when None.
    """
    left_out = now.commonest
    shares = past.last().then(now).repeated(left_out)
    found: Flags = shares > REPEATED
    if enough is not None:
        found &= enough
    if not found.any():  # as nearly always, so that the earlier days are looked at only now
        return Repeats(found, shares)
    before = past.repeated(left_out)
    usual = always.usual(before) if before.size else 1.0
    found &= usual < always.limit
    # Two days may share a timetable of few values; a feed that stands still goes on standing still.
    if now.distinct.max() < MANY_DISTINCT:
        found &= np.r_[found[1:], False] | np.r_[False, found[:-1]]
    return Repeats(found, shares, usual)


def stuck(past: DayNumbers, now: DayNumbers, enough: Flags | None = None) -> Repeats:
    """Days that tell one value far more often than any earlier day, in a column that usually varies.

    Args:
        past: Days before, at least one.
        now: Days to judge.
        enough: (days,) which days have enough rows to be judged; all when None.
    """
    tops, sizes = now.tops, now.sizes
    shares = tops / np.maximum(sizes, 1)
    found: Flags = (shares > STUCK_STEP) & (sizes >= FEWEST_VALUES)
    if enough is not None:
        found &= enough
    if not found.any():
        return Repeats(found, shares)
    some = past.sizes > 0
    usual = float((past.tops[some] / past.sizes[some]).max(initial=0.0)) if some.any() else 1.0
    varies = some.any() and float(np.median(past.distinct[some])) >= FEWEST_VALUES
    found &= varies & (shares > usual + STUCK_STEP)
    found &= stats.binom.sf(tops - 1, np.maximum(sizes, 1), usual) < NULL_P
    return Repeats(found, shares, usual)


def at_rest(past: DayNumbers, now: DayNumbers) -> Repeats:
    """The last days, where they tell one and the same number and the days before kept moving.

    A run of repeats is too long where it is more than twice the longest of the days before, and where as many
    would follow with a probability below :data:`NULL_P` after days that repeat as often as those (uniform
    prior). An earlier day that told the number counts as a repeat, so that what comes back may stay; a number
    at the edge of what they told, or beyond it, may be a limit that holds for long: no rain, a full house.

    Args:
        past: Days before, at least one.
        now: Days to judge.

    Returns:
        The days that repeat the day before; none unless the last one does. Their share is 1.
    """
    before, told = past.only, now.only
    again = told == np.r_[before[-1:] if before.size else np.nan, told[:-1]]
    run = int(np.cumprod(again[::-1]).sum())
    shares = np.zeros(now.days)
    shares[np.flatnonzero(now.sizes)] = again
    found = np.zeros(now.days, dtype=bool)
    pairs = before[1:] == before[:-1]
    if not run or not pairs.size or not np.nanmin(past.values) < told[-1] < np.nanmax(past.values):
        return Repeats(found, shares)
    runs = np.diff(np.flatnonzero(np.r_[True, ~pairs, True])) - 1
    often = min(max(int(pairs.sum()), int((before[:-1] == told[-1]).sum())), pairs.size)
    chance = stats.betabinom.pmf(run, run, often + 1, pairs.size - often + 1)
    if run > 2 * runs.max() and chance < NULL_P:
        found[np.flatnonzero(now.sizes)[-run:]] = True
    return Repeats(found, shares, often / pairs.size)
