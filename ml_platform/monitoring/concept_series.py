"""Daily slopes and contrasts of residuals, the statistics by which a change of P(y|x) is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.estimated import Codes, tally
from ml_platform.numbers import number
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import PARTITION

ALL = "all"
WEIGHT = "weight"
"""Optional column: inverse probability that a label has arrived by now."""
BANDS = 4
"""Numeric segments are cut into this many bands of equal reference size."""


@dataclass(frozen=True)
class Window:
    """Rows of one window: all arrays have one entry per row, but ``names`` one per block."""

    names: list[str]
    day: Codes
    label: Floats
    score: Floats
    weight: Floats
    segments: list[Codes]

    @cached_property
    def terms(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Weight, its square, weighted score and its square; scores are centred, for sums of squares."""
        w, p = self.weight, self.score - np.average(self.score, weights=self.weight)
        return w, w * w, w * p, w * p * p


@dataclass(frozen=True)
class Segmentation:
    """Values of one segment column; a row's code is a position in ``subjects``."""

    subjects: tuple[str, ...]
    categorical: bool


@dataclass(frozen=True)
class Series:
    """One daily statistic of both windows.

    Attributes:
        reference: One value per block, NaN where a block says nothing.
        current: Likewise.
        rows: Effective current rows.
    """

    statistic: Literal["slope", "contrast"]
    subject: str
    reference: Floats
    current: Floats
    rows: float


def weights_of(frame: pd.DataFrame) -> Floats:
    """One weight per row; 1 where the frame has none."""
    return frame[WEIGHT].to_numpy(np.float64) if WEIGHT in frame.columns else np.ones(len(frame))


def segment(
    frames: list[pd.DataFrame], features: Sequence[FeatureConfig], columns: Sequence[str]
) -> tuple[list[Segmentation], list[list[Codes]]]:
    """Segmentations, and for each of them the codes of the rows of both frames."""
    kinds = {f.name: f.kind for f in features}
    segmentations, codes = [], []
    for column in columns:
        both = [frame[column] for frame in frames]
        numeric = kinds.get(column, "numeric" if pd.api.types.is_numeric_dtype(both[0]) else "categorical")
        found = _bands(column, both) if numeric == "numeric" else _categories(column, both)
        segmentations.append(found[0])
        codes.append(found[1])
    return segmentations, codes


def _categories(column: str, both: list[pd.Series]) -> tuple[Segmentation, list[Codes]]:
    values, names = pd.factorize(pd.concat(both, ignore_index=True), use_na_sentinel=False)
    subjects = tuple(f"{column}={'missing' if pd.isna(name) else name}" for name in names)
    return Segmentation(subjects, True), [c.astype(np.int64) for c in np.split(values, [len(both[0])])]


def _bands(column: str, both: list[pd.Series]) -> tuple[Segmentation, list[Codes]]:
    rows = [values.to_numpy(np.float64, na_value=np.nan) for values in both]
    known = rows[0][~np.isnan(rows[0])]
    inner = np.quantile(known, np.arange(1, BANDS) / BANDS) if known.size else np.array([])
    cuts = np.unique(inner)
    # Names of segments, by which incidents are recognised: no separators.
    ends = ["", *(number(float(c), 4).replace(",", "") for c in cuts), ""]
    subjects = [f"{column}={low}..{high}" for low, high in pairwise(ends)]
    codes = [
        np.where(np.isnan(r), len(subjects), np.searchsorted(cuts, r, side="right")).astype(np.int64)
        for r in rows
    ]
    return Segmentation((*subjects, f"{column}=missing"), False), codes


