"""The rules of nulls, row counts and repeated values on the values of a segment: what hides in the whole.

A segment drifts more than the whole does, and there are many: over a year of daily windows a step of five
points against the reference's days was exceeded on 60 of 100, by one value whose entities changed. So a
segment is held against the last days before the window too, and must jump by :data:`SEGMENT_STEP` (then on
none of 200). A site's timetable repeats itself: by the rule of the whole, 35 of 100 windows had a segment
with repeated values. So no earlier day of the segment may have repeated as many, and only days with enough
rows count. A value that the reference does not know is a cold start: :mod:`ml_platform.monitoring.covariates`
has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ml_platform.monitoring.break_rules import (
    null_breaks,
    null_limit,
    row_breaks,
    usual_rows,
)
from ml_platform.monitoring.days import Days, Flags, Integers, named
from ml_platform.monitoring.repeats import OF_A_SEGMENT, STALE, STUCK, DayNumbers, stale, stuck

SEGMENT_STEP = 0.15
"""By so much a segment's null rate must exceed its worst earlier day."""


@dataclass(frozen=True)
class Broken:
    """What breaks in the values of one segment column.

    Attributes:
        rates: ``column=value`` to its worst share.
        keys: Partitions on which it does.
    """

    rates: dict[str, float] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()


class Groups:
    """The values of one segment column in both windows.

    Args:
        past: The reference's days and, where they are given, those right before the current ones.
        now: The current days.
        segment: The column.
        least: Rows from which a value is judged, on a day or else in the whole window.
    """

    def __init__(self, past: Days, now: Days, segment: str, least: int) -> None:
        both = pd.concat([past.frame[segment], now.frame[segment]], ignore_index=True)
        codes, values = pd.factorize(both)
        self.segment, self.least = segment, least
        self.names = [f"{segment}={v}" for v in values]
        self._past, self._now = past, now
        self._codes = codes[: len(past.of)], codes[len(past.of) :]
        self._rows = self._table(past, self._codes[0]), self._table(now, self._codes[1])
        self._known = self._rows[0].sum(axis=1) >= least

    def _table(self, days: Days, codes: Integers, flags: Flags | None = None) -> Integers:
        """(values, days) rows, or flagged rows."""
        use = codes >= 0 if flags is None else flags & (codes >= 0)
        shape = len(self.names), len(days.keys)
        return np.bincount(codes[use] * shape[1] + days.of[use], minlength=shape[0] * shape[1]).reshape(shape)

    def nulls(self, column: str) -> Broken:
        """Values whose null rate breaks."""
        flags = [d.frame[column].isna().to_numpy() for d in (self._past, self._now)]
        old = self._table(self._past, self._codes[0], flags[0])
        new = self._table(self._now, self._codes[1], flags[1])
        rates: dict[str, float] = {}
        keys: set[str] = set()
        for i in np.flatnonzero(new.sum(axis=1) * self._known):
            base, limit = self._limit(old[i], self._rows[0][i])
            count, rows = new[i], self._rows[1][i]
            enough = rows >= self.least
            if not enough.any():  # small values are judged on the window as a whole
                count, rows = count.sum(keepdims=True), rows.sum(keepdims=True)
                enough = rows >= self.least
            bad = enough & null_breaks(count, rows, base, limit)
            if bad.any():
                rates[self.names[i]] = round(float((count / np.maximum(rows, 1))[bad].max()), 4)
                if bad.size != new[i].size:  # the days that carry it; the others are sound
                    bad = new[i] > limit * self._rows[1][i]
                keys |= set(named(self._now, bad))
        return Broken(rates, frozenset(keys))

    def _limit(self, nulls: Integers, rows: Integers) -> tuple[float, float]:
        """From days with a quarter of the least rows: on smaller ones a single null is a high rate."""
        enough = rows * 4 >= self.least
        if enough.any():
            return null_limit(nulls[enough], rows[enough], SEGMENT_STEP)
        whole = nulls.sum(keepdims=True), np.maximum(rows.sum(keepdims=True), 1)
        return null_limit(*whole, SEGMENT_STEP)

    def repeated(self, columns: Sequence[str]) -> dict[str, dict[str, Broken]]:
        """Values that are stuck, or repeat the day before: by numeric column, by statistic."""
        # Days with enough rows now, and usually: a value that is new has nothing to be held against.
        large = (self._rows[1] >= self.least).any(axis=1)
        large &= np.median(self._rows[0], axis=1) >= self.least / 2
        places = [(str(self.names[i]), *(c == i for c in self._codes)) for i in np.flatnonzero(large)]
        return {c: self._repeated(c, places) for c in columns}

    def _repeated(self, column: str, places: Sequence[tuple[str, Flags, Flags]]) -> dict[str, Broken]:
        rates: dict[str, dict[str, float]] = {}
        keys: dict[str, set[str]] = {}
        old, new = (DayNumbers.column(days, column) for days in (self._past, self._now))
        for name, before, at in places:
            past, now = old.at(before), new.at(at)
            enough = now.rows >= self.least
            found = {STALE: stale(past, now, OF_A_SEGMENT, enough), STUCK: stuck(past, now, enough)}
            for statistic, repeats in found.items():
                if repeats.days.any():
                    worst = float(repeats.shares[repeats.days].max())
                    rates.setdefault(statistic, {})[name] = round(worst, 4)
                    keys.setdefault(statistic, set()).update(named(self._now, repeats.days))
        return {s: Broken(rates[s], frozenset(keys[s])) for s in rates}

    def few(self) -> Broken:
        """Values with enough rows on a usual day that have less than half of them on a current one."""
        shares: dict[str, float] = {}
        keys: set[str] = set()
        for name, old, new in zip(self.names, *self._rows, strict=True):
            if old.max(initial=0) < self.least:
                continue
            usual = np.array([usual_rows(self._past, key, old)[0] for key in self._now.keys])
            few = (usual >= self.least) & row_breaks(new, usual)
            if few.any():
                shares[name] = round(float((new / np.maximum(usual, 1))[few].min()), 4)
                keys |= set(named(self._now, few))
        return Broken(shares, frozenset(keys))
