"""Live performance: realised loss, bias and discrimination on matured partitions only.

Younger partitions may have a loss weighted by the law of label arrival; it is shown beside, never mixed in.

Totals are means of daily values: the day is the sample, so a busy day weighs no more than a quiet
one, and intervals and detectable effects allow for days that resemble their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy import stats

from ml_platform.kinds.base import Kind
from ml_platform.model_config import MonitoringConfig
from ml_platform.monitoring.label_maturity import LabelMaturity
from ml_platform.monitoring.scoring import (
    KNOWN,
    LABEL,
    DayPerformance,
    bias_names,
    day_performance,
    join_labels,
)
from ml_platform.statistics.blocks import Alternative, Estimate, Floats, change_of_days, judge, mean_of_days
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite, require_unique
from ml_platform.statistics.states import State, worst


@dataclass(frozen=True)
class Metric:
    """A metric over all matured partitions (``weighted_…`` loss: over the weighted ones).

    Attributes:
        name: What is measured.
        value: Mean over days (AUC, R² and the like: pooled over rows).
        low: Lower end of the day-blocked 95 % interval (of pooled metrics: jackknife over days).
        high: Upper end.
        reference: What it is compared with; None where nothing is.
        change: ``value - reference``.
        floor: Least change that counts.
        minimal_detectable_effect: Smallest change that these days find with a power of 80 %; for
            metrics that are not judged, smallest difference from a known constant.
        p_value: Day-blocked; None where the metric is not judged.
        days: Days with a value.
        lag1: Lag-1 autocorrelation that the interval allows for.
        state: None where the metric is shown, not judged.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    change: float | None
    floor: float | None
    minimal_detectable_effect: float | None
    p_value: float | None
    days: int
    lag1: float
    state: State | None


@dataclass(frozen=True)
class ReferenceBand:
    """Daily losses of the reference.

    Attributes:
        days: Number of days.
        mean: Their mean.
        low: Lower end of the 95 % prediction interval of one more day.
        high: Upper end.
    """

    days: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PerformanceReport:
    """Live performance at ``as_of``.

    Attributes:
        as_of: Instant of the report, ISO 8601.
        state: Worst state of the judged metrics; UNKNOWN without a matured partition.
        days: Every partition with predictions, in the order of time.
        metrics: Totals over matured partitions.
        reference: Daily losses compared with; None where there are none.
        rows: Rows judged.
        loss: Name of the loss.
        biases: Name of the bias of each channel.
    """

    as_of: str
    state: State
    days: tuple[DayPerformance, ...]
    metrics: tuple[Metric, ...]
    reference: ReferenceBand | None
    rows: int
    loss: str
    biases: tuple[str, ...]

    @property
    def mature(self) -> list[str]:
        """Partitions that were judged."""
        return [d.partition_key for d in self.days if d.maturity == "mature"]

    @property
    def immature(self) -> list[str]:
        """Partitions that were not judged; some of them have a weighted loss."""
        return [d.partition_key for d in self.days if d.maturity != "mature"]

    @property
    def weighted(self) -> list[str]:
        """Young partitions with a weighted loss."""
        return [d.partition_key for d in self.days if d.weighted_loss is not None]

    def metric(self, name: str) -> Metric:
        """The total with this name."""
        return next(m for m in self.metrics if m.name == name)


def live_performance(
    predictions: Table,
    labels: Table,
    *,
    key: Sequence[str],
    maturity: LabelMaturity,
    as_of: datetime,
    reference: Table | None,
    settings: MonitoringConfig,
    kind: Kind,
    label: str = "label",
    maximum_bias: float = 0.05,
) -> PerformanceReport:
    """Predictions against labels, on matured partitions only.

    The loss is tested one-sided against the reference days, the bias two-sided against zero, both
    at ``settings.drift_p_value`` over all matured days given. A test looked at every day alarms
    more often than once: choose the days, and let a sequential test decide on a retraining.

    Args:
        predictions: One row per entity: ``partition_key``, key columns, the kind's score columns.
        labels: ``partition_key``, key columns, ``event_time``, label (or null), ``label_known_at``.
            What is known after ``as_of`` counts as unknown.
        key: Columns that identify an entity in a partition.
        maturity: Which partitions may be judged, and the law for the weights of younger ones; a partition
            that it does not know is immature.
        as_of: Instant with an offset.
        reference: Out-of-sample daily losses: ``partition_key`` and a column with the loss's name. None:
            UNKNOWN.
        settings: ``loss_effect`` (share of the reference loss) and ``drift_p_value``.
        kind: Kind of target.
        label: Column of the label.
        maximum_bias: Least absolute bias that alarms; of a regression in standard deviations of the label.

    Raises:
        IntegrityError: A column is missing, a key occurs twice, or a score is none of the kind.
        ConfigError: ``as_of`` has no offset, or a label is none of the kind.
    """
    keys = [PARTITION, *key]
    rows = join_labels(predictions, labels, keys, label, kind, as_of, maturity)
    by_key = {c.partition_key: c.maturity for c in maturity.cohorts}
    days = tuple(
        day_performance(str(name), day, kind, by_key.get(str(name), "immature"))
        for name, day in rows.groupby(PARTITION, sort=True)
    )
    judged = [d for d in days if d.maturity == "mature"]
    pooled = rows[rows[KNOWN] & rows[PARTITION].isin([d.partition_key for d in judged])]
    losses = _reference(reference, kind.loss)
    codes, scores = pooled[LABEL].to_numpy(np.float64), kind.scores(pooled)
    floor = maximum_bias * (kind.label_scale(codes) if codes.size else 1.0)
    biases = bias_names(kind)
    # Several classes are several chances of a false alarm.
    shared = settings.model_copy(update={"drift_p_value": settings.drift_p_value / len(biases)})
    metrics = (
        _loss(judged, losses, kind, settings),
        *(_bias(judged, name, shared, floor) for name in biases),
        *(_shown(n, mean_of_days(_values(judged, n)), settings) for n in kind.terms(codes, scores)),
        *_pooled(pooled, kind, settings),
        _shown(f"weighted_{kind.loss}", mean_of_days(_weighted(days)), settings),
    )
    return PerformanceReport(
        as_of=as_of.isoformat(),
        state=worst(m.state for m in metrics if m.state),
        days=days,
        metrics=metrics,
        reference=_band(losses),
        rows=len(pooled),
        loss=kind.loss,
        biases=tuple(biases),
    )


