"""What kinds of target call things, known without importing what computes them; a test holds them equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml_platform.model_config import KindName, ModelConfig


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one kind.

    Attributes:
        loss: The loss.
        quality: The metric whose least value binds the first champion.
        bounded: Whether scores are probabilities.
    """

    loss: str
    quality: str
    bounded: bool


NAMES: Mapping[KindName, Names] = {
    "binary": Names("log_loss", "auc", bounded=True),
    "regression": Names("squared_error", "r2", bounded=False),
    "multiclass": Names("log_loss", "auc", bounded=True),
}


def served_columns(model: ModelConfig) -> dict[str, str]:
    """Columns of a prediction beside the decision, with their types."""
    by_class = {f"probability_{c}": "double" for c in model.label.classes}
    columns: Mapping[KindName, dict[str, str]] = {
        "binary": {"probability": "double"},
        "regression": {"prediction": "double", "prediction_low": "double", "prediction_high": "double"},
        "multiclass": {"predicted_class": "string", **by_class},
    }
    return columns[model.kind]
