"""Drift of features and scores, blocked by day.

A row-level test alarms on every real window, because the rows of a day share its shocks. Here each
column becomes a few numbers per day, the days are compared with the errors of an autocorrelated
series (:mod:`ml_platform.statistics.blocks`), p-values are adjusted over all columns by Benjamini
and Yekutieli, and an alarm needs an effect of some size as well. Jumps of null rates and new
categories are breaks of the data, not of its distribution, and are found on a single day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from ml_platform.model_config import FeatureConfig, MonitoringConfig
from ml_platform.monitoring.daily import (
    NumericDays,
    categorical_days,
    centre_and_scale,
    numeric_days,
    wasserstein,
)
from ml_platform.monitoring.shifts import (
    Contrasts,
    DataBreak,
    Shift,
    category_contrasts,
    choose,
    decide,
    new_categories,
    null_contrast,
    null_jump,
    numeric_contrasts,
)
from ml_platform.statistics.blocks import Floats, adjust
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite
from ml_platform.statistics.states import State, worst

Kind = Literal["numeric", "categorical", "score"]


@dataclass(frozen=True)
class RowStatistics:
    """Row-level statistics, for information: with dependent rows they alarm nearly always.

    Attributes:
        psi: Population stability index, reference deciles or categories.
        ks: Kolmogorov-Smirnov distance; None for a categorical column.
        ks_p_value: As if the rows were independent, which they are not.
        wasserstein: Distance of the day-averaged quantile functions, in reference standard
            deviations; None for a categorical column.
    """

    psi: float | None
    ks: float | None
    ks_p_value: float | None
    wasserstein: float | None


@dataclass(frozen=True)
class ColumnDrift:
    """The drift of one feature or of the score.

    Attributes:
        name: Column.
        kind: Kind of column.
        deciding: False for features that run with time: reported, never alarming.
        state: Worst of values, nulls and breaks. What alarms is :attr:`DriftReport.alarms`.
        values: Values (the statistic that decides).
        nulls: Null rate.
        breaks: Jumps.
        information: Row-level statistics.
    """

    name: str
    kind: Kind
    deciding: bool
    state: State
    values: Shift
    nulls: Shift
    breaks: tuple[DataBreak, ...]
    information: RowStatistics


@dataclass(frozen=True)
class DriftReport:
    """Drift of all columns.

    Attributes:
        state: Worst state of the deciding columns.
        reference: Reference partitions.
        current: Current partitions.
        columns: Features in their order, then the scores.
    """

    state: State
    reference: tuple[str, ...]
    current: tuple[str, ...]
    columns: tuple[ColumnDrift, ...]

    @property
    def alarms(self) -> list[str]:
        """Deciding columns whose state is FAIL."""
        return [c.name for c in self.columns if c.deciding and c.state == "FAIL"]

    def column(self, name: str) -> ColumnDrift:
        """The column with this name."""
        return next(c for c in self.columns if c.name == name)


def drift(
    reference: Table,
    current: Table,
    features: Sequence[FeatureConfig],
    scores: Sequence[str],
    settings: MonitoringConfig,
) -> DriftReport:
    """Compare the days of two windows, column by column.

    A column that one window lacks, or that has no value in it, is UNKNOWN. Fewer than eight days in
    all are UNDERPOWERED; breaks of the data are found on any number of days.

    Args:
        reference: ``partition_key``, features, scores: the reference window.
        current: The same columns: the current window.
        features: Features; those with ``runs_with_time`` never alarm.
        scores: Columns of the scores.
        settings: ``drift_p_value`` and ``drift_effect``.

    Raises:
        IntegrityError: There is no ``partition_key``.
    """
    before = as_frame(reference, (PARTITION,), "reference rows")
    now = as_frame(current, (PARTITION,), "current rows")
    before, now = (f.sort_values(PARTITION, kind="stable") for f in (before, now))
    wanted: list[tuple[str, Kind, bool]] = [(f.name, f.kind, not f.runs_with_time) for f in features]
    wanted += [(score, "score", True) for score in scores]
    found = [_compare(before, now, *column) for column in wanted]
    columns = _decide(found, settings)
    return DriftReport(
        state=worst(c.state for c in columns if c.deciding),
        reference=tuple(map(str, before[PARTITION].unique())),
        current=tuple(map(str, now[PARTITION].unique())),
        columns=tuple(columns),
    )


@dataclass(frozen=True)
class _Column:
    """A column before the p-values of all columns are adjusted together."""

    name: str
    kind: Kind
    deciding: bool
    values: Contrasts = ()
    nulls: Contrasts = ()
    breaks: tuple[DataBreak, ...] = ()
    information: RowStatistics = RowStatistics(None, None, None, None)


def _compare(before: pd.DataFrame, now: pd.DataFrame, name: str, kind: Kind, deciding: bool) -> _Column:
    if name not in before.columns or name not in now.columns or now.empty or before.empty:
        return _Column(name, kind, deciding)
    if kind == "categorical":
        return _compare_categories(before, now, name, deciding)
    centre, scale = centre_and_scale(before, name)
    old, new = numeric_days(before, name, centre), numeric_days(now, name, centre)
    return _Column(
        name=name,
        kind=kind,
        deciding=deciding,
        values=numeric_contrasts(old, new, scale),
        nulls=null_contrast(old, new),
        breaks=null_jump(old, new, _keys(now)),
        information=_row_statistics(
            before[name].to_numpy(np.float64, na_value=np.nan),
            now[name].to_numpy(np.float64, na_value=np.nan),
            _distance(old, new, scale),
        ),
    )


def _compare_categories(before: pd.DataFrame, now: pd.DataFrame, name: str, deciding: bool) -> _Column:
    old, new = categorical_days(before, now, name)
    share = [np.nanmean(d.shares, axis=0) if (d.rows > d.nulls).any() else None for d in (old, new)]
    psi = None if share[0] is None or share[1] is None else _psi(share[0], share[1])
    return _Column(
        name=name,
        kind="categorical",
        deciding=deciding,
        values=category_contrasts(old, new),
        nulls=null_contrast(old, new),
        breaks=(*null_jump(old, new, _keys(now)), *new_categories(new, _keys(now))),
        information=RowStatistics(psi, None, None, None),
    )


def _decide(columns: Sequence[_Column], settings: MonitoringConfig) -> list[ColumnDrift]:
    """Adjust over the deciding columns, values and null rates apart, and give each its state."""
    values = _adjusted([c.values for c in columns], [c.deciding for c in columns], settings)
    nulls = _adjusted([c.nulls for c in columns], [c.deciding for c in columns], settings)
    return [
        ColumnDrift(
            name=c.name,
            kind=c.kind,
            deciding=c.deciding,
            state="FAIL" if c.breaks else worst([v.state, n.state]),
            values=v,
            nulls=n,
            breaks=c.breaks,
            information=c.information,
        )
        for c, v, n in zip(columns, values, nulls, strict=True)
    ]


def _adjusted(family: list[Contrasts], deciding: list[bool], settings: MonitoringConfig) -> list[Shift]:
    """One shift per column. Columns that never alarm keep their own p-value and cost no power."""
    chosen = [choose(contrasts, settings.drift_p_value) for contrasts in family]
    counted = [i for i, d in enumerate(deciding) if d]
    adjusted = dict(zip(counted, adjust([chosen[i].p_value for i in counted]), strict=True))
    return [
        decide(c, adjusted.get(i, c.p_value), len(counted) if deciding[i] else 1, settings)
        for i, c in enumerate(chosen)
    ]


def _keys(frame: pd.DataFrame) -> list[str]:
    return [str(k) for k in frame[PARTITION].unique()]


def _row_statistics(before: Floats, now: Floats, distance: float | None) -> RowStatistics:
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    if not before.size or not now.size:
        return RowStatistics(None, None, None, None)
    edges = np.unique(np.quantile(before, np.arange(1, 10) / 10))
    shares = [
        np.bincount(np.searchsorted(edges, x), minlength=edges.size + 1) / x.size for x in (before, now)
    ]
    ks = stats.ks_2samp(before, now, method="asymp")
    return RowStatistics(_psi(shares[0], shares[1]), float(ks.statistic), float(ks.pvalue), distance)


def _distance(before: NumericDays, now: NumericDays, scale: float) -> float | None:
    """Between the barycentres of both windows."""
    values = ~np.isnan(now.mean)
    if not values.any():
        return None
    centre = now.quantiles[values].mean(axis=0, keepdims=True)
    return finite(float(wasserstein(before, centre, scale)[0]))


def _psi(expected: Floats, actual: Floats) -> float:
    """Population stability index, shares kept above .01 %."""
    old, new = np.clip(expected, 1e-4, None), np.clip(actual, 1e-4, None)
    return float(((new - old) * np.log(new / old)).sum())
