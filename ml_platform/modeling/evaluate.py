"""How a model did on days that it never saw: one evaluation, comparable with others of the same rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import roc_curve

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.kinds.base import Kind
from ml_platform.kinds.of import kind_named
from ml_platform.kinds.ranking import area_under_curve
from ml_platform.model_config import KindName, SliceConfig
from ml_platform.modeling.day_bounds import DayMean, mean_of_days
from ml_platform.modeling.frames import (
    Floats,
    Ints,
    Strings,
    as_table,
    mean_by,
    partition_keys,
)
from ml_platform.modeling.segments import segment_codes
from ml_platform.statistics.frames import PARTITION, Table

EVALUATION_SCHEMA = 2
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
    """One partition: its rows and their means.

    Attributes:
        partition_key: The partition.
        rows: Its rows.
        loss: Mean loss.
        scores: Mean score of each channel.
        outcomes: Means of :meth:`ml_platform.kinds.base.Kind.moments`: the outcome of each channel first.
    """

    partition_key: str
    rows: int
    loss: float
    scores: tuple[float, ...]
    outcomes: tuple[float, ...]


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
    loss: float
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """One score against one outcome: the only one, or a class against the rest.

    Attributes:
        name: The class; empty for the only one.
        mean_score: Mean score.
        mean_outcome: Mean outcome.
        bias: Mean over days of (mean score - mean outcome), with one-sided bounds.
        calibration_error: Expected calibration error over ten bins of equal size, in the score's unit.
        bins: The reliability curve.
        auc: Area under the ROC curve; None with one class, and for numbers.
        roc: False and true positive rates along the ROC curve; empty likewise.
    """

    name: str
    mean_score: float
    mean_outcome: float
    bias: Bound
    calibration_error: float
    bins: tuple[Bin, ...]
    auc: float | None
    roc: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model on one set of rows.

    Attributes:
        kind_name: Kind of target.
        classes: Its classes, where it has several.
        rows: Rows judged.
        unscored: Rows whose score is none of the kind; nothing may be promoted while there are any.
        rows_digest: Hash of partitions and labels: equal for evaluations of the same rows.
        loss: Mean over rows; see :attr:`ml_platform.kinds.base.Kind.loss`.
        loss_scale: One unit of the limits of a loss.
        label_scale: One unit of the limits of a bias.
        values: Further metrics by name, those that could be computed.
        channels: Bias, reliability and ranking of each channel.
        days: Every partition, in order.
        segments: Every segment of every slice column.
        confidence: One-sided level of all bounds.
        schema_version: Version of this shape.
    """

    kind_name: KindName
    classes: tuple[str, ...]
    rows: int
    unscored: int
    rows_digest: str
    loss: float
    loss_scale: float
    label_scale: float
    values: dict[str, float]
    channels: tuple[Channel, ...]
    days: tuple[Day, ...]
    segments: tuple[Segment, ...]
    confidence: float
    schema_version: int = EVALUATION_SCHEMA

    @property
    def kind(self) -> Kind:
        """Kind of target."""
        return kind_named(self.kind_name, self.classes)

    @property
    def bias(self) -> Bound:
        """The largest bias of a channel."""
        return max((c.bias for c in self.channels), key=lambda b: abs(b.value))

    @property
    def quality(self) -> float | None:
        """The metric whose least value binds the first champion: AUC or R²."""
        return self.values.get(self.kind.quality)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, the mean over channels."""
        return float(np.mean([c.calibration_error for c in self.channels]))

    def metrics(self) -> dict[str, float]:
        """The headline numbers by name, without those that could not be computed."""
        named = {self.kind.loss: self.loss, **self.values}
        for channel in self.channels:
            end = f"_{channel.name}" if channel.name else ""
            named |= {f"mean_score{end}": channel.mean_score, f"bias{end}": channel.bias.value}
        first = {n: named[n] for n in (self.kind.quality,) if n in named}
        return first | named | {"calibration_error": self.calibration_error}

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
    kind: Kind,
    label: str,
    slices: Sequence[SliceConfig] = (),
    confidence: float = 0.95,
    blocks: Strings | None = None,
) -> Evaluation:
    """Judge scores against labels.

    Args:
        table: ``partition_key``, the label column and the slices' columns.
        scores: Score of each row (rows,), of several classes (rows, classes).
        kind: Kind of target.
        label: The label column.
        slices: Columns whose segments are judged apart.
        confidence: One-sided level of the bounds.
        blocks: (rows,) independent block of each row (:func:`.blocking.block_names`), which then takes the
            place of the partition in ``days``; each partition is one when None.

    Raises:
        NotReadyError: A label is null.
        ConfigError: A column is missing, there are no rows or another number of scores, or no score at
            all is valid.
    """
    arrow = as_table(table, [PARTITION, label, *(s.column for s in slices)], "the table to evaluate on")
    labels, partitions = kind.labels(arrow, label), partition_keys(arrow)
    blocks = partitions if blocks is None else blocks
    values = np.asarray(scores, dtype=np.float64)
    if kind.by_channel(values).shape != (labels.size, len(kind.channels)):
        raise ConfigError(
            f"{labels.size} rows have scores of shape {values.shape}",
            where="evaluation",
            fix="score exactly the rows that are evaluated, in their order",
        )
    valid = kind.valid(values)
    if not valid.any():
        raise ConfigError(
            f"none of {labels.size} rows has a valid score of a {kind.name} model"
            + (" (between 0 and 1)" if kind.bounded else ""),
            where="evaluation",
            fix="evaluate on partitions that have rows, with a model of this kind",
        )
    codes = [segment_codes(arrow, s) for s in slices]
    keys, days = np.unique(blocks[valid], return_inverse=True)
    rows = _Rows(kind, keys, days, labels[valid], values[valid])
    segments = [
        s
        for config, (names, code) in zip(slices, codes, strict=True)
        for s in rows.segments(config, names, code[valid])
    ]
    return _evaluation(rows, labels, partitions, int((~valid).sum()), segments, confidence)


@dataclass(frozen=True)
class _Rows:
    """Valid rows: partition names, the partition of each row as a code, labels and scores."""

    kind: Kind
    keys: Strings
    days: Ints
    labels: Floats
    scores: Floats

    @cached_property
    def losses(self) -> Floats:
        return self.kind.losses(self.labels, self.scores)

    @cached_property
    def by_channel(self) -> Floats:
        return self.kind.by_channel(self.scores)

    @cached_property
    def moments(self) -> Floats:
        return self.kind.moments(self.labels)

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
        loss = mean_by(cell, self.losses, size)
        scores, outcomes = (
            np.column_stack([mean_by(cell, column, size) for column in values.T])
            for values in (self.by_channel, self.moments)
        )
        return [
            tuple(
                Day(
                    str(self.keys[i % width]),
                    int(counts[i]),
                    float(loss[i]),
                    tuple(map(float, scores[i])),
                    tuple(map(float, outcomes[i])),
                )
                for i in range(group * width, (group + 1) * width)
                if counts[i]
            )
            for group in range(groups)
        ]

    def channel(self, index: int, days: Sequence[Day], confidence: float) -> Channel:
        scores, outcomes = self.by_channel[:, index], self.moments[:, index]
        bias = mean_of_days(np.array([d.scores[index] - d.outcomes[index] for d in days]))
        bins = self._bins(scores, outcomes, confidence)
        errors = sum(b.rows * abs(b.mean_score - b.observed.value) for b in bins)
        ranked = self.kind.bounded and outcomes.min() != outcomes.max()
        return Channel(
            name=self.kind.channels[index],
            mean_score=float(scores.mean()),
            mean_outcome=float(outcomes.mean()),
            bias=Bound.of(bias, confidence),
            calibration_error=float(errors / scores.size),
            bins=bins,
            auc=area_under_curve(outcomes == 1, scores) if ranked else None,
            roc=_roc(outcomes, scores) if ranked else (),
        )

    def _bins(self, scores: Floats, outcomes: Floats, confidence: float) -> tuple[Bin, ...]:
        """Ten bins of equal size; rows with equal scores share one."""
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, scores, side="left")
        return tuple(self._bin(codes == code, scores, outcomes, confidence) for code in np.unique(codes))

    def _bin(self, inside: npt.NDArray[np.bool_], scores: Floats, outcomes: Floats, confidence: float) -> Bin:
        days = self.days[inside]
        rows = np.bincount(days, minlength=self.keys.size)
        daily = mean_by(days, outcomes[inside], self.keys.size)
        observed = mean_of_days(daily, rows.astype(np.float64))
        return Bin(int(inside.sum()), float(scores[inside].mean()), Bound.of(observed, confidence))


def _segment(column: str, value: str, days: tuple[Day, ...]) -> Segment:
    rows = sum(d.rows for d in days)
    return Segment(column, value, rows, float(sum(d.rows * d.loss for d in days) / rows), days)


def _evaluation(
    rows: _Rows,
    labels: Floats,
    partitions: Strings,
    unscored: int,
    segments: Sequence[Segment],
    confidence: float,
) -> Evaluation:
    kind, days = rows.kind, rows.by_day()
    pooled = kind.pooled(rows.labels, rows.scores)
    means = {name: float(v.mean()) for name, v in kind.terms(rows.labels, rows.scores).items()}
    return Evaluation(
        kind_name=kind.name,
        classes=kind.classes,
        rows=int(rows.labels.size),
        unscored=unscored,
        rows_digest=_digest(partitions, labels),
        loss=float(rows.losses.mean()),
        loss_scale=kind.loss_scale(rows.labels),
        label_scale=kind.label_scale(rows.labels),
        values={name: value for name, value in pooled.items() if value is not None} | means,
        channels=tuple(rows.channel(i, days, confidence) for i in range(len(kind.channels))),
        days=days,
        segments=tuple(segments),
        confidence=confidence,
    )


def _roc(outcomes: Floats, scores: Floats) -> tuple[tuple[float, float], ...]:
    false, true, _ = roc_curve(outcomes, scores)
    grid = np.linspace(0, 1, ROC_POINTS)
    return tuple((float(x), float(y)) for x, y in zip(grid, np.interp(grid, false, true), strict=True))


def _digest(partitions: Strings, labels: Floats) -> str:
    """Hash of the rows' partitions and labels, whatever the order of the rows in a partition."""
    keys, days = np.unique(partitions, return_inverse=True)
    order = np.lexsort((labels, days))
    counts = " ".join(f"{k} {c}" for k, c in zip(keys, np.bincount(days), strict=True))
    return hashlib.sha256(counts.encode() + labels[order].tobytes()).hexdigest()


def _unreadable(why: str) -> IntegrityError:
    return IntegrityError(
        f"this is no evaluation that can be read: {why}",
        where="evaluation object",
        fix="evaluate the model again",
    )
