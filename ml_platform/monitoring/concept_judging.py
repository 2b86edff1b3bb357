"""Which daily slopes and contrasts changed: tests, the smallest change that could be seen, suspicions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import special

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.concept_series import ALL, Series
from ml_platform.numbers import number, signed
from ml_platform.statistics.blocks import POWER, Estimate, Floats, adjust, change_of_days, judge, lone_level
from ml_platform.statistics.finding import ROWS_NEEDED, Finding
from ml_platform.statistics.frames import finite
from ml_platform.statistics.shrinkage import shrink
from ml_platform.statistics.states import State

SUSPICIOUS_FLOORS = 3
"""A suspicion needs a detectable effect of at most this many floors, or more days could not decide it."""
_STEP_DAYS = 3
"""Least days on either side of a step within the current window."""


def judge_series(tests: list[Series], settings: DiagnosisConfig) -> list[Finding]:
    """One finding per series; those with enough rows are adjusted as one family."""
    changes = [_change(t) for t in tests]
    alone = _p_values(changes)
    tested = [
        i
        for i, (t, c) in enumerate(zip(tests, changes, strict=True))
        if t.rows >= settings.segment_minimum_rows and math.isfinite(c.se) and not math.isnan(c.value)
    ]
    adjusted = dict(zip(tested, adjust([alone[i] for i in tested]), strict=True))
    level = lone_level(settings.false_discovery_rate, len(tested))
    detectable = _detectable(changes, level), _detectable(changes, settings.p_value)
    shrunk = _shrunk(tests, changes)
    half = special.stdtrit([c.df for c in changes], 0.975) * [c.se for c in changes]
    return [
        _finding(
            test,
            changes[i],
            settings,
            alone=alone[i],
            adjusted=adjusted.get(i),
            shrunk=float(shrunk[i]),
            detectable=float(detectable[0][i]),
            detectable_alone=float(detectable[1][i]),
            half=float(half[i]),
        )
        for i, test in enumerate(tests)
    ]


def with_small_suspects(
    tests: list[Series], findings: list[Finding], settings: DiagnosisConfig
) -> list[Finding]:
    """The findings, those suspected that were not tested for want of rows, and that may be the whole change.

    Segments that are too small to be tested say little, but that only the level moved cannot be said while
    one of them stands out. They are adjusted as a family of their own, of those that grow large enough.
    """
    longest = settings.maximum_partitions / settings.block_partitions
    family = [
        i
        for i, (t, f) in enumerate(zip(tests, findings, strict=True))
        if f.p_value is None
        and f.minimal_detectable_effect is not None
        and t.rows * longest >= settings.segment_minimum_rows * t.current.size
    ]
    adjusted = dict(zip(family, adjust([findings[i].facts["p_value_alone"] for i in family]), strict=True))
    return [
        replace(f, suspicion=True, facts=f.facts | {ROWS_NEEDED: settings.segment_minimum_rows})
        if adjusted.get(i, 1.0) <= settings.false_discovery_rate and abs(f.facts["shrunk"]) >= (f.floor or 0)
        else f
        for i, f in enumerate(findings)
    ]


def unless_early(state: State, current: Floats, settings: DiagnosisConfig) -> State:
    """The state, and UNDERPOWERED instead of FAIL where few blocks of the current window say anything.

    Two or three days may share a shock that the reference had on none of its days, and their own spread says
    little about it: a contrast "changed" in the first three days of one of a few worlds of permuted days.

    Args:
        state: By the test.
        current: (blocks,) of the current window, NaN where a block says nothing.
        settings: A full window with fewer blocks than the least decides with those that it has.
    """
    full = max(1, settings.concept_partitions // settings.block_partitions)
    blocks = np.count_nonzero(~np.isnan(current))
    return "UNDERPOWERED" if state == "FAIL" and blocks < min(2 * _STEP_DAYS, full) else state


def _change(test: Series) -> Estimate:
    """Change of the mean, its error taken around a step within the current window.

    Otherwise a change that began amid the window would count as noise and hide itself. The place and the
    size of the step cost two degrees of freedom. (Not for the bias: shocks shared by neighbouring days
    look like steps. Within days they cancel.)
    """
    known = test.current[~np.isnan(test.current)]
    if known.size < 2 * _STEP_DAYS:
        return change_of_days(test.reference, known)
    change = change_of_days(test.reference, _without_step(known))
    free = max(change.blocks - 2, 3)
    return replace(change, se=change.se * math.sqrt(free / (free - 2)), df=max(change.df - 2, 1))


def _without_step(known: Floats) -> Floats:
    """Days of the same mean without the step that fits them best."""
    before = np.arange(_STEP_DAYS, known.size - _STEP_DAYS + 1)
    after = known.size - before
    sums = np.cumsum(known)
    step = (sums[-1] - sums[before - 1]) / after - sums[before - 1] / before
    best = int(np.argmax(step**2 * before * after))
    since = (np.arange(known.size) >= before[best]).astype(np.float64)
    return np.asarray(known - step[best] * (since - since.mean()), dtype=np.float64)


def _p_values(changes: list[Estimate]) -> list[float]:
    """Two-sided p-values, at once for those that have a standard error."""
    t = np.array([abs(c.value) / c.se if c.se > 0 and not math.isnan(c.value) else 0.0 for c in changes])
    tails = 2 * special.stdtr([c.df for c in changes], -t)
    return [float(tail) if c.se > 0 else c.p_value() for tail, c in zip(tails, changes, strict=True)]


def _detectable(changes: list[Estimate], level: float) -> Floats:
    df, se = np.array([c.df for c in changes]), np.array([c.se for c in changes])
    return np.asarray(
        (special.stdtrit(df, 1 - level / 2) + special.stdtrit(df, POWER)) * se, dtype=np.float64
    )


def _shrunk(tests: list[Series], changes: list[Estimate]) -> Floats:
    """Changes shrunk towards none, slopes and contrasts as populations of their own."""
    shrunk = np.zeros(len(tests))
    for statistic in ("slope", "contrast"):
        chosen = [i for i, t in enumerate(tests) if t.statistic == statistic]
        errors = [changes[i].se for i in chosen]
        shrunk[chosen] = shrink([changes[i].value for i in chosen], errors, center=0.0)
    return shrunk


def _finding(
    test: Series,
    change: Estimate,
    settings: DiagnosisConfig,
    *,
    alone: float,
    adjusted: float | None,
    shrunk: float,
    detectable: float,
    detectable_alone: float,
    half: float,
) -> Finding:
    floor = settings.slope_floor if test.statistic == "slope" else settings.contrast_floor
    if math.isnan(change.value):
        nothing = unknown(test.statistic, _NOTHING[test.statistic], test.subject)
        # a segment of one window only is no missing evidence: it is the unseen region of another question
        unseen: State = "UNKNOWN" if test.subject == ALL else "UNDERPOWERED"
        return replace(nothing, state=unseen, floor=floor, rows=round(test.rows))
    state = judge(
        change,
        significant=adjusted is not None and adjusted <= settings.false_discovery_rate,
        floor=floor,
        effect=abs(change.value),
        detectable=detectable if adjusted is not None else math.inf,
    )
    state = unless_early(state, test.current, settings)
    suspicion = (
        state != "FAIL"
        and adjusted is not None
        and alone < settings.p_value
        and abs(shrunk) >= floor
        and detectable_alone <= SUSPICIOUS_FLOORS * floor
    )
    return Finding(
        statistic=test.statistic,
        subject=test.subject,
        state=state,
        detail=_detail(test, change.value, adjusted, detectable, floor),
        estimate=finite(change.value),
        low=finite(change.value - half),
        high=finite(change.value + half),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=adjusted,
        blocks=change.blocks,
        rows=round(test.rows),
        suspicion=suspicion,
        facts={
            "p_value_alone": alone,
            "shrunk": shrunk,
            "minimal_detectable_effect_alone": finite(detectable_alone),
            "lag1": change.lag1,
        },
    )


_NOTHING = {
    "slope": "Scores do not vary within the days of one of the windows, so there is no slope.",
    "contrast": "Days of one of the windows lack these rows, or have no others.",
}


def _detail(test: Series, value: float, adjusted: float | None, detectable: float, floor: float) -> str:
    what = {
        "slope": "The slope of residuals on the score",
        "contrast": "The mean residual against the rest of the partition",
    }[test.statistic]
    if adjusted is None:
        return (
            f"{what} changed by {signed(value)} in {test.subject}; {test.rows:.0f} rows are too few to test."
        )
    return (
        f"{what} changed by {signed(value)} in {test.subject} (adjusted p {number(adjusted, 2)}, "
        f"{test.rows:.0f} rows); {number(detectable)} could be seen, floor {number(floor)}."
    )


def unknown(statistic: str, reason: str, subject: str = ALL) -> Finding:
    """A finding that could not be made."""
    return Finding(statistic, subject, "UNKNOWN", reason)
