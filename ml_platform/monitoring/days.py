"""Rows in the order of time, by day, and the distance of one day's values from those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import PARTITION, Table, as_frame

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


def named(days: Days, flags: Flags) -> tuple[str, ...]:
    """Keys of the days that are flagged."""
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