def window_of(
    frame: pd.DataFrame, outcome: Floats, score: Floats, segments: list[Codes], block: int
) -> Window:
    """A window of rows, its partitions in blocks of ``block``."""
    day, partitions = pd.factorize(frame[PARTITION], sort=True)
    return Window(
        names=[str(name) for name in partitions[::block]],
        day=(day // block).astype(np.int64),
        label=outcome,
        score=score,
        weight=weights_of(frame),
        segments=segments,
    )


def daily_mean(window: Window, residuals: Floats) -> Floats:
    """Weighted mean residual of each block; NaN where a block has no weight."""
    days = len(window.names)
    total = tally(window.day, window.weight, days)
    return tally(window.day, window.weight * residuals, days) / np.where(total > 0, total, np.nan)


def effective_rows(weights: float, squares: float) -> float:
    """Rows of weight 1 that would be worth as much (Kish)."""
    return weights**2 / squares if squares > 0 else 0.0


def series_of(
    before: Window,
    now: Window,
    residuals: Floats,
    changed: Floats,
    segmentations: list[Segmentation],
) -> list[Series]:
    """Daily slopes, then daily contrasts, of all subjects that occur in the current window."""
    whole = [
        _Sums.of(w, r, np.zeros(w.day.size, np.int64), 1) for w, r in ((before, residuals), (now, changed))
    ]
    slopes = _pair("slope", (ALL,), [s.slopes() for s in whole], whole[1].rows())
    contrasts: list[Series] = []
    for i, segmentation in enumerate(segmentations):
        count = len(segmentation.subjects)
        parts = [_Sums.of(w, r, w.segments[i], count) for w, r in ((before, residuals), (now, changed))]
        rows = parts[1].rows()
        if segmentation.categorical:
            slopes += _pair("slope", segmentation.subjects, [s.slopes() for s in parts], rows)
        against = [part.contrasts(all_) for part, all_ in zip(parts, whole, strict=True)]
        contrasts += _pair("contrast", segmentation.subjects, against, rows)
    return slopes + contrasts


def _pair(
    statistic: Literal["slope", "contrast"],
    subjects: Sequence[str],
    daily: list[Floats],
    rows: Floats,
) -> list[Series]:
    """Series of the subjects that occur now, from both windows' values of shape (blocks, subjects)."""
    return [
        Series(statistic, subject, daily[0][:, i], daily[1][:, i], float(rows[i]))
        for i, subject in enumerate(subjects)
        if rows[i] > 0
    ]


@dataclass(frozen=True)
class _Sums:
    """Weighted sums over the rows of each block and segment, each of shape (blocks, segments)."""

    weight: Floats
    squares: Floats
    score: Floats
    score_score: Floats
    residual: Floats
    score_residual: Floats

    @classmethod
    def of(cls, window: Window, residuals: Floats, segment: Codes, count: int) -> _Sums:
        days = len(window.names)
        cell = window.day * count + segment
        terms = (*window.terms, window.weight * residuals, window.terms[2] * residuals)
        sums = (tally(cell, t, days * count).reshape(days, count) for t in terms)
        return cls(*sums)

    def rows(self) -> Floats:
        """Effective rows of each segment."""
        weight, squares = self.weight.sum(axis=0), self.squares.sum(axis=0)
        return np.asarray(weight**2 / np.where(squares > 0, squares, 1), dtype=np.float64)

    def slopes(self) -> Floats:
        """Daily slopes of residuals on the score within the block, linearised."""
        weight = np.where(self.weight > 0, self.weight, 1)
        spread = self.score_score - self.score**2 / weight
        spread[spread <= 1e-12 * self.weight] = 0  # one row, or one score: no slope
        return _linearised(self.score_residual - self.score * self.residual / weight, spread)

    def contrasts(self, whole: _Sums) -> Floats:
        """Daily mean residual of each segment minus that of the rest of its block, linearised."""
        rest = whole.weight - self.weight
        share = np.where((self.weight > 0) & (rest > 1e-9 * whole.weight), 1.0, 0.0)
        inside = self.residual / np.where(share, self.weight, 1)
        outside = (whole.residual - self.residual) / np.where(share, rest, 1)
        information = share * self.weight * rest / np.where(share, whole.weight, 1)
        return _linearised((inside - outside) * information, information)


def _linearised(numerator: Floats, information: Floats) -> Floats:
    """Daily values whose plain mean is the ratio of sums, and whose spread is that of its error.

    Blocks without information are NaN.
    """
    known = information > 0
    blocks = known.sum(axis=0)
    total = information.sum(axis=0)
    safe = np.where(total > 0, total, 1)
    ratio = numerator.sum(axis=0) / safe
    values = ratio + (numerator - ratio * information) * blocks / safe
    return np.where(known, values, np.nan)
