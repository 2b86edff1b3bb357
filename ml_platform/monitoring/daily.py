"""Features and scores reduced to a few numbers per day, and each day's distance to a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from ml_platform.model_config import FeatureConfig
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite

QUANTILES = (np.arange(20) + 0.5) / 20
"""Probabilities at which a day's quantile function is kept."""
UNSEEN = "(unseen)"
"""Categories that the reference does not have."""
OTHER = "(other)"
"""Rare categories of the reference, together."""

_Distances: TypeAlias = tuple[Floats, Floats, float]
_MOST_CATEGORIES = 20
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class NumericDays:
    """A numeric column, one entry per day.

    Attributes:
        rows: (days,) rows.
        nulls: (days,) rows without a value.
        mean: (days,) mean, NaN on a day without values.
        spread: (days,) mean absolute distance from one centre, the reference's median.
        quantiles: (days, 20) quantiles at :data:`QUANTILES`.
    """

    rows: Floats
    nulls: Floats
    mean: Floats
    spread: Floats
    quantiles: Floats

    def statistics(self) -> dict[str, Floats]:
        """Level and spread of each day.

        Neither moves by more than the Wasserstein distance between two days, so that ties and rare
        values cannot turn a small change into a large effect, as they do with quantiles and tails.
        """
        return {"mean": self.mean, "spread": self.spread}


@dataclass(frozen=True)
class CategoricalDays:
    """A categorical column, one entry per day.

    Attributes:
        rows: (days,) rows.
        nulls: (days,) rows without a value.
        categories: Frequent categories of the reference, then :data:`OTHER` and :data:`UNSEEN`.
        shares: (days, categories) shares among rows with a value, NaN on a day without any.
        unseen: Rows of each category that the reference does not have.
    """

    rows: Floats
    nulls: Floats
    categories: tuple[str, ...]
    shares: Floats
    unseen: dict[str, int]


@dataclass(frozen=True)
class DailyDistance:
    """Distance of each day to the reference, for a picture; nothing is decided here.

    Attributes:
        partitions: Days.
        features: Features, then the scores.
        distance: One row per feature, one entry per day: in reference standard deviations (numeric)
            or Cohen's h of the category that moved most; None on a day without values.
        null_rate: The same shape.
        reference_null_rate: Null rate of each feature on the reference's worst day.
        runs_with_time: Features that are expected to move.
    """

    partitions: tuple[str, ...]
    features: tuple[str, ...]
    distance: tuple[tuple[float | None, ...], ...]
    null_rate: tuple[tuple[float | None, ...], ...]
    reference_null_rate: tuple[float | None, ...]
    runs_with_time: tuple[str, ...]


def numeric_days(frame: pd.DataFrame, column: str, centre: float) -> NumericDays:
    """Summarise a numeric column by day, in the order of the keys.

    Args:
        frame: Rows sorted by ``partition_key``.
        column: Column.
        centre: Median of the reference, for both windows.
    """
    values, starts = _by_day(frame, column)
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    days = [day[np.isfinite(day)] for day in np.split(numbers, starts[1:])]
    rows = np.diff([*starts, len(numbers)]).astype(np.float64)
    empty = np.full(len(QUANTILES), np.nan)
    return NumericDays(
        rows=rows,
        nulls=rows - np.array([day.size for day in days], dtype=np.float64),
        mean=np.array([day.mean() if day.size else np.nan for day in days]),
        spread=np.array([np.abs(day - centre).mean() if day.size else np.nan for day in days]),
        quantiles=np.array([np.quantile(d, QUANTILES) if d.size else empty for d in days]).reshape(
            len(days), len(QUANTILES)
        ),
    )


def categorical_days(
    reference: pd.DataFrame, current: pd.DataFrame, column: str
) -> tuple[CategoricalDays, CategoricalDays]:
    """Summarise a categorical column of both windows by day, on the reference's categories."""
    seen = reference[column].dropna().astype(str)
    frequent = seen.value_counts(normalize=True)
    named = [str(c) for c in frequent.index[:_MOST_CATEGORIES] if frequent[c] >= _LEAST_SHARE]
    known = set(seen.unique())
    return _shares(reference, column, named, known), _shares(current, column, named, known)


