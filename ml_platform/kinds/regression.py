"""A number: the score is its expected value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ml_platform.errors import ConfigError
from ml_platform.kinds.base import Bools, Floats, Kind, LossName, numbers
from ml_platform.model_config import DecisionConfig, KindName
from ml_platform.numbers import number

_FIX = "select a finite number in the labels model"


@dataclass(frozen=True)
class Regression(Kind):
    """Labels are numbers; the loss is the squared error, whose least expectation is at the mean.

    Limits are in units of the label's variance (losses) and standard deviation (bias, contrasts): a margin of
    .015 is an R² of .015.
    """

    name: ClassVar[KindName] = "regression"
    loss: ClassVar[LossName] = "squared_error"
    column: ClassVar[str] = "prediction"
    bounded: ClassVar[bool] = False

    def encode(self, column: pa.ChunkedArray, name: str) -> Floats:
        """The numbers."""
        values = numbers(column, name, "a number", _FIX)
        known = column.is_valid().to_numpy().astype(bool)
        if not np.isfinite(values[known]).all():
            raise ConfigError("a label is NaN or infinite", where=f"column {name}", fix=_FIX)
        return values

    def lacking(self, labels: Floats) -> str:
        """Labels must differ."""
        if labels.size and labels.min() != labels.max():
            return ""
        return f"{labels.size} rows hold one value of the label: it must vary"

    def counts(self, labels: Floats) -> dict[str, int]:
        """There are no classes."""
        return {}

    @property
    def paces(self) -> tuple[str, ...]:
        """All alike: a number is known when it is final."""
        return ("number",)

    def summary(self, labels: Floats) -> dict[str, float]:
        """Mean and standard deviation."""
        return {"mean": float(labels.mean()), "standard_deviation": float(labels.std())}

    def moments(self, labels: Floats) -> Floats:
        """The label and its square."""
        return np.column_stack([labels, labels**2])

    def valid(self, scores: Floats) -> Bools:
        """Finite."""
        return np.asarray(np.isfinite(scores))

    def losses(self, labels: Floats, scores: Floats) -> Floats:
        """Squared error."""
        return np.asarray((labels - scores) ** 2, dtype=np.float64)

    def terms(self, labels: Floats, scores: Floats) -> dict[str, Floats]:
        """Absolute error and the label itself."""
        return {"mae": np.abs(labels - scores), "mean_label": labels}

    def pooled(self, labels: Floats, scores: Floats) -> dict[str, float | None]:
        """Root mean squared error, and R² against these rows' own mean."""
        if not labels.size:
            return {"rmse": None, "r2": None}
        error, variance = float(self.losses(labels, scores).mean()), float(labels.var())
        return {"rmse": error**0.5, "r2": 1 - error / variance if variance > 0 else None}

    @property
    def quality(self) -> str:
        """Coefficient of determination."""
        return "r2"

    def constant_losses(self, moments: Floats, constant: Sequence[float]) -> Floats:
        """Mean squared distance of the labels from the constant."""
        mean, square = moments[:, 0], moments[:, 1]
        return np.asarray(square - 2 * constant[0] * mean + constant[0] ** 2, dtype=np.float64)

    def loss_scale(self, labels: Floats) -> float:
        """The label's variance; 1 where it is constant."""
        return float(labels.var()) or 1.0

    def label_scale(self, labels: Floats) -> float:
        """The label's standard deviation; 1 where it is constant."""
        return float(labels.std()) or 1.0

    def served(self) -> tuple[tuple[str, pa.DataType, bool], ...]:
        """The prediction, and where the outcome probably lies."""
        return (
            ("prediction", pa.float64(), False),
            ("prediction_low", pa.float64(), True),
            ("prediction_high", pa.float64(), True),
        )

    def serve(self, scores: Floats, interval: tuple[Floats, Floats] | None) -> dict[str, pa.Array]:
        """The prediction with its interval."""
        low, high = interval if interval is not None else (None, None)
        return {
            "prediction": pa.array(scores, pa.float64()),
            "prediction_low": pa.nulls(scores.size, pa.float64()) if low is None else pa.array(low),
            "prediction_high": pa.nulls(scores.size, pa.float64()) if high is None else pa.array(high),
        }

    def decide(self, scores: Floats, decision: DecisionConfig) -> list[str]:
        """The words of the band in which the prediction lies; the number itself without bands."""
        if not decision.words:
            unit = f" {decision.unit}" if decision.unit else ""
            return [f"about {number(float(score), 4)}{unit}" for score in scores]
        band = np.searchsorted(decision.bands, scores, side="right")
        return [decision.words[i] for i in band]

    def facts(self, row: Mapping[str, Any], decision: DecisionConfig) -> dict[str, Any]:
        """Prediction, interval and unit."""
        return {
            "prediction": row["prediction"],
            "low": row["prediction_low"],
            "high": row["prediction_high"],
            "unit": decision.unit,
        }

    def selected(self, scores: Floats, decision: DecisionConfig) -> dict[str, float]:
        """Mean prediction."""
        return {"mean_prediction": float(scores.mean())}
