"""Calibration from cross-fitted scores, kept only where it improves.

Candidates of a yes or no: none; Platt 1999; isotonic, Zadrozny and Elkan 2002. Of several classes: none;
temperature, Guo et al. 2017; with an intercept for each class as well (bias-corrected temperature, Alexandari
et al. 2020). Of a number: none; a straight line (Mincer and Zarnowitz 1969); isotonic. Each is judged by
cross-fitting too: it is fitted on the out-of-fold scores of all folds but one and judged on that one. A more
flexible candidate replaces a simpler one only if its loss, paired by partition, improves by more than one
standard error of that improvement (the one-standard-error rule of Breiman et al. 1984): small recalibrations
hurt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

from ml_platform.kinds.base import SMALLEST, Kind
from ml_platform.model_config import KindName
from ml_platform.modeling.day_bounds import mean_of_days
from ml_platform.modeling.frames import Floats, Ints, Strings, codes_of, log_odds, mean_by

Method: TypeAlias = Literal["none", "platt", "isotonic", "linear", "temperature", "bias_corrected"]

ISOTONIC_LIMIT = 0.001
"""Isotonic steps of only one class are kept this far off 0 and 1."""
_NEWTON_STEPS, _HALVINGS = 100, 30
_SETTLED, _SINGULAR = 1e-8, 1e-12


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A map of scores.

    Attributes:
        method: ``none``; ``platt``: slope and intercept on log-odds; ``isotonic``: knots, linear in between;
            ``linear``: slope and intercept; ``temperature``: slope of log-probabilities; ``bias_corrected``:
            the same and an intercept for each class.
        x: Slope, or the knots' scores.
        y: Intercepts, or the knots' values.
    """

    method: Method = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, scores: Floats) -> Floats:
        """Calibrated scores, of the same shape."""
        return _APPLY[self.method](scores, self.x, self.y)


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Which calibrator was kept and why.

    Attributes:
        method: The method kept.
        loss: Cross-fitted loss by method, the mean over partitions.
        gain: Improvement of the method kept over none.
        gain_error: Its standard error, partitions being the sample.
    """

    method: Method
    loss: Mapping[Method, float]
    gain: float
    gain_error: float


def calibrate(
    kind: Kind,
    scores: Floats,
    labels: Floats,
    folds: Ints,
    partitions: Strings,
    candidates: tuple[Method, ...] | None = None,
) -> tuple[Calibrator, Floats, CalibrationReport]:
    """Choose a calibrator.

    Args:
        kind: Kind of target.
        scores: Out-of-fold scores (rows,) or (rows, classes).
        labels: Codes (rows,).
        folds: Fold of each row (rows,), whole partitions each.
        partitions: Partition key of each row (rows,).
        candidates: Methods to try, all of the kind's when None; ``none`` always is.

    Returns:
        The calibrator fitted to all rows; the cross-fitted calibrated scores; the report.
    """
    days, keys = codes_of(partitions)
    fitted: dict[Method, Calibrator] = {}
    crossed: dict[Method, Floats] = {}
    daily: dict[Method, Floats] = {}
    fits = FITS[kind.name]
    for method in dict.fromkeys(("none", *(fits if candidates is None else candidates))):
        calibrator = fits[method](scores, labels)
        calibrated = cross_fitted(fits[method], scores, labels, folds)
        if calibrator is not None and calibrated is not None:
            fitted[method], crossed[method] = calibrator, calibrated
            daily[method] = mean_by(days, kind.losses(labels, calibrated), keys.size)
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


def cross_fitted(fit: Fit, scores: Floats, labels: Floats, folds: Ints) -> Floats | None:
    """Scores calibrated by the other folds; None where some fold's others cannot be fitted."""
    calibrated = np.empty_like(scores)
    for fold in np.unique(folds):
        inside = folds == fold
        calibrator = fit(scores[~inside], labels[~inside])
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
    loss = _line_loss(odds, target, line)
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(odds, target, line)
        if step is None:
            return None
        line, loss = _damped(odds, target, line, loss, step)
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
    odds: Floats, target: Floats, line: tuple[float, float], loss: float, step: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    """The line after the step and its loss; halved until the loss does not rise: full steps may diverge."""
    for halvings in range(_HALVINGS):
        share = 0.5**halvings
        moved = (line[0] + share * step[0], line[1] + share * step[1])
        reached = _line_loss(odds, target, moved)
        if reached <= loss:
            return moved, reached
    return line, loss


def _line_loss(odds: Floats, target: Floats, line: tuple[float, float]) -> float:
    z = line[0] * odds + line[1]
    return float((np.logaddexp(0, z) - target * z).sum())


