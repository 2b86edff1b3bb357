"""Do labels arrive by the law they used to? The log-rank test of recent against aged cohorts.

Observed minus expected arrivals is the statistic of Mantel (1966). The rows of a day share its fate, so that
it is taken per cohort, and the aged cohorts, observed for as long as the recent ones, tell how much it
varies.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.arrival_law import ArrivalLaw, LabelAges
from ml_platform.statistics.blocks import Estimate, Floats, change_of_days, judge
from ml_platform.statistics.finding import Finding
from ml_platform.statistics.frames import finite
from ml_platform.statistics.survival import RiskTable, log_rank, risk_table

DELAY, POSITIVES = "delay_hazard", "positive_hazard"
HAZARD_FLOOR, MIXED_HAZARD_FLOOR = 0.2, 0.3
"""Least change of the arrival hazard that counts, as a share of the aged one; where classes mix, more."""
LEAST_MISSING = 0.05
"""Share of the labels due that must be missing for a slower arrival to be a change of the delay."""
FEWEST_EXPECTED = 20.0
"""A recent cohort with fewer expected arrivals is too young to be compared."""
_STEPS = 48
Flags = npt.NDArray[np.bool_]


def delay_change(rows: LabelAges, law: ArrivalLaw, settings: DiagnosisConfig) -> Finding:
    """Observed against expected arrivals of the cohorts younger than the law's last aged one.

    Args:
        rows: Ages of aged and recent cohorts.
        law: The law; its ``last_aged`` divides aged from recent cohorts.
        settings: ``p_value``; with ``early_positives`` only the arrivals of positives count, since a negative
            is one by definition when the horizon is reached: then the finding is about the outcome as much as
            about the delay, and is named ``positive_hazard``.

    Returns:
        Estimate: change of the hazard as a share (-.5: half as fast). UNKNOWN without cohorts to compare.
    """
    name = POSITIVES if settings.early_positives else DELAY
    keys, codes = rows.cohorts
    aged = np.array([k <= law.last_aged for k in keys], dtype=bool)
    event = rows.known & (rows.code == 1) if settings.early_positives else rows.known
    if not aged.any() or aged.all() or not event.any():
        return Finding(name, "all", "UNKNOWN", "there are no aged, or no younger, cohorts to compare")
    historic = event & aged[codes]
    if not historic.any():
        return Finding(name, "all", "UNKNOWN", "no label of an aged cohort is known")
    table, reach = _by_cohort(rows, event, historic, codes, len(keys))
    tests = _changes(table, aged, table.times[None, :] <= reach[:, None])
    if not tests:
        return Finding(name, "all", "UNKNOWN", "recent cohorts are too young to be compared")
    until = np.where(rows.known, rows.delay, rows.age)
    pooled = log_rank(until, event, ~aged[codes])
    recent = rows.only(~aged[codes])
    missing = None if settings.early_positives else law.missing(recent)
    facts = {
        "aged_cohorts": int(aged.sum()),
        "log_rank": pooled.statistic,
        "missing_by_class": finite(missing),
    }
    return _finding(name, tests, [str(k) for k in keys[~aged]], missing, settings, facts, len(rows.age))


def _finding(
    name: str,
    tests: list[tuple[Estimate, Flags]],
    recent: list[str],
    missing: float | None,
    settings: DiagnosisConfig,
    facts: dict[str, float | int | None],
    rows: int,
) -> Finding:
    # Classes that arrive at different paces move the mixed hazard with the base rate (measured: 20 %).
    floor = HAZARD_FLOOR if name == POSITIVES else MIXED_HAZARD_FLOOR
    estimate, used = min(tests, key=lambda test: test[0].p_value())
    p_value = min(1.0, len(tests) * estimate.p_value())
    detectable = tests[0][0].minimal_detectable_effect(settings.p_value / len(tests))
    state = judge(
        estimate,
        significant=p_value <= settings.p_value,
        floor=floor,
        effect=abs(estimate.value),
        detectable=detectable,
    )
    if state == "FAIL" and missing is not None and missing < LEAST_MISSING:
        state = "PASS"  # other classes, not other delays: weighted by class, no label is missing
    low, high = estimate.interval()
    which = "positives" if name == POSITIVES else "labels"
    cohorts = [key for key, chosen in zip(recent, used, strict=True) if chosen]
    return Finding(
        statistic=name,
        subject="all",
        state=state,
        detail=f"{which} of {len(cohorts)} recent cohort(s) arrive at a rate {estimate.value:+.0%} from "
        f"that of {facts['aged_cohorts']} aged ones at the same ages",
        estimate=finite(estimate.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=p_value,
        blocks=estimate.blocks,
        rows=rows,
        partitions=tuple(cohorts) if state == "FAIL" else (),
        facts={**facts, "lag1": estimate.lag1, "recent_cohorts": len(cohorts)},
    )


def _by_cohort(
    rows: LabelAges, event: Flags, historic: Flags, codes: npt.NDArray[np.intp], cohorts: int
) -> tuple[RiskTable, Floats]:
    """Arrivals and rows at risk of each cohort in steps of age, and the age that all its rows have reached.

    Steps that only some rows of a cohort have lived through are left out later, so that within a step no row
    is censored.
    """
    ends = np.unique(np.quantile(rows.delay[historic], np.linspace(0, 1, _STEPS + 1)[1:]))
    step = np.searchsorted(ends, rows.delay, side="left")
    until = np.r_[ends, np.inf][step]
    reach = np.full(cohorts, np.inf)
    np.minimum.at(reach, codes, rows.age)
    return risk_table(until, event, ends, codes, cohorts), reach


def _changes(table: RiskTable, historic: Flags, seen: Flags) -> list[tuple[Estimate, Flags]]:
    """Relative excess of arrivals in the recent cohorts and in the later half of them, and which those are.

    The excess is that of all cohorts together; its error is what the historic cohorts, each judged by the
    hazard of the others and at the same ages, vary by from day to day.
    """
    arrived, risk = table.events, table.at_risk
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
