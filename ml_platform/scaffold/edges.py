"""Whether a file begins and ends with whole partitions, and what is left out where it does not."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from ml_platform.partitions import PartitionScheme, key_time
from ml_platform.remarks import Remark

_HALF = 0.5
_USUAL, _FEWEST = 8, 3
"""So many days of a weekday, or weeks, or months, say how many rows are usual; with fewer nothing does."""
_WHOLE = 0.95
"""A partition is whole where so many of its rows can be there by the law by which labels come."""


@dataclass(frozen=True)
class Thin:
    """A day, week or month that holds too few rows.

    Attributes:
        key: Its key; of hours the day's.
        rows: What it holds.
        usual: Rows that are usual there.
    """

    key: str
    rows: int
    usual: int

    def __str__(self) -> str:
        return f"{self.key} has {self.rows:,} rows, {self.usual:,} are usual"


def whole(
    scheme: PartitionScheme, events: pd.Series, known: pd.Series | None, *, live: bool
) -> tuple[PartitionScheme, list[Remark]]:
    """The partitions that the file holds whole, and what is to be said of the others.

    A file that is written amid a day ends with part of it. One of cases that are *closed* thins out before
    its end: of the newest partitions it holds only what was closed quickly, which is no fair sample either.

    Args:
        scheme: Partitions from the first row's to the last row's.
        events: When the rows happened.
        known: When their labels became known, missing where they are not; None where nothing says when.
        live: Whether the file goes on; then its end is not cut.
    """
    days = _by_day(scheme)
    begin, end = _thin_edges(days, events)
    remarks = []
    if begin is not None:
        fix = f"set partitions.start to {begin.key} to keep it"
        remarks.append(Remark("note", f"the file begins amid a {days.noun}: {begin}; left out", "", fix))
        scheme = replace(scheme, first=key_time(days.shift(begin.key, 1)).date())
    if end is None:
        return scheme, remarks
    keys = _unfinished(days, events, known) if known is not None and known.notna().all() else []
    if keys:
        what = (
            "the file thins out at its end, and every row has a label: it seems to hold only rows whose "
            "label was known when it was written. In production a prediction is asked for before that"
        )
        remarks.append(Remark("warning", what, str(end), "write the rows that have no label yet, too"))
    if not live:
        keys = keys or [end.key]
        span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
        what = f"{days.counted(len(keys))} at the end of the file left out: they would pass for a broken feed"
        fix = f"set partitions.end to {keys[-1]} to keep them"
        remarks.append(Remark("warning", what, f"{span}: {end}", fix))
        scheme = replace(scheme, last=key_time(keys[0]).date() - timedelta(days=1))
    return scheme, remarks


def _by_day(scheme: PartitionScheme) -> PartitionScheme:
    """Where a range of hours begins and ends: its days."""
    return replace(scheme, width="daily") if scheme.width == "hourly" else scheme


def _thin_edges(scheme: PartitionScheme, events: pd.Series) -> tuple[Thin | None, Thin | None]:
    """The first and the last partition, where they hold too few rows.

    Usual is the median of the nearest ones, of days with the same weekday. Too few is less than half, and
    less than chance allows: three standard deviations of a Poisson law.
    """
    counts = Counter(scheme.key_at(e) for e in events)
    first, last = min(counts), max(counts)
    step = 7 if scheme.width == "daily" else 1

    def thin(key: str, inwards: int) -> Thin | None:
        near = [scheme.shift(key, inwards * step * n) for n in range(1, _USUAL + 1)]
        usual = sorted(counts[k] for k in near if first <= k <= last)
        if len(usual) < _FEWEST:
            return None
        median = usual[len(usual) // 2]
        few = counts[key] < min(_HALF * median, median - 3 * math.sqrt(median))
        return Thin(key, counts[key], median) if few else None

    return thin(first, 1), thin(last, -1)


def _unfinished(scheme: PartitionScheme, events: pd.Series, known: pd.Series) -> list[str]:
    """The newest partitions, of whose labels too few can have been known when the file was written.

    That is the instant of its newest label; how labels come is taken from the older half of the rows. In a
    file that is cut by its events instead, the newest event has had time for nearly all labels to come.
    """
    older, written = (events <= events.median()).to_numpy(), known.max()
    if ((known - events)[older] <= written - events.max()).mean() > _HALF:
        return []
    keys = events.map(scheme.key_at)
    ends = keys.map({k: scheme.begins(scheme.shift(k, 1)) for k in keys.unique()})
    waits = np.sort((known - ends).dt.total_seconds().to_numpy()[older])
    found: list[str] = []
    for key in sorted(keys.unique(), reverse=True)[: keys.nunique() // 2]:
        left = (written - scheme.begins(scheme.shift(key, 1))).total_seconds()
        if np.searchsorted(waits, left, side="right") >= _WHOLE * len(waits):
            break
        found.insert(0, key)
    return found
