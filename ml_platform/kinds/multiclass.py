"""One of several classes: a probability for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import ConfigError
from ml_platform.kinds.base import SMALLEST, Bools, Floats, Kind, LossName, numbers
from ml_platform.kinds.ranking import area_under_curve
from ml_platform.model_config import DecisionConfig, KindName

_SUM = 1e-6
"""Probabilities of a row may miss a sum of 1 by this much."""


@dataclass(frozen=True)
class Multiclass(Kind):
    """Labels are names of classes (or their positions); the loss is the multinomial log loss.

    Each class against the rest is a channel.
    """

    name: ClassVar[KindName] = "multiclass"
    loss: ClassVar[LossName] = "log_loss"
    column: ClassVar[str] = "probability"

    def encode(self, column: pa.ChunkedArray, name: str) -> Floats:
        """Positions of the classes."""
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._positions(column.cast(pa.string()), name)
        codes = numbers(column, name, f"one of {', '.join(self.classes)}", self._fix())
        if not (np.isin(codes, np.arange(len(self.classes))) | np.isnan(codes)).all():
            raise ConfigError("a label is no position of a class", where=f"column {name}", fix=self._fix())
        return codes

    def _positions(self, text: pa.ChunkedArray, name: str) -> Floats:
        found = pc.index_in(text, value_set=pa.array(self.classes, pa.string()), skip_nulls=True)
        strange = pc.and_(pc.is_null(found), pc.is_valid(text))
        if pc.any(strange, min_count=0).as_py():
            value = text.filter(strange)[0].as_py()
            raise ConfigError(
                f"the label '{value}' is none of {', '.join(self.classes)}",
                where=f"column {name}",
                fix=self._fix(),
            )
        codes: Floats = found.cast(pa.float64()).to_numpy().astype(np.float64)
        return codes

    def _fix(self) -> str:
        return "select one of label.classes in the labels model, or add the class in use_case.yaml"

    def lacking(self, labels: Floats) -> str:
        """Each class is needed."""
        counts = np.bincount(labels.astype(np.int64), minlength=len(self.classes))
        none = [c for c, n in zip(self.classes, counts, strict=True) if not n]
        return f"{labels.size} rows hold none of class {', '.join(none)}: each is needed" if none else ""

    def counts(self, labels: Floats) -> dict[str, int]:
        """Rows of each class."""
        counts = np.bincount(labels[~np.isnan(labels)].astype(np.int64), minlength=len(self.classes))
        return dict(zip(self.classes, map(int, counts), strict=True))

    @property
    def paces(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    def outcomes(self, labels: Floats) -> Floats:
        """One column of 0 and 1 for each class."""
        return np.asarray(labels[:, None] == np.arange(len(self.classes)), dtype=np.float64)

    def valid(self, scores: Floats) -> Bools:
        """Each between 0 and 1, their sum 1."""
        inside = ((scores >= 0) & (scores <= 1)).all(axis=1)
        return np.asarray(inside & (np.abs(scores.sum(axis=1) - 1) <= _SUM))

    def losses(self, labels: Floats, scores: Floats) -> Floats:
        """Negative logarithm of the probability of the class that came."""
        said = scores[np.arange(labels.size), labels.astype(np.int64)]
        return np.asarray(-np.log(np.clip(said, SMALLEST, 1.0)), dtype=np.float64)

    def terms(self, labels: Floats, scores: Floats) -> dict[str, Floats]:
        """Brier score over all classes, and whether the likeliest class came."""
        return {
            "brier": ((scores - self.outcomes(labels)) ** 2).sum(axis=1),
            "accuracy": (scores.argmax(axis=1) == labels).astype(np.float64),
        }

    def pooled(self, labels: Floats, scores: Floats) -> dict[str, float | None]:
        """Area under the ROC curve, one class against the rest, the mean over classes (macro)."""
        found = [area_under_curve(labels == i, scores[:, i]) for i in range(len(self.classes))]
        known = [a for a in found if a is not None]
        return {"auc": float(np.mean(known)) if known else None}

    @property
    def quality(self) -> str:
        """Macro area under the ROC curve."""
        return "auc"

    def constant_losses(self, moments: Floats, constant: Sequence[float]) -> Floats:
        """Cross-entropy of the shares of the classes and the constant."""
        said = np.log(np.clip(np.asarray(constant), SMALLEST, 1.0))
        return np.asarray(-(moments @ said), dtype=np.float64)

    def served(self) -> tuple[tuple[str, pa.DataType, bool], ...]:
        """The likeliest class and every probability."""
        return (
            ("predicted_class", pa.string(), False),
            *((name, pa.float64(), False) for name in self.names()),
        )

    def serve(self, scores: Floats, interval: tuple[Floats, Floats] | None) -> dict[str, pa.Array]:
        """The likeliest class and every probability."""
        likeliest = [self.classes[i] for i in scores.argmax(axis=1)]
        columns = {n: pa.array(v, pa.float64()) for n, v in self.columns(scores).items()}
        return {"predicted_class": pa.array(likeliest, pa.string()), **columns}

    def decide(self, scores: Floats, decision: DecisionConfig) -> list[str]:
        """The words of the likeliest class; its name without any."""
        words = decision.words or [c.replace("_", " ") for c in self.classes]
        return [words[i] for i in scores.argmax(axis=1)]

    def facts(self, row: Mapping[str, Any], decision: DecisionConfig) -> dict[str, Any]:
        """The likeliest class, its probability, and all of them."""
        by_class = {c: row[n] for c, n in zip(self.classes, self.names(), strict=True)}
        return {
            "predicted_class": row["predicted_class"],
            "probability": by_class[row["predicted_class"]],
            "probabilities": by_class,
        }

    def selected(self, scores: Floats, decision: DecisionConfig) -> dict[str, float]:
        """Share of rows by likeliest class."""
        counts = np.bincount(scores.argmax(axis=1), minlength=len(self.classes)) / len(scores)
        return {f"share_{c}": float(n) for c, n in zip(self.classes, counts, strict=True)}