def _fit_isotonic(scores: Floats, labels: Floats) -> Calibrator:
    return _steps(IsotonicRegression(y_min=ISOTONIC_LIMIT, y_max=1 - ISOTONIC_LIMIT), scores, labels)


def _fit_isotonic_number(scores: Floats, labels: Floats) -> Calibrator:
    return _steps(IsotonicRegression(), scores, labels)


def _steps(regression: IsotonicRegression, scores: Floats, labels: Floats) -> Calibrator:
    regression.set_params(out_of_bounds="clip").fit(scores, labels)
    x, y = regression.X_thresholds_, regression.y_thresholds_
    return Calibrator("isotonic", tuple(map(float, x)), tuple(map(float, y)))


def _fit_linear(scores: Floats, labels: Floats) -> Calibrator | None:
    """Least squares of labels on scores; None where the slope does not rise or all scores are equal."""
    centred = scores - scores.mean()
    spread = float((centred**2).sum())
    if spread <= _SINGULAR * max(1.0, float((scores**2).sum())):
        return None
    slope = float((centred * labels).sum() / spread)
    intercept = float(labels.mean() - slope * scores.mean())
    return Calibrator("linear", (slope,), (intercept,)) if slope > 0 else None


def _fit_temperature(scores: Floats, labels: Floats) -> Calibrator | None:
    found = _minimised(scores, labels, intercepts=False)
    return None if found is None else Calibrator("temperature", (float(found[0]),), ())


def _fit_bias_corrected(scores: Floats, labels: Floats) -> Calibrator | None:
    found = _minimised(scores, labels, intercepts=True)
    if found is None:
        return None
    return Calibrator("bias_corrected", (float(found[0]),), (0.0, *map(float, found[1:])))


def _minimised(scores: Floats, labels: Floats, *, intercepts: bool) -> Floats | None:
    """Slope, and intercepts of all classes but the first, of least log loss, which is convex in them.

    None where a class is missing, the search does not settle, or the slope does not rise.
    """
    count = scores.shape[1]
    logs, place = np.log(np.clip(scores, SMALLEST, 1.0)), labels.astype(np.int64)
    hit = np.asarray(place[:, None] == np.arange(count), dtype=np.float64)
    if not hit.any(axis=0).all():
        return None

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] * logs + np.r_[0.0, line[1:] if intercepts else np.zeros(count - 1)]
        gap = special.softmax(z, axis=1) - hit
        value = float((special.logsumexp(z, axis=1) - z[np.arange(place.size), place]).mean())
        slopes = [float((gap * logs).sum()), *(gap[:, 1:].sum(axis=0) if intercepts else ())]
        return value, np.asarray(slopes) / place.size

    start = np.r_[1.0, np.zeros(count - 1 if intercepts else 0)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": _SETTLED})
    return found.x if found.success and found.x[0] > 0 else None


Fit: TypeAlias = Callable[[Floats, Floats], Calibrator | None]
"""Scores and codes to a calibrator; None where none can be fitted."""

FITS: Mapping[KindName, Mapping[Method, Fit]] = {
    "binary": {"none": _fit_none, "platt": fit_platt, "isotonic": _fit_isotonic},
    "regression": {"none": _fit_none, "linear": _fit_linear, "isotonic": _fit_isotonic_number},
    "multiclass": {
        "none": _fit_none,
        "temperature": _fit_temperature,
        "bias_corrected": _fit_bias_corrected,
    },
}
"""Methods of each kind, from the simplest to the most flexible."""

RECALIBRATIONS: Mapping[KindName, Fit] = {
    "binary": fit_platt,
    "regression": _fit_linear,
    "multiclass": _fit_bias_corrected,
}
"""What a recalibration fits: few parameters, among them the level of each channel."""


def _scaled(scores: Floats, slope: float, intercepts: Floats) -> Floats:
    logs = np.log(np.clip(scores, SMALLEST, 1.0))
    return np.asarray(special.softmax(slope * logs + intercepts, axis=1), dtype=np.float64)


_Parameters: TypeAlias = tuple[float, ...]
_APPLY: Mapping[Method, Callable[[Floats, _Parameters, _Parameters], Floats]] = {
    "none": lambda scores, _, __: scores,
    "platt": lambda s, x, y: np.asarray(special.expit(x[0] * log_odds(s) + y[0]), dtype=np.float64),
    "isotonic": np.interp,
    "linear": lambda scores, x, y: x[0] * scores + y[0],
    "temperature": lambda scores, x, _: _scaled(scores, x[0], np.zeros(scores.shape[1])),
    "bias_corrected": lambda scores, x, y: _scaled(scores, x[0], np.asarray(y)),
}