def _values(days: Sequence[DayPerformance], name: str) -> Floats:
    return np.array([d.metrics[name] for d in days], dtype=np.float64)


def _weighted(days: Sequence[DayPerformance]) -> Floats:
    return np.array([d.weighted_loss for d in days if d.weighted_loss is not None], dtype=np.float64)


def _reference(reference: Table | None, loss: str) -> Floats:
    if reference is None:
        return np.array([], dtype=np.float64)
    frame = as_frame(reference, (PARTITION, loss), "reference losses")
    require_unique(frame, [PARTITION], "reference losses")
    return frame.sort_values(PARTITION)[loss].to_numpy(np.float64)


def _band(losses: Floats) -> ReferenceBand | None:
    if not losses.size:
        return None
    mean = float(losses.mean())
    if losses.size < 2:
        return ReferenceBand(1, mean, None, None)
    spread = float(losses.std(ddof=1)) * (1 + 1 / losses.size) ** 0.5
    half = float(stats.t.ppf(0.975, losses.size - 1)) * spread
    return ReferenceBand(losses.size, mean, mean - half, mean + half)


def _loss(days: Sequence[DayPerformance], losses: Floats, kind: Kind, settings: MonitoringConfig) -> Metric:
    """The rise of the loss over the reference, one-sided."""
    values = np.array([d.loss for d in days], dtype=np.float64)
    level = float(losses.mean()) if losses.size else None
    floor = settings.loss_effect * level if level is not None else None
    change = change_of_days(losses, values)
    return _judged(kind.loss, mean_of_days(values), change, level, floor, settings, "greater")


def _bias(days: Sequence[DayPerformance], name: str, settings: MonitoringConfig, floor: float) -> Metric:
    """The bias of a channel against zero, two-sided."""
    mean = mean_of_days(_values(days, name))
    return _judged(name, mean, mean, 0.0, floor, settings, "two-sided")


def _judged(
    name: str,
    mean: Estimate,
    change: Estimate,
    reference: float | None,
    floor: float | None,
    settings: MonitoringConfig,
    alternative: Alternative,
) -> Metric:
    p_value = change.p_value(alternative)
    detectable = change.minimal_detectable_effect(settings.drift_p_value, alternative)
    effect = change.value if alternative == "greater" else abs(change.value)
    state: State = "UNKNOWN"
    if floor is not None:
        state = judge(
            change,
            significant=p_value <= settings.drift_p_value,
            floor=floor,
            effect=effect,
            detectable=detectable,
        )
    return _metric(name, mean, change, reference, floor, detectable, p_value, state)


def _shown(name: str, mean: Estimate, settings: MonitoringConfig) -> Metric:
    detectable = mean.minimal_detectable_effect(settings.drift_p_value)
    return _metric(name, mean, None, None, None, detectable, None, None)


def _metric(
    name: str,
    mean: Estimate,
    change: Estimate | None,
    reference: float | None,
    floor: float | None,
    detectable: float,
    p_value: float | None,
    state: State | None,
) -> Metric:
    low, high = mean.interval()
    return Metric(
        name=name,
        value=finite(mean.value),
        low=finite(low),
        high=finite(high),
        reference=reference,
        change=finite(change.value) if change else None,
        floor=floor,
        minimal_detectable_effect=finite(detectable),
        p_value=None if state == "UNKNOWN" else p_value,
        days=mean.blocks,
        lag1=mean.lag1,
        state=state,
    )


def _pooled(rows: pd.DataFrame, kind: Kind, settings: MonitoringConfig) -> list[Metric]:
    """Metrics over all rows; their error from pseudo-values, leaving out one day at a time."""
    labels, scores = rows[LABEL].to_numpy(np.float64), kind.scores(rows)
    day, names = pd.factorize(rows[PARTITION], sort=True)
    left = [kind.pooled(labels[day != d], scores[day != d]) for d in range(len(names))]
    found = []
    for name, total in kind.pooled(labels, scores).items():
        if total is None:
            found.append(_shown(name, mean_of_days([]), settings))
            continue
        without = [total if v[name] is None else v[name] for v in left]
        pseudo = [len(names) * total - (len(names) - 1) * float(v or 0.0) for v in without]
        spread = mean_of_days(pseudo)
        around = Estimate(total, spread.se, spread.df, spread.blocks, spread.lag1)
        found.append(_shown(name, around, settings))
    return found
