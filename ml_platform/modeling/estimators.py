"""The estimators: how each is fitted, scores, explains itself and becomes bytes.

All read the matrix of :class:`ml_platform.modeling.encoding.Encoder`. Nothing here draws on the number
of cores or on anything else of the machine, so that the same data and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.model_config import EstimatorName
from ml_platform.modeling.boosting import BOOSTING_PARAMETERS, TWEEDIE_PARAMETERS, Boosting
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.linear import LOGISTIC_PARAMETERS, RIDGE_PARAMETERS, Linear
from ml_platform.modeling.parameters import Parameter, Value
from ml_platform.modeling.task import Task


class Fitted(Protocol):
    """A fitted estimator."""

    def predict(self, matrix: Floats) -> Floats:
        """Scores before calibration: (rows,), or (rows, classes) of several classes."""

    def contributions(self, matrix: Floats) -> Floats:
        """What each feature adds before the link (log-odds of classes): (rows, features + 1).

        The last column is the rest; they add up. Of several classes (rows, classes, features + 1).
        """

    def to_bytes(self) -> bytes:
        """The estimator's own portable form, equal for equal fits."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """An estimator: its parameters, file name in a bundle, and how it is fitted and read."""

    parameters: Mapping[str, Parameter]
    file: str
    fit: Callable[[Floats, Floats, Encoder, Mapping[str, Value], int, Floats | None, Task], Fitted]
    load: Callable[[bytes, Encoder, Task], Fitted]


ESTIMATORS: Mapping[EstimatorName, Estimator] = {
    "lightgbm": Estimator(BOOSTING_PARAMETERS, "model.txt", Boosting.fit, Boosting.load),
    "logistic": Estimator(LOGISTIC_PARAMETERS, "model.skops", Linear.fit_logistic, Linear.load),
    "ridge": Estimator(RIDGE_PARAMETERS, "model.skops", Linear.fit_ridge, Linear.load),
}


def parameters_of(name: EstimatorName, task: Task) -> Mapping[str, Parameter]:
    """The parameters that an estimator has for a task."""
    known = ESTIMATORS[name].parameters
    tweedie = name == "lightgbm" and task.objective == "tweedie"
    return {**known, **TWEEDIE_PARAMETERS} if tweedie else known


def resolve_parameters(
    estimator: EstimatorName, overrides: Mapping[str, Value], task: Task
) -> dict[str, Value]:
    """The platform's defaults with a model's own parameters on top.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    known = parameters_of(estimator, task)
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ConfigError(
            f"{estimator} has no parameter {', '.join(unknown)}",
            where="training.parameters",
            fix=f"choose from: {', '.join(sorted(known))}",
        )
    return {name: known[name].check(name, overrides.get(name, known[name].default)) for name in known}


def fit(
    estimator: EstimatorName,
    matrix: Floats,
    labels: Floats,
    encoder: Encoder,
    parameters: Mapping[str, Value],
    seed: int,
    weights: Floats | None,
    task: Task,
) -> Fitted:
    """Fit one estimator.

    Args:
        estimator: Which one.
        matrix: Encoded features (rows, features).
        labels: Codes of the kind (rows,).
        encoder: What encoded the matrix.
        parameters: As of :func:`resolve_parameters`.
        seed: Seed of everything random.
        weights: Weight of each row (rows,); all count once when None.
        task: What is fitted.

    Raises:
        NotReadyError: The rows lack a class, or hold one value only.
    """
    lacking = task.kind.lacking(labels)
    if lacking:
        raise NotReadyError(
            f"nothing can be learnt: {lacking}",
            where="training window or one of its folds",
            fix="train on more partitions, or on fewer folds",
        )
    return ESTIMATORS[estimator].fit(matrix, labels, encoder, parameters, seed, weights, task)
