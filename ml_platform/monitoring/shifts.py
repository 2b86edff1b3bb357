"""Comparisons of two windows of days: shifts of a distribution, and breaks of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from ml_platform.model_config import MonitoringConfig
from ml_platform.monitoring.daily import UNSEEN, CategoricalDays, NumericDays, cohens_h
from ml_platform.statistics.blocks import Estimate, Floats, change_of_days, judge, lone_level
from ml_platform.statistics.frames import finite
from ml_platform.statistics.states import State

NULL_BASE, NULL_STEP, NULL_P = 0.005, 0.05, 1e-4
"""A null rate breaks above max(worst reference day, base) + step, with a binomial p-value below."""
NEW_SHARE, NEW_ROWS = 0.01, 200
"""New categories break above this share of at least this many rows."""


@dataclass(frozen=True)
class Shift:
    """A day-blocked comparison of one statistic.

    Attributes:
        statistic: ``mean``, ``spread`` (distance from the reference's median), a category, or
            ``null rate``.
        reference: Mean over reference days, in the column's unit (a category: its share).
        current: Mean over current days.
        effect: Standardised distance: reference standard deviations, or Cohen's h for shares.
        low: Lower end of its 95 % interval.
        high: Upper end.
        minimal_detectable_effect: Smallest effect found with a power of 80 % at the level at which
            a single drifting column would have to pass; that of the least precise
            statistic of the column.
        p_value: Two-sided, over all statistics of the column (Bonferroni).
        p_adjusted: After Benjamini-Yekutieli over all columns that can alarm.
        days: Days of both windows with a value.
        lag1: Lag-1 autocorrelation allowed for.
        state: Its verdict.
    """

    statistic: str
    reference: float | None
    current: float | None
    effect: float | None
    low: float | None
    high: float | None
    minimal_detectable_effect: float | None
    p_value: float
    p_adjusted: float
    days: int
    lag1: float
    state: State


@dataclass(frozen=True)
class DataBreak:
    """A jump that one day shows: of the null rate, or to categories the reference does not have.

    Attributes:
        kind: What jumped.
        partition_key: First day of it; None when only the window as a whole shows it.
        measured: Share of rows.
        limit: Largest share accepted.
        detail: In words.
    """

    kind: Literal["null rate", "new categories"]
    partition_key: str | None
    measured: float
    limit: float
    detail: str


@dataclass(frozen=True)
class Contrast:
    """The change of one daily statistic.

    Attributes:
        statistic: Its name.
        reference: Mean over reference days.
        current: Mean over current days.
        estimate: Change, in the statistic's unit.
        scale: Unit of effects; None for shares, whose effect is Cohen's h.
    """

    statistic: str
    reference: float
    current: float
    estimate: Estimate
    scale: float | None

    def effect(self, change: float) -> float:
        """A change of the statistic as a standardised distance."""
        if self.scale is not None:
            return change / self.scale
        if math.isinf(change):
            return change
        return float(cohens_h(self.reference + change, self.reference))


Contrasts = tuple[Contrast, ...]


@dataclass(frozen=True)
class Choice:
    """The statistic that speaks for a column; None where there is no evidence.

    Attributes:
        contrast: The statistic.
        p_value: Bonferroni over the column's statistics.
        candidates: All statistics of the column.
    """

    contrast: Contrast | None
    p_value: float
    candidates: Contrasts


def numeric_contrasts(reference: NumericDays, current: NumericDays, scale: float) -> Contrasts:
    """Changes of level and spread of a numeric column."""
    before, now = reference.statistics(), current.statistics()
    return tuple(_contrast(name, before[name], now[name], scale) for name in before)


def category_contrasts(reference: CategoricalDays, current: CategoricalDays) -> Contrasts:
    """Changes of the daily share of each category."""
    pairs = zip(reference.categories, reference.shares.T, current.shares.T, strict=True)
    return tuple(
        _contrast(name, before, now, None)
        for name, before, now in pairs
        if np.nansum(before) or np.nansum(now) or name == reference.categories[0]
    )


def null_contrast(
    reference: NumericDays | CategoricalDays, current: NumericDays | CategoricalDays
) -> Contrasts:
    """Change of the daily null rate."""
    before, now = reference.nulls / reference.rows, current.nulls / current.rows
    return (_contrast("null rate", before, now, None),)


def choose(contrasts: Contrasts, alpha: float) -> Choice:
    """The largest effect among the significant statistics, else the most significant one."""
    if not contrasts:
        return Choice(None, 1.0, ())
    count = len(contrasts)
    p_values = [min(1.0, c.estimate.p_value() * count) for c in contrasts]
    significant = [i for i in range(count) if p_values[i] <= alpha]
    if significant:
        best = max(significant, key=lambda i: abs(contrasts[i].effect(contrasts[i].estimate.value)))
    else:
        best = min(range(count), key=lambda i: p_values[i])
    return Choice(contrasts[best], p_values[best], contrasts)


def decide(choice: Choice, p_adjusted: float, columns: int, settings: MonitoringConfig) -> Shift:
    """Effect, interval, detectable effect and state of a column's choice."""
    contrast = choice.contrast
    if contrast is None or math.isnan(contrast.estimate.value):
        return Shift("none", None, None, None, None, None, None, 1.0, 1.0, 0, 0.0, "UNKNOWN")
    estimate = contrast.estimate
    level = lone_level(settings.drift_p_value, columns) / len(choice.candidates)
    low, high = estimate.interval()
    effect = contrast.effect(estimate.value)
    # A precise statistic must not clear a column that another one could not see drifting.
    detectable = max(c.effect(c.estimate.minimal_detectable_effect(level)) for c in choice.candidates)
    state = judge(
        estimate,
        significant=p_adjusted <= settings.drift_p_value,
        floor=settings.drift_effect,
        effect=abs(effect),
        detectable=detectable,
    )
    return Shift(
        statistic=contrast.statistic,
        reference=finite(contrast.reference),
        current=finite(contrast.current),
        effect=finite(effect),
        low=finite(contrast.effect(low)),
        high=finite(contrast.effect(high)),
        minimal_detectable_effect=finite(detectable),
        p_value=choice.p_value,
        p_adjusted=p_adjusted,
        days=estimate.blocks,
        lag1=estimate.lag1,
        state=state,
    )


def null_jump(
    reference: NumericDays | CategoricalDays,
    current: NumericDays | CategoricalDays,
    keys: Sequence[str],
) -> tuple[DataBreak, ...]:
    """The first day whose null rate breaks the limit; empty when none does."""
    base = max(float((reference.nulls / reference.rows).max()), NULL_BASE)
    rates = current.nulls / current.rows
    p_values = stats.binom.sf(current.nulls - 1, current.rows, min(base, 1.0))
    broken = np.flatnonzero((rates > base + NULL_STEP) & (p_values < NULL_P))
    if not broken.size:
        return ()
    first = int(broken[0])
    detail = (
        f"{rates[first]:.1%} of the values are null on {keys[first]}; the worst of the reference has "
        f"{float((reference.nulls / reference.rows).max()):.1%}; {broken.size} partition(s) are broken"
    )
    limit = base + NULL_STEP
    return (DataBreak("null rate", keys[first], float(rates[first]), limit, detail),)


def new_categories(current: CategoricalDays, keys: Sequence[str]) -> tuple[DataBreak, ...]:
    """The first day, or else the window, with more new categories than the limit."""
    values = current.rows - current.nulls
    counts = np.nan_to_num(current.shares[:, current.categories.index(UNSEEN)]) * values
    names = ", ".join(list(current.unseen)[:5])
    days = np.flatnonzero((values >= NEW_ROWS) & (counts > NEW_SHARE * values))
    if days.size:
        first = int(days[0])
        share = float(counts[first] / values[first])
        detail = f"{share:.1%} of the values on {keys[first]} are new to the reference: {names}"
        return (DataBreak("new categories", keys[first], share, NEW_SHARE, detail),)
    total = float(values.sum())
    if total >= NEW_ROWS and counts.sum() > NEW_SHARE * total:
        share = float(counts.sum()) / total
        detail = f"{share:.1%} of the values are new to the reference: {names}"
        return (DataBreak("new categories", None, share, NEW_SHARE, detail),)
    return ()


def _contrast(statistic: str, before: Floats, now: Floats, scale: float | None) -> Contrast:
    means = [float(np.nanmean(x)) if (~np.isnan(x)).any() else math.nan for x in (before, now)]
    return Contrast(statistic, means[0], means[1], change_of_days(before, now), scale)
