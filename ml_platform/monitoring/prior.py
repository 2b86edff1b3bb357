"""Calibrated scores moved to the level of the labels: what a recalibration alone could mend.

A new base rate multiplies the odds of every class by the same factor everywhere and leaves p(x|y) as it was
(prior shift: Saerens et al. 2002). With labels at hand the factors need no EM: they are the intercepts of a
multinomial logistic regression on the logarithms of the expected probabilities, and at their maximum of
likelihood the mean probability of every class is its share.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from ml_platform.statistics.blocks import Floats

_STEPS, _LARGEST_STEP, _SETTLED = 50, 1.0, 1e-9


def to_level(expected: Floats, outcomes: Floats, weight: Floats, *, bounded: bool) -> Floats:
    """Expected outcomes whose level is that of the outcomes.

    Args:
        expected: Shape (rows, channels). Bounded: probabilities of a class each, strictly between 0 and 1,
            not necessarily of sum 1; a single channel is that of a class and its complement.
        outcomes: Shape (rows, channels).
        weight: Shape (rows,), at least 0, some above.
        bounded: Whether these are probabilities of outcomes of 0 or 1. Numbers move along a straight line,
            as their calibrator does: what grows by half everywhere is no other rule.
    """
    if not bounded:
        return _along_a_line(expected, outcomes, weight)
    if expected.shape[1] == 1:
        both = [np.hstack([1 - p, p]) for p in (expected, outcomes)]
        return to_shares(both[0], both[1], weight)[:, 1:]
    return to_shares(expected, outcomes, weight)


def _along_a_line(expected: Floats, outcomes: Floats, weight: Floats) -> Floats:
    """Least squares by channel; by a constant where the scores do not vary, or the line falls."""
    centre, level = (np.average(values, axis=0, weights=weight) for values in (expected, outcomes))
    centred = expected - centre
    spread = weight @ centred**2
    slope = (weight @ (centred * (outcomes - level))) / np.where(spread > 0, spread, 1)
    return np.asarray(level + np.where(slope > 0, slope, 1.0) * centred, dtype=np.float64)


def to_shares(expected: Floats, outcomes: Floats, weight: Floats) -> Floats:
    """Probabilities (rows, classes) whose odds are multiplied, by class, until they meet the classes' shares.

    Newton's method; a class that never came counts as half a row, or its factor would be 0.
    """
    total = weight.sum()
    shares = np.maximum(weight @ outcomes, 0.5) / total
    shares /= shares.sum()
    logits = np.log(expected)
    factors = np.zeros(shares.size)
    shifted = special.softmax(logits, axis=1)
    for _ in range(_STEPS):
        weighted = weight[:, None] * shifted
        means = weighted.sum(axis=0) / total
        curvature = np.diag(means) - weighted.T @ shifted / total
        # only ratios of the factors count, so the first stays what it is
        step = np.linalg.solve(curvature[1:, 1:], (shares - means)[1:])
        # far steps can overshoot where the curve is flat
        factors[1:] += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        shifted = special.softmax(logits + factors, axis=1)
        if np.abs(step).max() < _SETTLED:
            break
    return np.asarray(shifted, dtype=np.float64)