def centre_and_scale(frame: pd.DataFrame, column: str) -> tuple[float, float]:
    """Median and standard deviation over rows; 1 for the latter where the column is constant."""
    values = frame[column].to_numpy(np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    scale = float(values.std())
    constant = scale <= 1e-12 * max(abs(float(values.mean())), 1)
    return float(np.median(values)), 1.0 if constant else scale


def wasserstein(reference: NumericDays, days: Floats, scale: float) -> Floats:
    """Wasserstein-1 distance of quantile functions to the reference's barycentre, standardised.

    In one dimension the barycentre of the days is the mean of their quantile functions.

    Args:
        reference: Reference days.
        days: (n, 20) quantiles.
        scale: Unit.

    Returns:
        (n,) distances.
    """
    full = reference.quantiles[~np.isnan(reference.mean)]
    if not full.size:
        return np.full(len(days), np.nan)
    return np.asarray(np.abs(days - full.mean(axis=0)).mean(axis=1) / scale, dtype=np.float64)


def cohens_h(share: Floats | float, reference: Floats | float) -> Floats:
    """Cohen's h, the difference of two shares on the arcsine scale: .2 is small, .5 is medium."""
    now, before = (np.arcsin(np.sqrt(np.clip(x, 0, 1))) for x in (share, reference))
    return np.asarray(2 * (now - before), dtype=np.float64)


def daily_distance(
    reference: Table, current: Table, features: Sequence[FeatureConfig], scores: Sequence[str]
) -> DailyDistance:
    """Distance of each current day to the reference, per feature and score.

    Args:
        reference: ``partition_key``, features, scores.
        current: The same columns.
        features: Features.
        scores: Columns of the scores.

    Raises:
        IntegrityError: A column is missing.
    """
    names = [f.name for f in features] + list(scores)
    before = as_frame(reference, (PARTITION, *names), "reference rows").sort_values(PARTITION, kind="stable")
    now = as_frame(current, (PARTITION, *names), "current rows").sort_values(PARTITION, kind="stable")
    categorical = {f.name for f in features if f.kind == "categorical"}
    pairs = [
        _distance_of_shares(before, now, n) if n in categorical else _distance(before, now, n) for n in names
    ]
    return DailyDistance(
        partitions=tuple(map(str, now[PARTITION].unique())),
        features=tuple(names),
        distance=tuple(tuple(map(finite, d)) for d, _, _ in pairs),
        null_rate=tuple(tuple(map(finite, n)) for _, n, _ in pairs),
        reference_null_rate=tuple(finite(worst) for _, _, worst in pairs),
        runs_with_time=tuple(f.name for f in features if f.runs_with_time),
    )


def _distance(before: pd.DataFrame, now: pd.DataFrame, name: str) -> _Distances:
    centre, scale = centre_and_scale(before, name)
    reference, days = numeric_days(before, name, centre), numeric_days(now, name, centre)
    distance = wasserstein(reference, days.quantiles, scale)
    return distance, days.nulls / days.rows, _worst_nulls(reference)


def _distance_of_shares(before: pd.DataFrame, now: pd.DataFrame, name: str) -> _Distances:
    reference, days = categorical_days(before, now, name)
    full = reference.shares[~np.isnan(reference.shares).any(axis=1)]
    expected = full.mean(axis=0) if len(full) else np.full(len(days.categories), np.nan)
    distance = np.abs(cohens_h(days.shares, expected)).max(axis=1)
    return distance, days.nulls / days.rows, _worst_nulls(reference)


def _worst_nulls(days: NumericDays | CategoricalDays) -> float:
    return float((days.nulls / days.rows).max()) if days.rows.size else 0.0


def _by_day(frame: pd.DataFrame, column: str) -> tuple[pd.Series, list[int]]:
    """The column of a frame sorted by partition, and where each day starts in it."""
    keys = frame[PARTITION].to_numpy()
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.array([], int)
    return frame[column], [int(s) for s in starts]


def _shares(frame: pd.DataFrame, column: str, named: list[str], known: set[str]) -> CategoricalDays:
    values, starts = _by_day(frame, column)
    codes, found = pd.factorize(values.astype(object).where(values.notna(), None))
    rank = {name: i for i, name in enumerate(named)}
    places = [rank.get(str(c), len(named) if str(c) in known else len(named) + 1) for c in found]
    place = np.array([*places, -1])[codes]
    width = len(named) + 2
    days = np.split(place, starts[1:]) if starts else []
    counts = np.array([np.bincount(d[d >= 0], minlength=width) for d in days], dtype=np.float64)
    counts = counts.reshape(len(starts), width)
    rows = np.diff([*starts, len(place)]).astype(np.float64)
    total = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares = counts / total[:, None]
    strange = values[place == len(named) + 1].astype(str).value_counts()
    return CategoricalDays(
        rows=rows,
        nulls=rows - total,
        categories=(*named, OTHER, UNSEEN),
        shares=shares,
        unseen={str(k): int(n) for k, n in strange.items()},
    )
