"""The law by which labels arrive, what it allows to be judged now, and whether it still holds.

F(age | y), the share of a class that is known at an age, is fitted on fully aged cohorts alone: in
younger ones slow labels are missing (right truncation). The overall F is that of Kaplan and Meier
(1958), rows without a label censored at their age. Known labels weighted by 1 / F(age | y) stand in for
those still to come (Chapelle 2014 on delayed feedback).

A change of the law is sought with the log-rank statistic, observed minus expected arrivals. The rows
of a day share its fate, so the statistic is taken per cohort, and the historic cohorts, observed for
as long as the recent ones, tell how much it varies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.statistics.blocks import Estimate, Floats, change_of_days, judge
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite, known_mask

QUESTION = "maturity"
HAZARD_FLOOR, MIXED_HAZARD_FLOOR = 0.2, 0.3
"""Least change of the arrival hazard that counts, as a share of the historic one; where classes mix, more."""
LEAST_MISSING, SEEN_SHARE = 0.05, 0.2
"""Share of labels that must be missing, of rows so old that this share of either class is usually known."""
OVERDUE = 0.9
"""A cohort with less than this share of the labels expected at its age is overdue."""
FEWEST_EXPECTED = 20.0
"""A recent cohort with fewer expected arrivals is too young to be compared."""
_KNOTS = 200
_STEPS = 48

State = Literal["mature", "weighted", "wait"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ArrivalLaw:
    """Share of labels known by age.

    Attributes:
        label: Column of the label.
        last_aged: Last partition whose labels should all be known.
        hours: (k,) ages, ascending from 0.
        positive: (k,) share of positives known at each age; NaN without aged positives.
        negative: (k,) the same of negatives.
        overall: (k,) Kaplan-Meier estimate over all rows, whatever their class.
        ultimate: Share of aged rows whose label ever came; NaN without aged rows.
        base_rate: Share of positives among them.
        cohorts: Aged cohorts it is fitted on.
    """

    label: str
    last_aged: str
    hours: Floats
    positive: Floats
    negative: Floats
    overall: Floats
    ultimate: float
    base_rate: float
    cohorts: int

    def share(self, age_hours: Floats | float, positive: bool) -> Floats:
        """F(age | y), for ages of any shape; NaN when the class was never seen."""
        curve = self.positive if positive else self.negative
        found = np.interp(np.asarray(age_hours, dtype=np.float64), self.hours, curve, left=0.0)
        return np.asarray(found, dtype=np.float64)

    def weights(self, ages: Floats, labels: Floats) -> Floats:
        """1 / F(age | y) of known labels; rows at ages at which nothing should be known get the largest.

        Args:
            ages: (n,) ages in hours.
            labels: (n,) 0 or 1.
        """
        shares = np.where(labels == 1, self.share(ages, True), self.share(ages, False))
        smallest = float(np.min(shares[shares > 0], initial=1.0))
        weights: Floats = 1 / np.maximum(shares, smallest)
        return weights

    def expected(self, age_hours: Floats | float) -> Floats:
        """Share of all rows that is known at an age, with the classes mixed as in the aged cohorts."""
        rate = self.base_rate
        mixed = rate * self.share(age_hours, True) + (1 - rate) * self.share(age_hours, False)
        return np.asarray(self.ultimate * mixed, dtype=np.float64)

    def mature_at(self, last_event: datetime, share: float = 0.95) -> datetime | None:
        """When so much of both classes of a partition is known, given its last event; None without a law."""
        both = np.minimum(self.positive, self.negative)
        reached = np.flatnonzero(both >= share)
        return last_event + timedelta(hours=float(self.hours[reached[0]])) if reached.size else None


@dataclass(frozen=True)
class PartitionMaturity:
    """What may be done with the labels of a partition.

    Attributes:
        partition_key: The partition.
        state: ``mature``: judge it; ``weighted``: judge it with weights 1/F; ``wait``.
        known: Share of rows with a label.
        positive: F of positives at the rows' ages; None without a law.
        negative: F of negatives.
        effective: Effective sample of the weighted labels, in rows.
        effective_share: The same as a share of all rows.
        overdue: Fewer labels are known than the law has it.
        mature_at: When it is mature by the law, ISO 8601.
    """

    partition_key: str
    state: State
    known: float
    positive: float | None
    negative: float | None
    effective: float
    effective_share: float
    overdue: bool
    mature_at: str | None


@dataclass(frozen=True)
class MaturityReport:
    """Which partitions may be judged, and how.

    Attributes:
        partitions: In the order of time.
        findings: ``maturity`` and ``delay_hazard``.
    """

    partitions: tuple[PartitionMaturity, ...]
    findings: Findings

    def named(self, state: State) -> list[str]:
        """Partitions in a state."""
        return [p.partition_key for p in self.partitions if p.state == state]


def arrival_law(
    labels: Table,
    as_of: datetime,
    *,
    last_aged: str,
    label: str = "label",
    horizon_hours: float | None = None,
) -> ArrivalLaw:
    """Fit the law.

    Args:
        labels: One row per entity: ``partition_key``, ``event_time``, the label (0/1, null while
            unknown), ``label_known_at``. What is known after ``as_of`` counts as unknown.
        as_of: Instant with an offset.
        last_aged: Last partition whose labels should all be known by now.
        label: Column of the label.
        horizon_hours: Age at which labels are final; arrivals after it count as arriving then.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    rows = _rows(labels, label, as_of)
    if horizon_hours is not None:
        late = np.isfinite(rows["delay"]) & (rows["delay"] > horizon_hours)
        rows["delay"] = rows["delay"].mask(late, horizon_hours)
    aged = rows[rows[PARTITION] <= last_aged]
    delay, positive = aged["delay"].to_numpy(np.float64), aged["positive"].to_numpy(bool)
    known = np.isfinite(delay)
    every = rows["delay"].to_numpy(np.float64)
    source = delay[known] if known.any() else every[np.isfinite(every)]
    knots = np.quantile(source, np.linspace(0, 1, _KNOTS)) if source.size else np.array([1.0])
    hours = np.unique(np.r_[0.0, knots])
    return ArrivalLaw(
        label=label,
        last_aged=last_aged,
        hours=hours,
        positive=_share_by(delay[known & positive], hours),
        negative=_share_by(delay[known & ~positive], hours),
        overall=_kaplan_meier(every, rows["age"].to_numpy(np.float64), hours),
        ultimate=float(known.mean()) if known.size else math.nan,
        base_rate=float(positive[known].mean()) if known.any() else math.nan,
        cohorts=int(aged[PARTITION].nunique()),
    )


