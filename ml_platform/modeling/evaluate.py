"""How a model did on days that it never saw: one evaluation, comparable with others of the same rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import roc_auc_score, roc_curve

from ml_platform.config import SliceConfig
from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.modeling.day_bounds import DayMean, mean_of_days
from ml_platform.modeling.frames import (
    Floats,
    Ints,
    Strings,
    as_table,
    binary_labels,
    log_losses,
    mean_by,
    partition_keys,
)
from ml_platform.modeling.segments import segment_codes
from ml_platform.statistics.frames import PARTITION, Table

EVALUATION_SCHEMA = 1
BINS = 10
ROC_POINTS = 201


@dataclass(frozen=True, slots=True)
class Bound:
    """A mean over days with its one-sided bounds; None where too few days say nothing."""

    value: float
    low: float | None
    high: float | None
    days: int

    @classmethod
    def of(cls, mean: DayMean, confidence: float) -> Bound:
        """The bounds at a one-sided level."""
        if not np.isfinite(mean.se):
            return cls(mean.value, None, None, mean.days)
        return cls(mean.value, mean.lower(confidence), mean.upper(confidence), mean.days)


@dataclass(frozen=True, slots=True)
class Day:
    """One partition: its rows and their mean log loss, score and label."""

    partition_key: str
    rows: int
    log_loss: float
    mean_score: float
    mean_label: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows with neighbouring scores; ``observed`` with bounds blocked by day."""

    rows: int
    mean_score: float
    observed: Bound


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows with one value of a slice column, by day and in all."""

    column: str
    value: str
    rows: int
    log_loss: float
    mean_score: float
    mean_label: float
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model on one set of rows.

    Attributes:
        rows: Rows judged.
        unscored: Rows whose score is no probability; nothing may be promoted while there are any.
        rows_digest: Hash of partitions and labels: equal for evaluations of the same rows.
        auc: Area under the ROC curve; None with one class.
        log_loss: Mean over rows, natural logarithm.
        brier: Mean squared difference of score and label.
        base_rate: Share of positives.
        mean_score: Mean score.
        bias: Mean over days of (mean score - mean label), with one-sided bounds.
        calibration_error: Expected calibration error over ten bins of equal size.
        days: Every partition, in order.
        bins: The reliability curve.
        roc: False and true positive rates along the ROC curve; empty with one class.
        segments: Every segment of every slice column.
        confidence: One-sided level of all bounds.
        schema_version: Version of this shape.
    """

    rows: int
    unscored: int
    rows_digest: str
    auc: float | None
    log_loss: float
    brier: float
    base_rate: float
    mean_score: float
    bias: Bound
    calibration_error: float
    days: tuple[Day, ...]
    bins: tuple[Bin, ...]
    roc: tuple[tuple[float, float], ...]
    segments: tuple[Segment, ...]
    confidence: float
    schema_version: int = EVALUATION_SCHEMA

    def metrics(self) -> dict[str, float]:
        """The headline numbers by name, without those that could not be computed."""
        named = {
            "auc": self.auc,
            "log_loss": self.log_loss,
            "brier": self.brier,
            "base_rate": self.base_rate,
            "mean_score": self.mean_score,
            "bias": self.bias.value,
            "calibration_error": self.calibration_error,
        }
        return {name: value for name, value in named.items() if value is not None}

    def to_json(self) -> bytes:
        """The evaluation as JSON."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_json(cls, data: bytes) -> Evaluation:
        """Read :meth:`to_json`'s bytes.

        Raises:
            IntegrityError: They are no evaluation of this schema.
        """
        try:
            evaluation = _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise _unreadable(str(error)) from error
        if evaluation.schema_version != EVALUATION_SCHEMA:
            raise _unreadable(f"its schema is {evaluation.schema_version}, not {EVALUATION_SCHEMA}")
        return evaluation


_ADAPTER = TypeAdapter(Evaluation)


def evaluate(
    table: Table,
    scores: Floats,
    *,
    label: str,
    slices: Sequence[SliceConfig] = (),
    confidence: float = 0.95,
    blocks: Strings | None = None,
) -> Evaluation:
    """Judge scores against labels.

    Args:
        table: ``partition_key``, the label column and the slices' columns.
        scores: Probability of each row (rows,).
        label: The label column.
        slices: Columns whose segments are judged apart.
        confidence: One-sided level of the bounds.
        blocks: (rows,) independent block of each row (:func:`.blocking.block_names`), which then takes the
            place of the partition in ``days``; each partition is one when None.

    Raises:
        NotReadyError: A label is null.
        ConfigError: A column is missing, there are no rows or another number of scores, or no score at
            all is a probability.
    """
    arrow = as_table(table, [PARTITION, label, *(s.column for s in slices)], "the table to evaluate on")
    labels, partitions = binary_labels(arrow, label), partition_keys(arrow)
    blocks = partitions if blocks is None else blocks
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != labels.shape:
        raise ConfigError(
            f"{labels.size} rows have {values.size} scores",
            where="evaluation",
            fix="score exactly the rows that are evaluated, in their order",
        )
    valid = (values >= 0) & (values <= 1)
    if not valid.any():
        raise ConfigError(
            f"none of {labels.size} rows has a score between 0 and 1",
            where="evaluation",
            fix="evaluate on partitions that have rows, with a model that returns probabilities",
        )
    codes = [segment_codes(arrow, s) for s in slices]
    keys, days = np.unique(blocks[valid], return_inverse=True)
    rows = _Rows(keys, days, labels[valid], values[valid])
    segments = [
        s
        for config, (names, code) in zip(slices, codes, strict=True)
        for s in rows.segments(config, names, code[valid])
    ]
    return _evaluation(rows, labels, partitions, int((~valid).sum()), segments, confidence)


@dataclass(frozen=True)
class _Rows:
    """Valid rows: partition names, the partition of each row as a code, labels and scores."""

    keys: Strings
    days: Ints
    labels: Floats
    scores: Floats

    @property
    def losses(self) -> Floats:
        return log_losses(self.labels, self.scores)

    def by_day(self) -> tuple[Day, ...]:
        zeros = np.zeros(self.days.size, dtype=np.int64)
        return self._cells(zeros, 1)[0]

    def segments(self, config: SliceConfig, names: Sequence[str], codes: Ints) -> list[Segment]:
        cells = self._cells(codes, len(names))
        return [_segment(config.column, name, days) for name, days in zip(names, cells, strict=True) if days]

    def _cells(self, codes: Ints, groups: int) -> list[tuple[Day, ...]]:
        """Days with rows, of each group."""
        width = self.keys.size
        cell, size = codes * width + self.days, groups * width
        counts = np.bincount(cell, minlength=size)
        means = [mean_by(cell, v, size) for v in (self.losses, self.scores, self.labels)]
        loss, score, label = means
        return [
            tuple(
                Day(
                    str(self.keys[i % width]),
                    int(counts[i]),
                    float(loss[i]),
                    float(score[i]),
                    float(label[i]),
                )
                for i in range(group * width, (group + 1) * width)
                if counts[i]
            )
            for group in range(groups)
        ]

    def bins(self, confidence: float) -> tuple[Bin, ...]:
        """Ten bins of equal size; rows with equal scores share one."""
        edges = np.unique(np.quantile(self.scores, np.linspace(0, 1, BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, self.scores, side="left")
        return tuple(self._bin(codes == code, confidence) for code in np.unique(codes))

    def _bin(self, inside: npt.NDArray[np.bool_], confidence: float) -> Bin:
        days, labels = self.days[inside], self.labels[inside]
        rows = np.bincount(days, minlength=self.keys.size)
        observed = mean_of_days(mean_by(days, labels, self.keys.size), rows.astype(np.float64))
        return Bin(int(inside.sum()), float(self.scores[inside].mean()), Bound.of(observed, confidence))


def _segment(column: str, value: str, days: tuple[Day, ...]) -> Segment:
    rows = sum(d.rows for d in days)
    loss, score, label = (
        float(sum(d.rows * getattr(d, name) for d in days) / rows)
        for name in ("log_loss", "mean_score", "mean_label")
    )
    return Segment(column, value, rows, loss, score, label, days)


def _evaluation(
    rows: _Rows,
    labels: Floats,
    partitions: Strings,
    unscored: int,
    segments: Sequence[Segment],
    confidence: float,
) -> Evaluation:
    days, bins = rows.by_day(), rows.bins(confidence)
    both = rows.labels.min() != rows.labels.max()
    bias = mean_of_days(np.array([d.mean_score - d.mean_label for d in days]))
    errors = sum(b.rows * abs(b.mean_score - b.observed.value) for b in bins)
    return Evaluation(
        rows=int(rows.labels.size),
        unscored=unscored,
        rows_digest=_digest(partitions, labels),
        auc=float(roc_auc_score(rows.labels, rows.scores)) if both else None,
        log_loss=float(rows.losses.mean()),
        brier=float(((rows.scores - rows.labels) ** 2).mean()),
        base_rate=float(rows.labels.mean()),
        mean_score=float(rows.scores.mean()),
        bias=Bound.of(bias, confidence),
        calibration_error=float(errors / rows.labels.size),
        days=days,
        bins=bins,
        roc=_roc(rows) if both else (),
        segments=tuple(segments),
        confidence=confidence,
    )


def _roc(rows: _Rows) -> tuple[tuple[float, float], ...]:
    false, true, _ = roc_curve(rows.labels, rows.scores)
    grid = np.linspace(0, 1, ROC_POINTS)
    return tuple((float(x), float(y)) for x, y in zip(grid, np.interp(grid, false, true), strict=True))


def _digest(partitions: Strings, labels: Floats) -> str:
    """Hash of the rows' partitions and labels, whatever the order of the rows in a partition."""
    keys, days = np.unique(partitions, return_inverse=True)
    counts = np.bincount(days, minlength=keys.size)
    positives = np.bincount(days, weights=labels, minlength=keys.size).astype(np.int64)
    text = "\n".join(f"{k} {c} {p}" for k, c, p in zip(keys, counts, positives, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def _unreadable(why: str) -> IntegrityError:
    return IntegrityError(
        f"this is no evaluation that can be read: {why}",
        where="evaluation object",
        fix="evaluate the model again",
    )
