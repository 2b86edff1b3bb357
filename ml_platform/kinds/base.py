"""What every stage asks of a kind of target, so that no stage has to know which kind it is.

Labels are *codes* (rows,): 0 or 1, the number itself, or the position of a class. Scores are (rows,) where
a model says one number and (rows, classes) where it says a probability for each class. A *channel* is one
score column against one outcome: a kind has one, or one for each class (one against the rest), and whatever
holds for a channel (bias, reliability, slope, contrast) is computed by the same code for all kinds.

Limits of a loss are in units of :meth:`Kind.loss_scale`, limits of a bias in units of
:meth:`Kind.label_scale`: 1 for classes (nats, shares), the label's variance and standard deviation for a
number. So one default serves a delay in minutes and an amount in pounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.model_config import DecisionConfig, KindName

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
LossName: TypeAlias = Literal["log_loss", "squared_error"]
SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does."""


@dataclass(frozen=True)
class Kind(ABC):
    """One kind of target.

    Attributes:
        classes: Names of the classes, in the order of their codes; empty unless there are several.
    """

    classes: tuple[str, ...] = ()

    name: ClassVar[KindName]
    loss: ClassVar[LossName]
    column: ClassVar[str]
    """Stem of the served score columns."""
    bounded: ClassVar[bool] = True
    """Whether a channel's score is the probability of an outcome of 0 or 1."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Name of each channel; a single one has no name."""
        return self.classes or ("",)

    @property
    def loss_words(self) -> str:
        """The loss, for people."""
        return self.loss.replace("_", " ")

    # --- labels ---------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, column: pa.ChunkedArray, name: str) -> Floats:
        """Codes of a label column (rows,), NaN where it is null.

        Raises:
            ConfigError: It holds something that is no label of this kind; ``name`` is the column's.
        """

    def labels(self, table: pa.Table, column: str) -> Floats:
        """Codes of the labels of all rows (rows,).

        Raises:
            NotReadyError: A label is null: it is not known yet.
            ConfigError: The column holds something that is no label of this kind.
        """
        labels = table[column]
        if labels.null_count:
            unknown = table.filter(pc.is_null(labels))
            first = pc.min(unknown["partition_key"]).as_py() if "partition_key" in table.column_names else "?"
            raise NotReadyError(
                f"{labels.null_count} of {table.num_rows} labels are null, the first in partition {first}",
                where=f"column {column}",
                fix="use partitions whose labels are mature, or leave rows without a label out",
            )
        return self.encode(labels, column)

    def encoded(self, table: pa.Table, column: str) -> pa.Table:
        """The table with codes (float64, null while unknown) in place of the labels."""
        codes = pa.array(self.encode(table[column], column), from_pandas=True)
        return table.set_column(table.column_names.index(column), column, codes)

    @abstractmethod
    def lacking(self, labels: Floats) -> str:
        """Why nothing can be learnt from these codes; empty where something can."""

    @abstractmethod
    def counts(self, labels: Floats) -> dict[str, int]:
        """Rows of each class by a name for people; empty where there are no classes."""

    @property
    @abstractmethod
    def paces(self) -> tuple[str, ...]:
        """Names of the codes whose labels may arrive at a pace of their own; a single one of a number."""

    def constant(self, labels: Floats) -> tuple[float, ...]:
        """The best constant score of each channel: the mean outcome."""
        return tuple(float(v) for v in self.outcomes(labels).mean(axis=0))

    def summary(self, labels: Floats) -> dict[str, float]:
        """The same by a name for people."""
        return dict(zip(self.channels, self.constant(labels), strict=True))

    def outcomes(self, labels: Floats) -> Floats:
        """Outcome of each channel (rows, channels)."""
        return labels[:, None]

    def moments(self, labels: Floats) -> Floats:
        """Numbers (rows, …) from whose means the loss of a constant score follows; outcomes come first."""
        return self.outcomes(labels)

    # --- scores ---------------------------------------------------------------------------------

    def names(self, stem: str | None = None) -> list[str]:
        """Columns that hold scores, of a stem other than :attr:`column` if given."""
        stem = self.column if stem is None else stem
        return [f"{stem}_{c}" if c else stem for c in self.channels]

    def by_channel(self, scores: Floats) -> Floats:
        """Scores as (rows, channels)."""
        return scores[:, None] if scores.ndim == 1 else scores

    def columns(self, scores: Floats, stem: str | None = None) -> dict[str, Floats]:
        """Scores as columns; :meth:`scores` reads them."""
        by_channel = self.by_channel(scores)
        return {n: np.ascontiguousarray(by_channel[:, i]) for i, n in enumerate(self.names(stem))}

    def scores(self, table: Any, stem: str | None = None) -> Floats:
        """Scores in the columns of an Arrow table or data frame."""
        found = [np.asarray(table[n], dtype=np.float64) for n in self.names(stem)]
        return np.column_stack(found) if self.classes else found[0]

    @abstractmethod
    def valid(self, scores: Floats) -> Bools:
        """Rows whose score is one of this kind (rows,)."""

    @abstractmethod
    def losses(self, labels: Floats, scores: Floats) -> Floats:
        """Loss of each row (rows,)."""

    @abstractmethod
    def terms(self, labels: Floats, scores: Floats) -> dict[str, Floats]:
        """Further metrics that are means over rows: by name the value of each row (rows,)."""

    @abstractmethod
    def pooled(self, labels: Floats, scores: Floats) -> dict[str, float | None]:
        """Metrics that are no means over rows; None where the rows do not allow one."""

    @property
    @abstractmethod
    def quality(self) -> str:
        """The pooled metric whose least value binds the first champion."""

    @abstractmethod
    def constant_losses(self, moments: Floats, constant: Sequence[float]) -> Floats:
        """Mean loss of always saying one score (groups,).

        Args:
            moments: Means of :meth:`moments` over each group of rows (groups, …).
            constant: What is said, one number for each channel.
        """

    def loss_scale(self, labels: Floats) -> float:
        """One unit of the limits of a loss."""
        return 1.0

    def label_scale(self, labels: Floats) -> float:
        """One unit of the limits of a bias."""
        return 1.0

    # --- decisions ------------------------------------------------------------------------------

    @abstractmethod
    def served(self) -> tuple[tuple[str, pa.DataType, bool], ...]:
        """Columns of a prediction beside the decision: name, type, whether null is allowed."""

    @abstractmethod
    def serve(self, scores: Floats, interval: tuple[Floats, Floats] | None) -> dict[str, pa.Array]:
        """The values of these columns; ``interval`` is where the outcome probably lies, if that is known."""

    @abstractmethod
    def decide(self, scores: Floats, decision: DecisionConfig) -> list[str]:
        """The decision of each row in words."""

    @abstractmethod
    def facts(self, row: Mapping[str, Any], decision: DecisionConfig) -> dict[str, Any]:
        """What a reader of one prediction is told beside the words: fields of the record.

        Args:
            row: Values of the served columns.
            decision: How scores become words.
        """

    @abstractmethod
    def selected(self, scores: Floats, decision: DecisionConfig) -> dict[str, float]:
        """Shares of rows by decision, or the mean score: what a partition's scoring is summed up by."""


def numbers(column: pa.ChunkedArray, name: str, wanted: str, fix: str) -> Floats:
    """A numeric or boolean column as floats, NaN where null.

    Raises:
        ConfigError: It has another type.
    """
    kind = column.type
    numeric = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )
    if not numeric:
        raise ConfigError(f"a label is not {wanted} (type {kind})", where=f"column {name}", fix=fix)
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return values
