"""Has the loss risen since promotion? A test that may be looked at after every day.

A test at a fixed sample size alarms by chance sooner or later when it is peeked at. A confidence
sequence holds its level over all looks at once: Robbins's normal mixture (1970), in the form that
estimates the variance from the data (the t-mixture of Perez-Ortiz et al. 2024 and Wang and Ramdas
2024; asymptotic reading: Waudby-Smith et al. 2021).

What makes it fit for days of losses against a short reference:

- The difference "mean of the current days minus mean of the reference", times its information (one
  over its variance), is a Brownian motion in information time. The information never exceeds that of
  the reference alone, so the reference's own error is in the width, however long the current window.
- Days that resemble their neighbours carry less information: variance and degrees of freedom are those
  of an AR(1) series (:func:`ml_platform.statistics.blocks.change_of_days`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ml_platform.statistics.blocks import POWER, Estimate, change_of_days, judge
from ml_platform.statistics.states import State

EFFECT_SCALE = 1.0
"""Standard deviation of the mixture, in standard deviations of one day. Any value is valid; the bound
is tightest where the information is about 9 / scale**2 independent days, about what 28 days hold."""


@dataclass(frozen=True, slots=True)
class HarmTest:
    """The rise of the loss over a frozen reference, at one look.

    Attributes:
        estimate: Mean of the current days minus mean of the reference days, in units of the loss.
        lower: Anytime-valid one-sided lower bound of the rise: above zero at *any* look with a
            probability of at most ``alpha`` when there is no rise. Minus infinity when the days cannot
            bound it yet; NaN when there are none.
        upper: The same, from above.
        state: FAIL: ``lower`` above zero and ``estimate`` at least the floor; else see
            :func:`ml_platform.statistics.blocks.judge`.
        minimal_detectable_effect: Smallest true rise that this look finds with a power of 80 %.
        days: Days of both windows that have a value.
        lag1: Lag-1 autocorrelation that the bounds allow for.
    """

    estimate: float
    lower: float
    upper: float
    state: State
    minimal_detectable_effect: float
    days: int
    lag1: float


def harm(reference: Sequence[float], current: Sequence[float], *, alpha: float, floor: float) -> HarmTest:
    """Test, at any or every look, whether the loss has risen.

    Args:
        reference: Daily mean losses of the frozen reference, in the order of time; NaN is left out.
        current: Daily mean losses since promotion, in the order of time; NaN is left out.
        alpha: Probability of ever raising a false alarm.
        floor: Least rise that counts, in units of the loss.
    """
    change = change_of_days(reference, current)
    before = _known(reference)
    after = _known(current)
    boundary = _boundary(_information(before, after, change.lag1), change.df, alpha)
    half = boundary * change.se if change.se else 0.0  # an infinite boundary times nothing is NaN
    detectable = half + float(special.stdtrit(change.df, POWER)) * change.se
    lower = change.value - half
    return HarmTest(
        estimate=change.value,
        lower=lower,
        upper=change.value + half,
        state=_state(change, lower, floor, detectable),
        minimal_detectable_effect=detectable,
        days=change.blocks,
        lag1=change.lag1,
    )


def _known(days: Sequence[float]) -> int:
    return int(np.count_nonzero(~np.isnan(np.asarray(days, dtype=np.float64))))


def _state(change: Estimate, lower: float, floor: float, detectable: float) -> State:
    return judge(change, significant=lower > 0, floor=floor, effect=change.value, detectable=detectable)


def _information(reference: int, current: int, lag1: float) -> float:
    """Independent days that the difference is worth: one over its variance in days' variances."""
    if not reference or not current:
        return 0.0
    return reference * current / (reference + current) * (1 - lag1) / (1 + lag1)


def _boundary(information: float, df: float, alpha: float) -> float:
    """Standard errors that the estimate must exceed at any look.

    The mixture's likelihood ratio in the t statistic,
    ``r**-.5 * ((1 + t*t/df) / (1 + t*t/(df*r)))**((df + 1)/2)`` with ``r = 1 + information * scale**2``,
    exceeds ``1/(2 alpha)`` at any look with a probability of ``2 alpha``, half of it on each side.
    """
    ratio = 1 + information * EFFECT_SCALE**2
    needed = (math.sqrt(ratio) / (2 * alpha)) ** (2 / (df + 1))
    if needed >= ratio:
        return math.inf
    return math.sqrt(df * (needed - 1) / (1 - needed / ratio))
