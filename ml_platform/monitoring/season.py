"""Is an alarm but one rare day, a known event, or a season that comes every year?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.numbers import number, signed
from ml_platform.statistics.blocks import Estimate, Floats, change_of_days, judge, mean_of_days
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import finite
from ml_platform.statistics.states import State

QUESTION = "season"
RECURS = 0.5
"""Least share of this year's change that the same period of last year must show to be a season."""
VANISHES = 0.6
"""An alarm vanishes when what is left of it is below the floor and less than this share of its size."""
OLDER_MODEL = "older_season_model"
SAME_SEASON = "same_season"
NO_YEAR = "nothing is known of what was served a year ago"
NO_ALARM = "nothing fired, so there is no change that a year ago could have had too"

DailyValues = Mapping[str, float]


def season(
    reference: DailyValues,
    current: DailyValues,
    *,
    floor: float,
    settings: DiagnosisConfig,
    year_ago: tuple[DailyValues, DailyValues] | None = None,
    events: Mapping[str, str] | None = None,
    lacking: str = NO_YEAR,
) -> Findings:
    """Does a change of the daily mean hang on one day or on known events, and did a year ago have it too?

    Args:
        reference: Daily value (loss, bias, ...) by partition.
        current: The same of the days that alarmed.
        floor: Least change that counts, in the value's unit.
        settings: ``p_value``.
        year_ago: The values of the same two periods a year ago; None when there are none.
        events: Names of known events by partition.
        lacking: Why there are no values of a year ago.

    Returns:
        Findings ``single_day``, ``year_ago`` and, where a current day has one, ``known_events``. FAIL: the
        alarm hangs on one day, or on the events; the change recurs. The second is UNKNOWN without losses of
        a year ago.
    """
    found = [
        single_day(reference, current, floor=floor),
        recurs(reference, current, year_ago, floor=floor, settings=settings, lacking=lacking),
    ]
    if events and current.keys() & events.keys():
        found.append(known_events(reference, current, events, floor=floor))
    return Findings.of(QUESTION, found, reason="" if year_ago else lacking)


def single_day(reference: DailyValues, current: DailyValues, *, floor: float) -> Finding:
    """The alarm recomputed without each day (jackknife): FAIL when it vanishes without one of them.

    An alarm here is a change of at least the floor; it vanishes when it falls below the floor and below
    .6 of its size.
    """
    old, new = _ordered(reference), _ordered(current)
    keys = [k for k in sorted(current) if np.isfinite(current[k])]
    whole = change_of_days(old, new)
    if not old.size or new.size < 3:
        return Finding("single_day", "all", "UNKNOWN", "there are fewer than three days to leave one out of")
    # One huge day inflates the error too, so that an alarm that it carries need not be significant here.
    alarm = bool(abs(whole.value) >= floor)
    left = [change_of_days(old, np.delete(new, i)) for i in range(new.size)]
    # A day that shrinks the change below the floor carries it; mere loss of power does not count.
    bearers = [k for k, e in zip(keys, left, strict=True) if _vanishes(whole, e, floor)]
    smallest = min(left, key=lambda e: abs(e.value))
    detail = "there is no alarm that a day could carry"
    if alarm:
        detail = f"without one day the change of {signed(whole.value)} is {signed(smallest.value)} at least"
    if bearers:
        without = left[keys.index(bearers[0])].value
        detail = f"without {bearers[0]} the change of {signed(whole.value)} is {signed(without)}"
    facts = {"alarm": alarm, "without": {k: finite(e.value) for k, e in zip(keys, left, strict=True)}}
    return _carried("single_day", bearers, detail, whole, floor, facts)


def known_events(
    reference: DailyValues, current: DailyValues, events: Mapping[str, str], *, floor: float
) -> Finding:
    """The alarm recomputed without all days of known events, on both sides: FAIL when it vanishes.

    It vanishes as in :func:`single_day`, which leaves out one day: an event may take several.

    Args:
        reference: Daily value by partition.
        current: The same of the days that alarmed.
        events: Names of known events by partition.
        floor: Least change that counts, in the value's unit.
    """
    days = {k: events[k] for k in sorted(current.keys() & events.keys())}
    named = ", ".join(f"{k} ({name})" for k, name in days.items())
    ordinary = [_ordered({k: v for k, v in side.items() if k not in events}) for side in (reference, current)]
    whole, without = change_of_days(_ordered(reference), _ordered(current)), change_of_days(*ordinary)
    if min(side.size for side in ordinary) < 2:
        return Finding("known_events", "all", "UNKNOWN", f"too few days are left without {named}")
    detail = f"without {named} the change of {signed(whole.value)} is {signed(without.value)}"
    facts = {"alarm": bool(abs(whole.value) >= floor), "events": days}
    bearers = list(days) if _vanishes(whole, without, floor) else []
    return _carried("known_events", bearers, detail, without, floor, facts)


