"""Label arrival: how many labels are known at which age, and which partitions may be judged.

The expected curve comes from mature cohorts only. In younger ones the slow labels are missing, so
a curve fitted on them would call labels fast that are merely the first to come (right truncation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd

from ml_platform.statistics.blocks import Estimate, Floats, adjust, judge, lone_level
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite, known_mask
from ml_platform.statistics.states import State, worst

Maturity = Literal["mature", "immature", "overdue"]
HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Cohort:
    """The labels of one partition at ``as_of``.

    Attributes:
        partition_key: The partition.
        maturity: ``mature`` is old enough and complete; ``immature`` is too young to be judged;
            ``overdue`` is old enough, but labels are missing.
        age_hours: From its last event to ``as_of``.
        rows: Entities.
        known: Labels known.
        share_known: ``known / rows``.
        positives: Known positives.
        negatives: Known negatives.
        expected_share: Share that mature cohorts knew at the same ages; None without such cohorts.
        shortfall: ``expected_share - share_known``.
        p_value: Of a shortfall this large, from the spread over mature cohorts; one-sided, after
            Benjamini-Yekutieli over the cohorts compared.
        state: ``FAIL`` when labels come later than they used to.
        by_age: ``(age in hours, share of rows known at that age)``, up to the cohort's own age.
    """

    partition_key: str
    maturity: Maturity
    age_hours: float
    rows: int
    known: int
    share_known: float
    positives: int
    negatives: int
    expected_share: float | None
    shortfall: float | None
    p_value: float | None
    state: State
    by_age: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ArrivalCurve:
    """Share of a class that is known by age, over mature cohorts.

    Attributes:
        group: ``all``, ``positive`` or ``negative``. A label that never came counts in ``all``
            only, since its class is unknown.
        rows: Rows it is estimated from.
        ages_hours: Ages.
        share: Share known at each age.
        horizon_hours: Least age at which the required share is known; None when it never is.
    """

    group: Literal["all", "positive", "negative"]
    rows: int
    ages_hours: tuple[float, ...]
    share: tuple[float, ...]
    horizon_hours: float | None


@dataclass(frozen=True)
class ArrivalReport:
    """How labels arrive.

    Attributes:
        as_of: Instant of the report, ISO 8601.
        state: Do labels arrive as fast as they used to?
        last_mature: Last partition that may be judged; None when there is none.
        cohorts: One per partition, in the order of time.
        curves: Expected curves over mature cohorts: all, positive, negative.
    """

    as_of: str
    state: State
    last_mature: str | None
    cohorts: tuple[Cohort, ...]
    curves: tuple[ArrivalCurve, ...]

    @property
    def mature(self) -> list[str]:
        """Partitions that may be judged."""
        return [c.partition_key for c in self.cohorts if c.maturity == "mature"]

    @property
    def immature(self) -> list[str]:
        """Partitions that may not be judged: too young, or labels are overdue."""
        return [c.partition_key for c in self.cohorts if c.maturity != "mature"]

    @property
    def share_known(self) -> dict[str, float]:
        """Share of labels known, by partition."""
        return {c.partition_key: c.share_known for c in self.cohorts}


def label_arrival(
    labels: Table,
    as_of: datetime,
    *,
    last_aged: str,
    label: str = "label",
    minimum_share: float = 0.95,
    ages: Sequence[float] | None = None,
    p_value: float = 0.01,
    floor: float = 0.05,
) -> ArrivalReport:
    """How many labels are known at ``as_of``, by age and class, and which partitions are mature.

    Args:
        labels: One row per entity: ``partition_key``, ``event_time``, the label (0/1, null while
            unknown), ``label_known_at``. What is known after ``as_of`` counts as unknown.
        as_of: Instant with an offset.
        last_aged: Last partition whose labels should all be known by now
            (``UseCase.last_mature``); later ones are immature however many labels they have.
        label: Column of the label.
        minimum_share: Least share of labels known in a mature partition.
        ages: Ages in hours at which curves are given; 25 even steps up to the slowest known label
            when empty.
        p_value: Level at which a cohort counts as late.
        floor: Least shortfall that counts as late.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    frame = as_frame(labels, (PARTITION, "event_time", label, "label_known_at"), "labels")
    rows = _rows(frame, label, as_of)
    mature = _mature_keys(rows, last_aged, minimum_share)
    aged = rows[rows[PARTITION].isin(mature)]
    grid = np.asarray(ages, dtype=np.float64) if ages is not None else _grid(aged, rows)
    cohorts = [
        _cohort(str(key), cohort, grid, "mature" if key in mature else _young(str(key), last_aged))
        for key, cohort in rows.groupby(PARTITION, sort=True)
    ]
    cohorts = _compare(cohorts, rows, aged, p_value, floor)
    return ArrivalReport(
        as_of=as_of.isoformat(),
        state=worst(c.state for c in cohorts),
        last_mature=max(mature, default=None),
        cohorts=tuple(cohorts),
        curves=_curves(aged, grid, minimum_share),
    )


