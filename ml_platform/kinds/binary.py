"""Yes or no: the score is the probability of a positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ml_platform.errors import ConfigError
from ml_platform.kinds.base import SMALLEST, Bools, Floats, Kind, LossName, numbers
from ml_platform.kinds.ranking import area_under_curve
from ml_platform.model_config import DecisionConfig, KindName

_FIX = "select a BOOLEAN or 0/1 in the labels model"


@dataclass(frozen=True)
class Binary(Kind):
    """Labels 0 and 1; the loss is the log loss (natural logarithm)."""

    name: ClassVar[KindName] = "binary"
    loss: ClassVar[LossName] = "log_loss"
    column: ClassVar[str] = "probability"

    def encode(self, column: pa.ChunkedArray, name: str) -> Floats:
        """0.0 and 1.0."""
        values = numbers(column, name, "0 or 1", _FIX)
        if not (np.isin(values, (0.0, 1.0)) | np.isnan(values)).all():
            raise ConfigError(
                f"a label is neither 0 nor 1 (type {column.type})", where=f"column {name}", fix=_FIX
            )
        return values

    def lacking(self, labels: Floats) -> str:
        """Both classes are needed."""
        if labels.size and labels.min() != labels.max():
            return ""
        return f"{labels.size} rows hold {int(labels.sum())} positives: both classes are needed"

    def counts(self, labels: Floats) -> dict[str, int]:
        """Positives and negatives."""
        positives = int((labels == 1).sum())
        return {"positives": positives, "negatives": int(labels.size) - positives}

    @property
    def paces(self) -> tuple[str, ...]:
        """The classes themselves."""
        return ("negative", "positive")

    def summary(self, labels: Floats) -> dict[str, float]:
        """The share of positives."""
        return {"positives": float(labels.mean())}

    def valid(self, scores: Floats) -> Bools:
        """Between 0 and 1."""
        return np.asarray((scores >= 0) & (scores <= 1))

    def losses(self, labels: Floats, scores: Floats) -> Floats:
        """Log loss; scores are kept off 0 and 1 by the machine epsilon."""
        clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
        return np.asarray(-np.log(np.where(labels == 1, clipped, 1 - clipped)), dtype=np.float64)

    def terms(self, labels: Floats, scores: Floats) -> dict[str, Floats]:
        """Brier score and share of positives."""
        return {"brier": (scores - labels) ** 2, "base_rate": labels}

    def pooled(self, labels: Floats, scores: Floats) -> dict[str, float | None]:
        """Area under the ROC curve."""
        return {"auc": area_under_curve(labels == 1, scores)}

    @property
    def quality(self) -> str:
        """Area under the ROC curve."""
        return "auc"

    def constant_losses(self, moments: Floats, constant: Sequence[float]) -> Floats:
        """Cross-entropy of the shares of positives and the constant."""
        positive, negative = self.losses(np.array([1.0, 0.0]), np.full(2, constant[0]))
        rates = moments[:, 0]
        return np.asarray(rates * positive + (1 - rates) * negative, dtype=np.float64)

    def served(self) -> tuple[tuple[str, pa.DataType, bool], ...]:
        """The probability."""
        return (("probability", pa.float64(), False),)

    def serve(self, scores: Floats, interval: tuple[Floats, Floats] | None) -> dict[str, pa.Array]:
        """The probability."""
        return {"probability": pa.array(scores, pa.float64())}

    def decide(self, scores: Floats, decision: DecisionConfig) -> list[str]:
        """Positive from the threshold on."""
        words = np.where(scores >= decision.threshold, decision.positive, decision.negative)
        return [str(w) for w in words]

    def facts(self, row: Mapping[str, Any], decision: DecisionConfig) -> dict[str, Any]:
        """Probability, threshold, and whether it is reached."""
        probability = row["probability"]
        return {
            "probability": probability,
            "threshold": decision.threshold,
            "positive": probability >= decision.threshold,
        }

    def selected(self, scores: Floats, decision: DecisionConfig) -> dict[str, float]:
        """Mean probability, and the share at or above the threshold."""
        return {
            "mean_probability": float(scores.mean()),
            "share_positive": float((scores >= decision.threshold).mean()),
        }