def _vanishes(whole: Estimate, left: Estimate, floor: float) -> bool:
    """Whether there is an alarm, of which less than the floor and far less than the whole is left."""
    return floor <= abs(whole.value) and abs(left.value) < min(floor, VANISHES * abs(whole.value))


def _carried(
    statistic: str, bearers: list[str], detail: str, shown: Estimate, floor: float, facts: dict[str, Any]
) -> Finding:
    """FAIL where some days carry the alarm."""
    low, high = shown.interval()
    return Finding(
        statistic=statistic,
        subject="all",
        state="FAIL" if bearers else "PASS",
        detail=detail,
        estimate=finite(shown.value),
        low=finite(low),
        high=finite(high),
        floor=floor,
        p_value=shown.p_value(),
        blocks=shown.blocks,
        partitions=tuple(bearers),
        facts=facts,
    )


def recurs(
    reference: DailyValues,
    current: DailyValues,
    year_ago: tuple[DailyValues, DailyValues] | None,
    *,
    floor: float,
    settings: DiagnosisConfig,
    lacking: str = NO_YEAR,
) -> Finding:
    """The same change a year ago: FAIL (a season) when it has the same sign and at least half the size."""
    if year_ago is None:
        return Finding("year_ago", "all", "UNKNOWN", lacking)
    if not year_ago[0] or not year_ago[1]:
        return Finding("year_ago", "all", "UNKNOWN", "the labels of what was served a year ago are not known")
    now = change_of_days(_ordered(reference), _ordered(current))
    then = change_of_days(*map(_ordered, year_ago))
    detectable = then.minimal_detectable_effect(settings.p_value)
    # Only a change of this year can recur.
    effect = then.value * float(np.sign(now.value))
    enough = abs(now.value) >= floor and effect >= RECURS * abs(now.value)
    state = judge(
        then,
        significant=enough and then.p_value() <= settings.p_value,
        floor=floor,
        effect=effect,
        detectable=detectable,
    )
    low, high = then.interval()
    return Finding(
        statistic="year_ago",
        subject="all",
        state=state,
        detail=f"a year ago the value changed by {signed(then.value)}, in this year by {signed(now.value)}",
        estimate=finite(then.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=then.p_value(),
        blocks=then.blocks,
        facts={"now": finite(now.value)},
    )


def older_model(
    name: str, champion: DailyValues, older: DailyValues, *, floor: float, level: float
) -> Finding:
    """An older model against the champion on the same days: FAIL when the older one wins.

    Args:
        name: Of the older model.
        champion: Loss of the champion by partition.
        older: Loss of the older model on the same rows.
        floor: Least gain that counts, in the loss's unit.
        level: Of the one-sided test of the daily differences.
    """
    days = sorted(champion.keys() & older.keys())
    gain = mean_of_days([champion[k] - older[k] for k in days])
    p_value = gain.p_value("greater")
    detectable = gain.minimal_detectable_effect(level, "greater")
    state = judge(gain, significant=p_value <= level, floor=floor, effect=gain.value, detectable=detectable)
    low, high = gain.interval()
    return Finding(
        statistic=OLDER_MODEL,
        subject=name,
        state=state,
        detail=f"on the same {len(days)} matured partitions {name}, which was trained on this season of an "
        f"earlier year, would have lost {number(gain.value)} less than the champion",
        estimate=finite(gain.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=p_value,
        blocks=gain.blocks,
    )


def same_season(recent: Finding, season: Finding) -> Finding:
    """Is a drift of the features but the season, which a second reference of a year ago shares?

    Args:
        recent: The domain classifier's AUC against the champion's reference.
        season: The same against rows of the same season a year ago.

    Returns:
        FAIL: the features left the reference, and look as they did in that season. PASS: they did not leave
        it, or look unlike both.
    """
    aucs = [0.5 if f.estimate is None else f.estimate for f in (recent, season)]
    told = f"an AUC of {aucs[0]:.3f} against the reference, of {aucs[1]:.3f} against that season a year ago"
    if recent.state != "FAIL":
        return replace(season, statistic=SAME_SEASON, state="PASS", detail=f"{told}: there is no drift")
    said: dict[State, tuple[State, str]] = {
        "PASS": ("FAIL", "the drift is the season's"),
        "FAIL": ("PASS", "more than the season drifted"),
        "UNDERPOWERED": ("UNDERPOWERED", "whether the season explains the drift cannot be told"),
        "UNKNOWN": ("UNKNOWN", season.detail),
    }
    state, meaning = said[season.state]
    return replace(season, statistic=SAME_SEASON, subject="all", state=state, detail=f"{told}: {meaning}")


def _ordered(days: DailyValues) -> Floats:
    values = np.array([days[k] for k in sorted(days)], dtype=np.float64)
    kept: Floats = values[np.isfinite(values)]
    return kept
