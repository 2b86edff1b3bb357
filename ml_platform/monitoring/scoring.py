"""One day of predictions against its labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from ml_platform.errors import IntegrityError
from ml_platform.kinds.base import Kind
from ml_platform.monitoring.label_maturity import (
    LabelMaturity,
    Maturity,
    effective_sample,
    row_weights,
)
from ml_platform.statistics.frames import Table, as_frame, known_mask, require_unique

LABEL, LOSS, KNOWN, WEIGHT = "(label)", "(loss)", "(known)", "(weight)"
"""Columns of joined rows that no feature is called."""


@dataclass(frozen=True)
class DayPerformance:
    """One partition's predictions against its labels.

    Attributes:
        partition_key: The partition.
        maturity: ``mature`` is judged. ``weighted`` is young, and has a weighted loss, which is shown beside
            the judged ones. ``immature`` is too young. ``overdue`` is aged, and labels are missing. The
            metrics of all but the first are None.
        rows: Predictions.
        known: Predictions with a known label.
        share_known: ``known / rows``.
        mean_score: Of each channel, over all predictions.
        loss: Mean loss; see :attr:`ml_platform.kinds.base.Kind.loss`.
        loss_low: Lower end of its 95 % interval from sampling rows within the day.
        loss_high: Upper end.
        metrics: Bias of each channel (mean score minus mean outcome) and the kind's further metrics by
            name; None where the day's rows do not allow one.
        weighted_loss: Mean loss of the known labels weighted by 1/F(age | class): an estimate of what the
            whole partition's will be. None unless the partition is ``weighted``.
        weighted_low: Lower end of its 95 % interval from sampling rows within the day.
        weighted_high: Upper end.
        effective_share: Effective sample of the weighted labels as a share of all predictions.
    """

    partition_key: str
    maturity: Maturity
    rows: int
    known: int
    share_known: float
    mean_score: tuple[float, ...]
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    weighted_loss: float | None = None
    weighted_low: float | None = None
    weighted_high: float | None = None
    effective_share: float | None = None


def bias_names(kind: Kind) -> list[str]:
    """Names of the bias of each channel."""
    return [f"bias_{c}" if c else "bias" for c in kind.channels]


def join_labels(
    predictions: Table,
    labels: Table,
    keys: list[str],
    label: str,
    kind: Kind,
    as_of: datetime,
    maturity: LabelMaturity,
) -> pd.DataFrame:
    """Predictions with what is known about them: ``(known)``, ``(label)``, ``(loss)``, ``(weight)`` by row.

    The label's code, the loss and the weight (1/F of the label's class and age) mean nothing where
    ``(known)`` is false.

    Raises:
        IntegrityError: A column is missing, a key occurs twice, or a score is none of the kind.
        ConfigError: ``as_of`` has no offset, or a label is none of the kind.
    """
    names = kind.names()
    scored = as_frame(predictions, (*keys, *names), "predictions")
    truth = as_frame(labels, (*keys, label, "label_known_at"), "labels")
    require_unique(scored, keys, "predictions")
    require_unique(truth, keys, "labels")
    known = known_mask(truth, label, as_of)
    codes = kind.encode(pa.chunked_array([pa.array(truth[label], from_pandas=True)]), label)
    weights = row_weights(truth.assign(**{label: codes}), maturity.law, as_of, label)
    arrived = truth[keys].assign(**{LABEL: codes, WEIGHT: weights})[known].assign(**{KNOWN: True})
    rows = scored[[*keys, *names]].merge(arrived, on=keys, how="left")
    scores = kind.scores(rows)
    valid = kind.valid(scores)
    if not valid.all():
        what = (
            "probabilities are missing or not in [0, 1]" if kind.bounded else "scores are missing or infinite"
        )
        raise IntegrityError(
            f"{int((~valid).sum())} {what}",
            where=f"predictions, column {', '.join(names)}",
            fix="score these partitions again",
        )
    rows[KNOWN] = rows[KNOWN].eq(True)
    codes = rows[LABEL].fillna(0.0).to_numpy(np.float64)
    return rows.assign(**{LABEL: codes, LOSS: kind.losses(codes, scores)})


def day_performance(name: str, day: pd.DataFrame, kind: Kind, maturity: Maturity) -> DayPerformance:
    """Metrics of one partition, as far as the maturity of its labels allows for them."""
    known = day[day[KNOWN]]
    share = len(known) / len(day)
    mean = _mean_score(day, kind)
    if maturity == "weighted" and len(known):
        return _weighted(name, day, known, kind)
    if maturity != "mature" or not len(known):
        young: Maturity = "overdue" if maturity == "mature" else maturity
        return DayPerformance(name, young, len(day), len(known), share, mean)
    labels, scores = known[LABEL].to_numpy(np.float64), kind.scores(known)
    losses = known[LOSS].to_numpy(np.float64)
    half = 1.96 * float(losses.std(ddof=1)) / losses.size**0.5 if losses.size > 1 else None
    loss = float(losses.mean())
    gaps = kind.by_channel(scores).mean(axis=0) - kind.outcomes(labels).mean(axis=0)
    metrics: dict[str, float | None] = dict(zip(bias_names(kind), map(float, gaps), strict=True))
    metrics |= {n: float(v.mean()) for n, v in kind.terms(labels, scores).items()}
    return DayPerformance(
        partition_key=name,
        maturity="mature",
        rows=len(day),
        known=len(known),
        share_known=share,
        mean_score=mean,
        loss=loss,
        loss_low=None if half is None else loss - half,
        loss_high=None if half is None else loss + half,
        metrics=metrics | kind.pooled(labels, scores),
    )


def _mean_score(day: pd.DataFrame, kind: Kind) -> tuple[float, ...]:
    return tuple(float(v) for v in kind.by_channel(kind.scores(day)).mean(axis=0))


def _weighted(name: str, day: pd.DataFrame, known: pd.DataFrame, kind: Kind) -> DayPerformance:
    """The loss of known labels that stand in, weighted by 1/F, for those still to come."""
    loss, weight = known[LOSS].to_numpy(np.float64), known[WEIGHT].to_numpy(np.float64)
    mean = float(np.average(loss, weights=weight))
    half = 1.96 * float(np.sqrt(((weight * (loss - mean)) ** 2).sum())) / float(weight.sum())
    return DayPerformance(
        partition_key=name,
        maturity="weighted",
        rows=len(day),
        known=len(known),
        share_known=len(known) / len(day),
        mean_score=_mean_score(day, kind),
        weighted_loss=mean,
        weighted_low=mean - half,
        weighted_high=mean + half,
        effective_share=effective_sample(weight) / len(day),
    )
