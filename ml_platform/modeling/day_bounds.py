"""Bounds in which the day (any partition) is the sample, not the row.

Rows of one day share its shocks and neighbouring days resemble each other, so a row-level error is far
too small. A quantity is reduced to one number per day; the mean of those has the variance of an AR(1)
series (Bartlett 1946), its lag-1 autocorrelation corrected for small samples (Marriott and Pope 1954) and
raised by half a standard error; t quantiles take the degrees of freedom that are left.

Whole windows count each day once. Segments, whose days may hold a handful of rows, count each day by its
rows: the mean is then a ratio of sums, and its days are linearised (Cochran 1977, section 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ml_platform.modeling.frames import Floats

MINIMUM_DAYS = 4
"""With fewer days nothing is said: neither their spread nor their likeness could be estimated."""


@dataclass(frozen=True, slots=True)
class DayMean:
    """A mean over days.

    Attributes:
        value: The mean; NaN without days.
        se: Its standard error; infinite with fewer than :data:`MINIMUM_DAYS` days.
        df: Degrees of freedom, reduced for autocorrelation.
        days: Days with rows.
    """

    value: float
    se: float
    df: float
    days: int

    def lower(self, confidence: float) -> float:
        """One-sided lower bound."""
        return self.value - float(stats.t.ppf(confidence, self.df)) * self.se

    def upper(self, confidence: float) -> float:
        """One-sided upper bound."""
        return self.value + float(stats.t.ppf(confidence, self.df)) * self.se

    def p_above(self, limit: float) -> float:
        """P-value against the hypothesis that the mean is at most ``limit``."""
        if math.isinf(self.se) or math.isnan(self.value):
            return 1.0
        if self.se == 0:
            return float(self.value <= limit)
        return float(stats.t.sf((self.value - limit) / self.se, self.df))


def mean_of_days(values: Floats, weights: Floats | None = None) -> DayMean:
    """Mean of daily values.

    Args:
        values: One value per day, in the order of time; NaN where a day has no rows.
        weights: Rows of each day, to count each row once; None counts each day once.
    """
    known = ~np.isnan(values)
    kept = values[known]
    weight = np.ones(kept.size) if weights is None else weights[known].astype(np.float64)
    if not kept.size or weight.sum() <= 0:
        return DayMean(math.nan, math.inf, 1, 0)
    mean = float((kept * weight).sum() / weight.sum())
    if kept.size < MINIMUM_DAYS:
        return DayMean(mean, math.inf, 1, int(kept.size))
    residuals = (kept - mean) * weight / weight.mean()
    return _with_error(mean, residuals, float(np.abs(kept).max()))


def _with_error(mean: float, residuals: Floats, scale: float) -> DayMean:
    days = residuals.size
    squares = float((residuals**2).sum())
    if squares <= days * (1e-12 * scale) ** 2:
        return DayMean(mean, 0.0, days - 1, days)
    lag1 = _lag1(float((residuals[1:] * residuals[:-1]).sum()) / squares, days)
    share = _variance_share(days, lag1)
    se = math.sqrt(squares / (days * (1 - share)) * share)
    df = max((days - 1) * (1 - lag1**2) / (1 + lag1**2), 1)
    return DayMean(mean, se, df, days)


def _lag1(raw: float, days: int) -> float:
    """Lag-1 autocorrelation, unbiased, raised by half a standard error, within 0 and .9."""
    unbiased = (raw + 1 / days) / (1 - min(0.5, 4 / days))
    error = math.sqrt(max(1 - unbiased**2, 0) / days)
    return min(max(unbiased + error / 2, 0), 0.9)


def _variance_share(days: int, lag1: float) -> float:
    """Variance of a mean of AR(1) days, as a share of the variance of one day."""
    lags = np.arange(1, days)
    return float((1 + 2 * np.sum((1 - lags / days) * lag1**lags)) / days)
