"""Inference in which the day (any partition) is the sample, not the row.

Rows of one day share its shocks, and neighbouring days resemble each other. So every quantity is
first reduced to one number per day; its mean is then tested with the variance that an AR(1) series
has (Bartlett 1946), the lag-1 autocorrelation being corrected for its small-sample bias (Marriott
and Pope 1954) and raised by half its standard error. With 28 against 7 days and a lag-1 of 0 to .6
a test at .01 rejects .5 to 1.3 % of the time, where Welch's rejects 1.4 to 18 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ml_platform.statistics.states import State

Alternative = Literal["two-sided", "greater"]
Floats = npt.NDArray[np.float64]

MINIMUM_BLOCKS = 8
"""Fewer days than this in all cannot decide anything."""
POWER = 0.8
"""Power at which a minimal detectable effect is stated."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of days, or a difference of two such means.

    Attributes:
        value: The estimate.
        se: Its standard error, infinite when there are too few days for one.
        df: Degrees of freedom, reduced for autocorrelation.
        blocks: Days in all.
        lag1: Lag-1 autocorrelation that the standard error allows for.
    """

    value: float
    se: float
    df: float
    blocks: int
    lag1: float

    def p_value(self, alternative: Alternative = "two-sided") -> float:
        """Probability of an estimate at least this large when the truth is zero."""
        if math.isinf(self.se):
            return 1.0
        if self.se == 0:
            return float(self.value == 0 or (alternative == "greater" and self.value < 0))
        t = self.value / self.se
        tail = stats.t.sf(t if alternative == "greater" else abs(t), self.df)
        return float(tail if alternative == "greater" else 2 * tail)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval."""
        half = self._quantile(0.5 + confidence / 2) * self.se
        return self.value - half, self.value + half

    def minimal_detectable_effect(self, alpha: float, alternative: Alternative = "two-sided") -> float:
        """Smallest true effect that a test at ``alpha`` finds with a power of 80 %."""
        tail = alpha if alternative == "greater" else alpha / 2
        return (self._quantile(1 - tail) + self._quantile(POWER)) * self.se

    def _quantile(self, probability: float) -> float:
        return float(stats.t.ppf(probability, self.df))


def mean_of_days(days: Sequence[float] | Floats) -> Estimate:
    """Mean over days, in the order of time; days that are NaN are left out."""
    window = _clean(days)
    return _estimate(float(window.mean()) if window.size else math.nan, [window])


def change_of_days(reference: Sequence[float] | Floats, current: Sequence[float] | Floats) -> Estimate:
    """Mean of the current days minus mean of the reference days, both in the order of time.

    The reference's own error is in the standard error. The variance is pooled over both windows.
    """
    windows = [_clean(reference), _clean(current)]
    if not all(w.size for w in windows):
        return Estimate(math.nan, math.inf, 1, sum(w.size for w in windows), 0)
    return _estimate(float(windows[1].mean() - windows[0].mean()), windows)


def judge(  # one line per state keeps the rule readable
    estimate: Estimate, *, significant: bool, floor: float, effect: float, detectable: float
) -> State:
    """One of the four states.

    FAIL: significant and at least the floor. PASS: not so, and an effect of the floor's size would
    have been seen. UNDERPOWERED: it would not have been seen, or there are fewer than eight days.
    UNKNOWN: there is no estimate.
    """
    if math.isnan(estimate.value):
        return "UNKNOWN"
    if estimate.blocks < MINIMUM_BLOCKS:
        return "UNDERPOWERED"
    if significant and effect >= floor:
        return "FAIL"
    return "PASS" if detectable <= floor else "UNDERPOWERED"


def adjust(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted by Benjamini and Yekutieli (2001), valid under any dependence."""
    if not p_values:
        return []
    return [float(p) for p in stats.false_discovery_control(p_values, method="by")]


def lone_level(alpha: float, tests: int) -> float:
    """The level at which one real effect among ``tests`` has to pass after :func:`adjust`."""
    return alpha / (tests * sum(1 / k for k in range(1, tests + 1))) if tests else alpha


def estimate_around(value: float, residuals: Sequence[Floats], scale: float) -> Estimate:
    """A mean of days, or a difference or ratio of such means, with the error that AR(1) residuals give it.

    Args:
        value: The estimate.
        residuals: For each mean that was taken, its days around it, in the order of time.
        scale: Largest absolute value of a day: spread below 1e-12 of it is rounding, so the error is 0.
    """
    blocks, means = sum(r.size for r in residuals), len(residuals)
    if blocks - means < 1:
        return Estimate(value, math.inf, 1, blocks, 0)
    squares = float(sum((r**2).sum() for r in residuals))
    if squares <= blocks * (1e-12 * scale) ** 2:
        return Estimate(value, 0.0, blocks - means, blocks, 0)
    products = float(sum((r[1:] * r[:-1]).sum() for r in residuals))
    lag1 = _lag1(products / squares, blocks, means)
    shares = [_variance_share(r.size, lag1) for r in residuals]
    left = sum(r.size * (1 - s) for r, s in zip(residuals, shares, strict=True))
    se = math.sqrt(squares / left * sum(shares)) if left > 0 else math.inf
    df = max((blocks - means) * (1 - lag1**2) / (1 + lag1**2), 1)
    return Estimate(value, se, df, blocks, lag1)


def _clean(days: Sequence[float] | Floats) -> Floats:
    values = np.asarray(days, dtype=np.float64)
    return values[~np.isnan(values)]


def _estimate(value: float, windows: list[Floats]) -> Estimate:
    scale = max((float(np.abs(w).max()) for w in windows if w.size), default=0.0)
    estimate = estimate_around(value, [w - w.mean() for w in windows if w.size], scale)
    exact = estimate.se == 0 and abs(value) <= 1e-12 * scale
    return replace(estimate, value=0.0) if exact else estimate


def _lag1(raw: float, blocks: int, means: int) -> float:
    """Lag-1 autocorrelation, unbiased, raised by half a standard error, within 0 and .9."""
    unbiased = (raw + means / blocks) / (1 - min(0.5, 4 * means / blocks))
    error = math.sqrt(max(1 - unbiased**2, 0) / blocks)
    return min(max(unbiased + error / 2, 0), 0.9)


def _variance_share(days: int, lag1: float) -> float:
    """Variance of a mean of AR(1) days, as a share of the variance of one day.

    It is ``(1 + 2 * sum((1 - k / days) * lag1**k for k in range(1, days))) / days``, summed.
    """
    beyond = 2 * lag1 * (1 - lag1**days) / (days * (1 - lag1) ** 2)
    return ((1 + lag1) / (1 - lag1) - beyond) / days
