"""One day of predictions against its labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ml_platform.errors import IntegrityError
from ml_platform.monitoring.label_maturity import (
    LabelMaturity,
    Maturity,
    effective_sample,
    row_weights,
)
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import Table, as_frame, known_mask, require_unique

Bools = npt.NDArray[np.bool_]

_SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does."""


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
        mean_probability: Over all predictions.
        log_loss: Mean log loss, nats.
        log_loss_low: Lower end of its 95 % interval from sampling rows within the day.
        log_loss_high: Upper end.
        brier: Mean squared error.
        auc: Area under the ROC curve; None where only one class occurs.
        bias: Mean probability minus base rate, over known labels.
        base_rate: Share of positives.
        weighted_loss: Mean log loss of the known labels weighted by 1/F(age | class): an estimate of what the
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
    mean_probability: float
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    brier: float | None = None
    auc: float | None = None
    bias: float | None = None
    base_rate: float | None = None
    weighted_loss: float | None = None
    weighted_low: float | None = None
    weighted_high: float | None = None
    effective_share: float | None = None


def area_under_curve(positive: Bools, probability: Floats) -> float | None:
    """Area under the ROC curve by ranks, ties counted half; None where a class is missing."""
    count = int(positive.sum())
    others = positive.size - count
    if not count or not others:
        return None
    ranks = stats.rankdata(probability)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * others))


def join_labels(
    predictions: Table,
    labels: Table,
    keys: list[str],
    label: str,
    probability: str,
    as_of: datetime,
    maturity: LabelMaturity,
) -> pd.DataFrame:
    """Predictions with what is known about them: ``known``, ``positive``, ``p``, ``loss``, ``weight`` by row.

    ``positive``, ``loss`` and ``weight`` (1/F of the label's class and age) mean nothing where ``known`` is
    false.

    Raises:
        IntegrityError: A column is missing, a key occurs twice, or a probability is not in [0, 1].
        ConfigError: ``as_of`` has no offset.
    """
    scored = as_frame(predictions, (*keys, probability), "predictions")
    truth = as_frame(labels, (*keys, label, "label_known_at"), "labels")
    require_unique(scored, keys, "predictions")
    require_unique(truth, keys, "labels")
    known = known_mask(truth, label, as_of)
    weights = row_weights(truth, maturity.law, as_of, label)[known.to_numpy(dtype=bool)]
    arrived = truth.loc[known, keys].assign(
        known=True, positive=truth.loc[known, label].astype(bool), weight=weights
    )
    rows = scored[keys].assign(p=scored[probability].astype("float64")).merge(arrived, on=keys, how="left")
    if not rows["p"].between(0, 1).all():
        raise IntegrityError(
            f"{int((~rows['p'].between(0, 1)).sum())} probabilities are missing or not in [0, 1]",
            where=f"predictions, column {probability}",
            fix="score these partitions again",
        )
    rows["known"] = rows["known"].eq(True)
    rows["positive"] = rows["positive"].eq(True)
    clipped = rows["p"].clip(_SMALLEST, 1 - _SMALLEST)
    loss = -np.log(np.where(rows["positive"], clipped, 1 - clipped))
    return rows.assign(loss=loss)


def day_performance(name: str, day: pd.DataFrame, maturity: Maturity) -> DayPerformance:
    """Metrics of one partition, as far as the maturity of its labels allows for them."""
    known = day[day["known"]]
    share = len(known) / len(day)
    mean = float(day["p"].mean())
    if maturity == "weighted" and len(known):
        return _weighted(name, day, known)
    if maturity != "mature" or not len(known):
        young: Maturity = "overdue" if maturity == "mature" else maturity
        return DayPerformance(name, young, len(day), len(known), share, mean)
    positive, p = known["positive"].to_numpy(bool), known["p"].to_numpy(np.float64)
    loss = known["loss"].to_numpy(np.float64)
    half = 1.96 * float(loss.std(ddof=1)) / loss.size**0.5 if loss.size > 1 else None
    log_loss, base_rate = float(loss.mean()), float(positive.mean())
    return DayPerformance(
        partition_key=name,
        maturity="mature",
        rows=len(day),
        known=len(known),
        share_known=share,
        mean_probability=mean,
        log_loss=log_loss,
        log_loss_low=None if half is None else log_loss - half,
        log_loss_high=None if half is None else log_loss + half,
        brier=float(((p - positive) ** 2).mean()),
        auc=area_under_curve(positive, p),
        bias=float(p.mean()) - base_rate,
        base_rate=base_rate,
    )


def _weighted(name: str, day: pd.DataFrame, known: pd.DataFrame) -> DayPerformance:
    """The loss of known labels that stand in, weighted by 1/F, for those still to come."""
    loss, weight = known["loss"].to_numpy(np.float64), known["weight"].to_numpy(np.float64)
    mean = float(np.average(loss, weights=weight))
    half = 1.96 * float(np.sqrt(((weight * (loss - mean)) ** 2).sum())) / float(weight.sum())
    return DayPerformance(
        partition_key=name,
        maturity="weighted",
        rows=len(day),
        known=len(known),
        share_known=len(known) / len(day),
        mean_probability=float(day["p"].mean()),
        weighted_loss=mean,
        weighted_low=mean - half,
        weighted_high=mean + half,
        effective_share=effective_sample(weight) / len(day),
    )
