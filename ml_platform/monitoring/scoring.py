"""One day of predictions against its labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ml_platform.errors import IntegrityError
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
        maturity: ``mature`` is judged. ``immature`` is not old enough. ``overdue`` is old enough,
            but too few labels are known. The metrics of the last two are None.
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
    """

    partition_key: str
    maturity: Literal["mature", "immature", "overdue"]
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
) -> pd.DataFrame:
    """Predictions with what is known about them: ``known``, ``positive``, ``p`` and ``loss`` by row.

    ``positive`` and ``loss`` mean nothing where ``known`` is false.

    Raises:
        IntegrityError: A column is missing, a key occurs twice, or a probability is not in [0, 1].
        ConfigError: ``as_of`` has no offset.
    """
    scored = as_frame(predictions, (*keys, probability), "predictions")
    truth = as_frame(labels, (*keys, label, "label_known_at"), "labels")
    require_unique(scored, keys, "predictions")
    require_unique(truth, keys, "labels")
    known = known_mask(truth, label, as_of)
    arrived = truth.loc[known, keys].assign(known=True, positive=truth.loc[known, label].astype(bool))
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


def day_performance(name: str, day: pd.DataFrame, aged: bool, minimum_share: float) -> DayPerformance:
    """Metrics of one partition; none unless it is aged and enough of its labels are known."""
    known = day[day["known"]]
    share = len(known) / len(day)
    mean = float(day["p"].mean())
    if not aged or share < minimum_share:
        late: Literal["overdue", "immature"] = "overdue" if aged else "immature"
        return DayPerformance(name, late, len(day), len(known), share, mean)
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
