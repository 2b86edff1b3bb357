"""Bounds in which the day (any partition) is the sample, not the row.

Rows of one day share its shocks and neighbouring days resemble each other, so a row-level error is far
too small. A quantity is reduced to one number per day; the error of their mean is that of
:mod:`ml_platform.statistics.blocks`, and t quantiles take the degrees of freedom that are left.

Whole windows count each day once. Segments, whose days may hold a handful of rows, count each day by its
rows: the mean is then a ratio of sums, and its days are linearised (Cochran 1977, section 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ml_platform.modeling.frames import Floats
from ml_platform.statistics.blocks import estimate_around

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
    estimate = estimate_around(mean, [residuals], float(np.abs(kept).max()))
    return DayMean(mean, estimate.se, estimate.df, estimate.blocks)
