"""The kinds of models: how each is fitted, scores, explains itself and becomes bytes.

Both read the matrix of :class:`ml_platform.modeling.encoding.Encoder`. Nothing here draws on the number
of cores or on anything else of the machine, so that the same data and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.modeling.boosting import BOOSTING_PARAMETERS, Boosting
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.logistic import LOGISTIC_PARAMETERS, Logistic
from ml_platform.modeling.parameters import Parameter, Value

EstimatorName: TypeAlias = Literal["lightgbm", "logistic"]


class Fitted(Protocol):
    """A fitted estimator."""

    def predict(self, matrix: Floats) -> Floats:
        """Probability of a positive (rows,), before calibration."""

    def contributions(self, matrix: Floats) -> Floats:
        """Log-odds (rows, features + 1): one column per feature, the last one the rest; they add up."""

    def to_bytes(self) -> bytes:
        """The estimator's own portable form, equal for equal fits."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of estimator: its parameters, file name in a bundle, and how it is fitted and read."""

    parameters: Mapping[str, Parameter]
    file: str
    fit: Callable[[Floats, Floats, Encoder, Mapping[str, Value], int, Floats | None], Fitted]
    load: Callable[[bytes, Encoder], Fitted]


KINDS: Mapping[EstimatorName, Kind] = {
    "lightgbm": Kind(BOOSTING_PARAMETERS, "model.txt", Boosting.fit, Boosting.load),
    "logistic": Kind(LOGISTIC_PARAMETERS, "model.skops", Logistic.fit, Logistic.load),
}


def resolve_parameters(kind: EstimatorName, overrides: Mapping[str, Value]) -> dict[str, Value]:
    """The platform's defaults with a model's own parameters on top.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type or out of range.
    """
    known = KINDS[kind].parameters
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ConfigError(
            f"{kind} has no parameter {', '.join(unknown)}",
            where="training.parameters",
            fix=f"choose from: {', '.join(sorted(known))}",
        )
    return {name: known[name].check(name, overrides.get(name, known[name].default)) for name in known}


def fit(
    kind: EstimatorName,
    matrix: Floats,
    labels: Floats,
    encoder: Encoder,
    parameters: Mapping[str, Value],
    seed: int,
    weights: Floats | None = None,
) -> Fitted:
    """Fit one estimator.

    Args:
        kind: Kind of estimator.
        matrix: Encoded features (rows, features).
        labels: 0.0 or 1.0 (rows,).
        encoder: What encoded the matrix.
        parameters: As of :func:`resolve_parameters`.
        seed: Seed of everything random.
        weights: Weight of each row (rows,); all count once when None.

    Raises:
        NotReadyError: The rows hold only one class.
    """
    if labels.size == 0 or labels.min() == labels.max():
        raise NotReadyError(
            f"{labels.size} rows to learn from hold {int(labels.sum())} positives: both classes are needed",
            where="training window or one of its folds",
            fix="train on more partitions, or on fewer folds",
        )
    return KINDS[kind].fit(matrix, labels, encoder, parameters, seed, weights)