def _rows(frame: pd.DataFrame, label: str, as_of: datetime) -> pd.DataFrame:
    """Per row: partition, age now and delay of the label in hours (infinite while unknown), class."""
    known = known_mask(frame, label, as_of)
    event = pd.to_datetime(frame["event_time"], utc=True)
    delay = (pd.to_datetime(frame["label_known_at"], utc=True) - event) / HOUR
    return pd.DataFrame(
        {
            PARTITION: frame[PARTITION].astype(str),
            "age": (pd.Timestamp(as_of) - event) / HOUR,
            "delay": delay.where(known, math.inf),
            "positive": (known & frame[label].eq(1).fillna(False)).astype(bool),
        }
    )


def _mature_keys(rows: pd.DataFrame, last_aged: str, minimum_share: float) -> set[str]:
    share = np.isfinite(rows["delay"]).groupby(rows[PARTITION]).mean()
    return {str(k) for k, s in share.items() if str(k) <= last_aged and s >= minimum_share}


def _young(key: str, last_aged: str) -> Maturity:
    return "overdue" if key <= last_aged else "immature"


def _grid(aged: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    delays = (aged if len(aged) else rows)["delay"]
    slowest = delays[np.isfinite(delays)].max() if np.isfinite(delays).any() else 24.0
    return np.linspace(0, math.ceil(max(slowest, 1.0)), 25)


def _cohort(key: str, cohort: pd.DataFrame, grid: Floats, maturity: Maturity) -> Cohort:
    delay = np.sort(cohort["delay"].to_numpy(np.float64))
    known = int(np.isfinite(delay).sum())
    age, positives = float(cohort["age"].min()), int(cohort["positive"].sum())
    reached = grid[grid <= age]
    shares = np.searchsorted(delay, reached, side="right") / delay.size
    return Cohort(
        partition_key=key,
        maturity=maturity,
        age_hours=age,
        rows=delay.size,
        known=known,
        share_known=known / delay.size,
        positives=positives,
        negatives=known - positives,
        expected_share=None,
        shortfall=None,
        p_value=None,
        state="UNKNOWN",
        by_age=tuple((float(a), float(s)) for a, s in zip(reached, shares, strict=True)),
    )


def _compare(
    cohorts: list[Cohort], rows: pd.DataFrame, aged: pd.DataFrame, alpha: float, floor: float
) -> list[Cohort]:
    """Each cohort that is not mature against the share that mature ones knew at its ages."""
    if not len(aged):
        return cohorts
    delays = [np.sort(d.to_numpy(np.float64)) for _, d in aged.groupby(PARTITION)["delay"]]
    ages = {str(k): a.to_numpy(np.float64) for k, a in rows.groupby(PARTITION)["age"]}
    late = [c for c in cohorts if c.maturity != "mature"]
    gaps = [_shortfall(c.share_known, delays, ages[c.partition_key]) for c in late]
    p_values = adjust([gap.p_value("greater") for gap in gaps])
    level = lone_level(alpha, len(late))
    compared = {
        c.partition_key: _compared(c, gap, p, alpha=alpha, floor=floor, level=level)
        for c, gap, p in zip(late, gaps, p_values, strict=True)
    }
    return [compared.get(c.partition_key, replace(c, state="PASS")) for c in cohorts]


def _shortfall(share: float, delays: list[Floats], ages: Floats) -> Estimate:
    """What mature cohorts knew at the given ages of rows, minus a share; a prediction interval."""
    expected = np.array([np.searchsorted(d, ages, side="right").mean() / d.size for d in delays])
    cohorts = expected.size
    spread = float(expected.std(ddof=1)) * math.sqrt(1 + 1 / cohorts) if cohorts > 1 else math.inf
    gap = float(expected.mean()) - share
    return Estimate(gap, spread, max(cohorts - 1, 1), cohorts + 1, 0)


def _compared(
    cohort: Cohort, gap: Estimate, p_value: float, *, alpha: float, floor: float, level: float
) -> Cohort:
    return replace(
        cohort,
        expected_share=cohort.share_known + gap.value,
        shortfall=gap.value,
        p_value=p_value,
        state=judge(
            gap,
            significant=p_value <= alpha,
            floor=floor,
            effect=gap.value,
            detectable=gap.minimal_detectable_effect(level, "greater"),
        ),
    )


def _curves(aged: pd.DataFrame, grid: Floats, minimum_share: float) -> tuple[ArrivalCurve, ...]:
    delay = aged["delay"].to_numpy(np.float64)
    known, positive = np.isfinite(delay), aged["positive"].to_numpy(bool)
    return (
        _curve("all", delay, grid, minimum_share),
        _curve("positive", delay[positive], grid, minimum_share),
        _curve("negative", delay[known & ~positive], grid, minimum_share),
    )


def _curve(
    group: Literal["all", "positive", "negative"], delay: Floats, grid: Floats, minimum_share: float
) -> ArrivalCurve:
    if not delay.size:
        return ArrivalCurve(group, 0, (), (), None)
    ordered = np.sort(delay)
    share = np.searchsorted(ordered, grid, side="right") / ordered.size
    horizon = ordered[min(math.ceil(minimum_share * ordered.size), ordered.size) - 1]
    return ArrivalCurve(
        group, ordered.size, tuple(map(float, grid)), tuple(map(float, share)), finite(horizon)
    )
