"""Calibration from cross-fitted scores, kept only where it improves.

Each candidate (none; Platt 1999; isotonic, Zadrozny and Elkan 2002) is judged by cross-fitting too: it is
fitted on the out-of-fold scores of all folds but one and judged on that one. A more flexible candidate
replaces a simpler one only if its log loss, paired by partition, improves by more than one standard error
of that improvement (the one-standard-error rule of Breiman et al. 1984): small recalibrations hurt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import special
from sklearn.isotonic import IsotonicRegression

from ml_platform.modeling.day_bounds import mean_of_days
from ml_platform.modeling.frames import Floats, Ints, Strings, log_losses, log_odds, mean_by

Method: TypeAlias = Literal["none", "platt", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "platt", "isotonic")
"""From the simplest to the most flexible."""

ISOTONIC_LIMIT = 0.001
"""Isotonic steps of only one class are kept this far off 0 and 1."""
_NEWTON_STEPS, _HALVINGS = 100, 30
_SETTLED, _SINGULAR = 1e-8, 1e-12


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A monotone map of probabilities.

    Attributes:
        method: ``none``; ``platt``: parameters are slope and intercept on log-odds; ``isotonic``:
            parameters are knots, scores first, probabilities second, linear in between.
        x: Slope, or the knots' scores.
        y: Intercept, or the knots' probabilities.
    """

    method: Method = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, scores: Floats) -> Floats:
        """Calibrated probabilities."""
        if self.method == "platt":
            return np.asarray(special.expit(self.x[0] * log_odds(scores) + self.y[0]), dtype=np.float64)
        if self.method == "isotonic":
            return np.interp(scores, self.x, self.y)
        return scores


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Which calibrator was kept and why.

    Attributes:
        method: The method kept.
        log_loss: Cross-fitted log loss by method, the mean over partitions.
        gain: Improvement of the method kept over none.
        gain_error: Its standard error, partitions being the sample.
    """

    method: Method
    log_loss: Mapping[Method, float]
    gain: float
    gain_error: float


def calibrate(
    scores: Floats, labels: Floats, folds: Ints, partitions: Strings, candidates: tuple[Method, ...] = METHODS
) -> tuple[Calibrator, Floats, CalibrationReport]:
    """Choose a calibrator.

    Args:
        scores: Out-of-fold scores (rows,).
        labels: 0.0 or 1.0 (rows,).
        folds: Fold of each row (rows,), whole partitions each.
        partitions: Partition key of each row (rows,).
        candidates: Methods to try; ``none`` always is.

    Returns:
        The calibrator fitted to all rows; the cross-fitted calibrated scores (rows,); the report.
    """
    keys, days = np.unique(partitions, return_inverse=True)
    fitted: dict[Method, Calibrator] = {}
    crossed: dict[Method, Floats] = {}
    daily: dict[Method, Floats] = {}
    for method in dict.fromkeys((METHODS[0], *candidates)):
        calibrator = _FITS[method](scores, labels)
        calibrated = _cross_fitted(method, scores, labels, folds)
        if calibrator is not None and calibrated is not None:
            fitted[method], crossed[method] = calibrator, calibrated
            daily[method] = mean_by(days, log_losses(labels, calibrated), keys.size)
    kept = _choose(daily)
    total = mean_of_days(daily["none"] - daily[kept])
    losses = {m: float(d.mean()) for m, d in daily.items()}
    return fitted[kept], crossed[kept], CalibrationReport(kept, losses, total.value, total.se)


def _choose(daily: Mapping[Method, Floats]) -> Method:
    """The most flexible method whose gain over the simpler one kept so far is more than its error."""
    kept: Method = "none"
    for method, losses in daily.items():
        gain = mean_of_days(daily[kept] - losses)
        if gain.value > gain.se:
            kept = method
    return kept


def _cross_fitted(method: Method, scores: Floats, labels: Floats, folds: Ints) -> Floats | None:
    """Scores calibrated by the other folds; None where some fold's others cannot be fitted."""
    calibrated = np.empty_like(scores)
    for fold in np.unique(folds):
        inside = folds == fold
        calibrator = _FITS[method](scores[~inside], labels[~inside])
        if calibrator is None:
            return None
        calibrated[inside] = calibrator.apply(scores[inside])
    return calibrated


def _fit_none(_: Floats, __: Floats) -> Calibrator:
    return Calibrator()


def fit_platt(scores: Floats, labels: Floats) -> Calibrator | None:
    """Slope and intercept on Platt's smoothed targets by damped Newton steps (Lin et al. 2007).

    None where the steps do not settle or the slope does not rise.
    """
    odds = log_odds(scores)
    positives = labels.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (labels.size - positives + 2)
    target = np.where(labels == 1, high, low)
    line = (0.0, float(log_odds(np.array([target.mean()]))[0]))
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(odds, target, line)
        if step is None:
            return None
        line = _damped(odds, target, line, step)
        if abs(step[0]) + abs(step[1]) < _SETTLED:
            return Calibrator("platt", (line[0],), (line[1],)) if line[0] > 0 else None
    return None


def _newton_step(odds: Floats, target: Floats, line: tuple[float, float]) -> tuple[float, float] | None:
    """The full step of slope and intercept; None where all scores are equal."""
    p = special.expit(line[0] * odds + line[1])
    weight = p * (1 - p)
    rise, lift = ((target - p) * odds).sum(), (target - p).sum()
    a, b, c = (weight * odds**2).sum(), (weight * odds).sum(), weight.sum()
    determinant = a * c - b * b
    if determinant <= _SINGULAR * a * c:
        return None
    return float((c * rise - b * lift) / determinant), float((a * lift - b * rise) / determinant)


def _damped(
    odds: Floats, target: Floats, line: tuple[float, float], step: tuple[float, float]
) -> tuple[float, float]:
    """The line after the step, halved until the loss does not rise: full steps may diverge."""
    before = _line_loss(odds, target, line)
    for halvings in range(_HALVINGS):
        share = 0.5**halvings
        moved = (line[0] + share * step[0], line[1] + share * step[1])
        if _line_loss(odds, target, moved) <= before:
            return moved
    return line


def _line_loss(odds: Floats, target: Floats, line: tuple[float, float]) -> float:
    z = line[0] * odds + line[1]
    return float((np.logaddexp(0, z) - target * z).sum())


def _fit_isotonic(scores: Floats, labels: Floats) -> Calibrator:
    fitted = IsotonicRegression(y_min=ISOTONIC_LIMIT, y_max=1 - ISOTONIC_LIMIT, out_of_bounds="clip")
    fitted.fit(scores, labels)
    x, y = fitted.X_thresholds_, fitted.y_thresholds_
    return Calibrator("isotonic", tuple(map(float, x)), tuple(map(float, y)))


_FITS: Mapping[Method, Callable[[Floats, Floats], Calibrator | None]] = {
    "none": _fit_none,
    "platt": fit_platt,
    "isotonic": _fit_isotonic,
}