def maturity_state(
    labels: Table, law: ArrivalLaw, as_of: datetime, settings: DiagnosisConfig
) -> MaturityReport:
    """What may be judged now, and from when on the rest.

    A partition is mature when F of both classes is at least ``mature_share`` at its rows' ages, weighted
    when it is at least ``weighted_share`` and the effective sample ``effective_share`` of its rows. A
    partition with clearly fewer labels than the law expects waits in any case. With ``early_positives``
    negatives come at the horizon only, so that weights never apply.

    Args:
        labels: As for :func:`arrival_law`.
        law: The law.
        as_of: Instant with an offset.
        settings: ``mature_share``, ``weighted_share``, ``effective_share``, ``early_positives``, ``p_value``.

    Returns:
        The finding ``maturity`` is UNDERPOWERED when nothing may be judged yet, FAIL when labels of aged
        partitions are overdue, UNKNOWN without a law.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    rows = _rows(labels, law.label, as_of)
    groups = rows.groupby(PARTITION, sort=True)
    found = tuple(_partition(str(k), g, law, as_of, settings) for k, g in groups)
    hazard = _delay_changed(rows, law, settings)
    return MaturityReport(found, Findings.of(QUESTION, [_maturity(found, law, len(rows)), hazard]))


def delay_changed(labels: Table, law: ArrivalLaw, as_of: datetime, settings: DiagnosisConfig) -> Finding:
    """Do labels arrive as fast as they used to? Log-rank over cohorts.

    Observed minus expected arrivals of each cohort younger than ``law.last_aged``, as a share of the
    expected, against the same of each aged cohort (expected from the others), observed for as long.

    Args:
        labels: As for :func:`arrival_law`.
        law: The law; its ``last_aged`` divides historic from recent cohorts.
        as_of: Instant with an offset.
        settings: ``p_value``; with ``early_positives`` only arrivals of positives count.

    Returns:
        Estimate: change of the hazard as a share (-.5: half as fast). UNKNOWN without cohorts to compare.
    """
    return _delay_changed(_rows(labels, law.label, as_of), law, settings)


def _delay_changed(rows: pd.DataFrame, law: ArrivalLaw, settings: DiagnosisConfig) -> Finding:
    codes, keys = pd.factorize(rows[PARTITION].to_numpy(dtype=object), sort=True)
    historic = np.array([k <= law.last_aged for k in keys], dtype=bool)
    reach = rows["age"].groupby(codes).min().to_numpy(np.float64)
    delay = rows["delay"].to_numpy(np.float64)
    counted = np.isfinite(delay)
    # Classes that arrive at different paces move the mixed hazard with the base rate (measured: 20 %).
    floor = HAZARD_FLOOR if settings.early_positives else MIXED_HAZARD_FLOOR
    event = counted & rows["positive"].to_numpy(bool) if settings.early_positives else counted
    if not historic.any() or historic.all() or not event.any():
        return Finding(
            "delay_hazard", "all", "UNKNOWN", "there are no aged, or no younger, cohorts to compare"
        )
    aged = event & historic[codes]
    ends = (
        np.unique(np.quantile(delay[aged], np.linspace(0, 1, _STEPS + 1)[1:])) if aged.any() else np.array([])
    )
    if not ends.size:
        return Finding("delay_hazard", "all", "UNKNOWN", "no label of an aged cohort is known")
    arrived = _table(codes, delay, event, ends, len(keys))
    left = _table(codes, delay, counted, ends, len(keys))
    size = np.bincount(codes, minlength=len(keys)).astype(np.float64)
    risk = size[:, None] - np.cumsum(left, axis=1) + left
    tests = _changes(arrived, risk, historic, ends[None, :] <= reach[:, None])
    if not tests:
        return Finding("delay_hazard", "all", "UNKNOWN", "recent cohorts are too young to be compared")
    estimate, used = min(tests, key=lambda test: test[0].p_value())
    low, high = estimate.interval()
    p_value = min(1.0, len(tests) * estimate.p_value())
    detectable = tests[0][0].minimal_detectable_effect(settings.p_value / len(tests))
    state = judge(
        estimate,
        significant=p_value <= settings.p_value,
        floor=floor,
        effect=abs(estimate.value),
        detectable=detectable,
    )
    recent_rows = ~historic[codes]
    missing = None if settings.early_positives else _missing(rows[recent_rows], law)
    if state == "FAIL" and missing is not None and missing < LEAST_MISSING:
        state = "PASS"  # other classes, not other delays: weighted by class, no label is missing
    which = "positives" if settings.early_positives else "labels"
    recent = [str(k) for k in keys[~historic][used]]
    return Finding(
        statistic="delay_hazard",
        subject="all",
        state=state,
        detail=f"{which} of {len(recent)} recent cohort(s) arrive at a rate {estimate.value:+.0%} from "
        f"that of {int(historic.sum())} aged ones at the same ages",
        estimate=finite(estimate.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=p_value,
        blocks=estimate.blocks,
        rows=len(rows),
        partitions=tuple(recent) if state == "FAIL" else (),
        facts={"lag1": estimate.lag1, "aged_cohorts": int(historic.sum()), "recent_cohorts": len(recent)},
    )


def _missing(rows: pd.DataFrame, law: ArrivalLaw) -> float | None:
    """Share of labels that are missing by the law of their own class.

    Known labels weighted by 1/F(age | y) add up to all rows where the delays are as before, whatever the
    share of positives has become. None where no row is old enough.
    """
    age = rows["age"].to_numpy(np.float64)
    positive, negative = law.share(age, True), law.share(age, False)
    old = (positive >= SEEN_SHARE) & (negative >= SEEN_SHARE)
    if not old.any():
        return None
    known = np.isfinite(rows["delay"].to_numpy(np.float64)) & old
    share = np.where(rows["positive"].to_numpy(bool), positive, negative)
    weight = 1 / np.where(known, share, 1.0)
    return 1 - float(weight[known].sum()) / int(old.sum())


def _changes(arrived: Floats, risk: Floats, historic: Flags, seen: Flags) -> list[tuple[Estimate, Flags]]:
    """Relative excess of arrivals in the recent cohorts and in the later half of them, and which those are.

    The excess is that of all cohorts together; its error is what the historic cohorts, each judged by the
    hazard of the others and at the same ages, vary by from day to day.
    """
    total, exposed = arrived[historic].sum(axis=0), risk[historic].sum(axis=0)
    recent, spans = ~historic, seen[~historic]
    with np.errstate(invalid="ignore", divide="ignore"):
        hazard = np.nan_to_num(total / exposed)
        others = np.nan_to_num((total - arrived[historic]) / (exposed - risk[historic]))
    due = (risk[recent] * hazard * spans).sum(axis=1)
    old_enough = np.flatnonzero(due >= FEWEST_EXPECTED)
    found = []
    for chosen in (old_enough, old_enough[len(old_enough) // 2 :]):
        used = np.isin(np.arange(due.size), chosen)
        # Each age counts as often as recent cohorts have reached it.
        often = spans[used].sum(axis=0)
        expected = (risk[historic] * others * often).sum(axis=1)
        if not chosen.size or not (expected > 0).any():
            continue
        old = ((arrived[historic] * often).sum(axis=1) / np.where(expected > 0, expected, np.nan)) - 1
        old = old[~np.isnan(old)]
        excess = float((arrived[recent] * spans)[used].sum() / due[used].sum()) - 1
        spread = change_of_days(old, old[-chosen.size :])
        found.append((replace(spread, value=excess - float(old.mean())), used))
    return found


def _table(codes: npt.NDArray[np.intp], delay: Floats, use: Flags, ends: Floats, cohorts: int) -> Floats:
    """(cohorts, steps) rows whose delay ends in each step; what ends after the last one is left out."""
    step = np.searchsorted(ends, delay[use], side="left")
    inside = step < ends.size
    place = codes[use][inside] * ends.size + step[inside]
    return np.bincount(place, minlength=cohorts * ends.size).reshape(cohorts, ends.size).astype(np.float64)


def _partition(
    key: str, rows: pd.DataFrame, law: ArrivalLaw, as_of: datetime, settings: DiagnosisConfig
) -> PartitionMaturity:
    age, known = rows["age"].to_numpy(np.float64), np.isfinite(rows["delay"].to_numpy(np.float64))
    shares = [float(law.share(age, positive).mean()) for positive in (True, False)]
    least = min(shares) if not any(map(math.isnan, shares)) else math.nan
    weights = law.weights(age[known], rows["positive"].to_numpy(np.float64)[known])
    effective = float(weights.sum() ** 2 / (weights**2).sum()) if known.any() else 0.0
    overdue = bool(known.mean() < OVERDUE * float(law.expected(age).mean()))
    enough = least >= settings.weighted_share and effective >= settings.effective_share * len(rows)
    state: State = "wait"
    if not overdue and least >= settings.mature_share:
        state = "mature"
    elif not overdue and enough and not settings.early_positives:
        state = "weighted"
    last_event = as_of - timedelta(hours=float(age.min()))
    mature_at = law.mature_at(last_event, settings.mature_share)
    return PartitionMaturity(
        partition_key=key,
        state=state,
        known=float(known.mean()),
        positive=finite(shares[0]),
        negative=finite(shares[1]),
        effective=finite(effective) or 0.0,
        effective_share=(finite(effective) or 0.0) / len(rows),
        overdue=overdue,
        mature_at=mature_at.isoformat() if mature_at else None,
    )


def _maturity(found: tuple[PartitionMaturity, ...], law: ArrivalLaw, rows: int) -> Finding:
    if not found or math.isnan(law.base_rate):
        return Finding("maturity", "all", "UNKNOWN", "no label of an aged cohort is known: there is no law")
    late = tuple(p.partition_key for p in found if p.overdue and p.partition_key <= law.last_aged)
    waiting = [p for p in found if p.state == "wait"]
    counts = {s: sum(p.state == s for p in found) for s in ("mature", "weighted", "wait")}
    dates = [p.mature_at for p in waiting if p.mature_at]
    judged = len(waiting) < len(found)
    text = ", ".join(f"{n} {s}" for s, n in counts.items())
    return Finding(
        statistic="maturity",
        subject="all",
        state="FAIL" if late else "PASS" if judged else "UNDERPOWERED",
        detail=f"partitions: {text}" + (f"; labels of {len(late)} aged one(s) are overdue" if late else ""),
        estimate=1 - len(waiting) / len(found),
        blocks=len(found),
        rows=rows,
        partitions=late or tuple(p.partition_key for p in waiting),
        facts={**counts, "next_mature_at": min(dates, default=None)},
    )


def _rows(table: Table, label: str, as_of: datetime) -> pd.DataFrame:
    """Per row: partition, age now and delay of the label in hours (infinite while unknown), class."""
    frame = as_frame(table, (PARTITION, "event_time", label, "label_known_at"), "labels")
    known = known_mask(frame, label, as_of)
    event = pd.to_datetime(frame["event_time"], utc=True, cache=False)
    hour = pd.Timedelta(hours=1)
    known_at = pd.to_datetime(frame["label_known_at"], utc=True, cache=False)
    delay = ((known_at - event) / hour).clip(lower=0)
    return pd.DataFrame(
        {
            PARTITION: frame[PARTITION].astype(str).astype(object),
            "age": (pd.Timestamp(as_of) - event) / hour,
            "delay": delay.where(known, math.inf).astype(np.float64),
            "positive": (known & frame[label].eq(1).fillna(False)).astype(bool),
        }
    )


def _share_by(delay: Floats, hours: Floats) -> Floats:
    """(k,) share of delays up to each age."""
    if not delay.size:
        return np.full(hours.size, np.nan)
    return np.asarray(np.searchsorted(np.sort(delay), hours, side="right") / delay.size, dtype=np.float64)


def _kaplan_meier(delay: Floats, age: Floats, hours: Floats) -> Floats:
    """(k,) Kaplan-Meier estimate of the share known by each age; ages in (a, b] count as b."""
    known = np.isfinite(delay)
    until = np.where(known, delay, age)
    arrived = np.bincount(np.searchsorted(hours, until[known]), minlength=hours.size + 1)[: hours.size]
    ended = np.bincount(np.searchsorted(hours, until), minlength=hours.size + 1)
    risk = ended[::-1].cumsum()[::-1][: hours.size]
    with np.errstate(invalid="ignore", divide="ignore"):
        survival = np.cumprod(1 - np.nan_to_num(arrived / risk))
    return np.asarray(1 - survival, dtype=np.float64)
