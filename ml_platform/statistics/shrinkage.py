"""Empirical-Bayes shrinkage: of many noisy estimates the largest are the luckiest.

Normal-normal model: the truths scatter around a centre with variance ``tau**2``, the estimates around
their truths with known standard errors. ``tau**2`` is the moment estimate of DerSimonian and Laird
(1986); each estimate is then replaced by its posterior mean (Efron and Morris 1975).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_platform.statistics.blocks import Floats


def shrink(
    estimates: Sequence[float] | Floats, errors: Sequence[float] | Floats, *, center: float | None = None
) -> Floats:
    """Posterior means of the truths behind the estimates.

    Args:
        estimates: One value per subject, shape ``(n,)``.
        errors: Their standard errors, shape ``(n,)``. Where an error is infinite or NaN, or the
            estimate NaN, nothing was seen: such a subject gets the centre.
        center: Where the truths lie when nothing happens, for example 0 for changes; None: their
            mean, estimated with the weights of the same model. An error of 0 leaves its estimate as it is.

    Returns:
        Shape ``(n,)``, each between the centre and its estimate; NaN where no centre could be estimated.

    Raises:
        ValueError: The shapes differ, or an error is negative.
    """
    values, spread = np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if values.shape != spread.shape or values.ndim != 1:
        raise ValueError(f"estimates {values.shape} and errors {spread.shape} are not vectors of one length")
    if (spread < 0).any():
        raise ValueError("a standard error is negative")
    exact = spread == 0
    noisy = np.isfinite(values) & np.isfinite(spread) & ~exact
    y, variances = values[noisy], spread[noisy] ** 2
    between = _between(y, variances, center) if y.size else 0.0
    middle = _mean(y, 1 / (variances + between)) if center is None else float(center)
    shrunk = np.full(values.size, middle)
    shrunk[noisy] += between / (between + variances) * (y - middle)
    shrunk[exact] = values[exact]
    return shrunk


def _mean(values: Floats, weights: Floats) -> float:
    return float((weights * values).sum() / weights.sum()) if values.size else float("nan")


def _between(values: Floats, variances: Floats, center: float | None) -> float:
    """Variance of the truths by the method of moments, at least 0."""
    weights = 1 / variances
    middle = _mean(values, weights) if center is None else center
    freedom = values.size - (center is None)
    lost = (weights**2).sum() / weights.sum() if center is None else 0.0
    excess = float((weights * (values - middle) ** 2).sum()) - freedom
    return max(0.0, float(excess / (weights.sum() - lost))) if freedom else 0.0
