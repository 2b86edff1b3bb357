"""What a drill was asked, what was said of its days, and whether that was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.steps import STEPS
from ml_platform.lifecycle.drills.scenario import (
    DEFAULT_SEVERITY,
    FRESHNESS,
    DrillContext,
    Scenario,
    settling,
)
from ml_platform.lifecycle.guard.days import Day


@dataclass(frozen=True)
class Settings:
    """What is asked of a drill.

    Attributes:
        onset: First partition that is changed; a fortnight after the first one served if None.
        severity: In units of the deciding statistic's minimal detectable effect.
        seed: Of the permutation and of everything injected.
        calendar: Keep the real order of days, real drift included; always so for models that the use case's
            map keeps ``in_order``.
        horizon: Partitions after the onset that are played at most; until the cause can be identified and
            the incident's deadline (21) is over if None.
        scenarios: A file with more scenarios.
    """

    onset: str | None = None
    severity: float = DEFAULT_SEVERITY
    seed: int = 1
    calendar: bool = False
    horizon: int | None = None
    scenarios: Path | None = None


@dataclass(frozen=True)
class DayTold:
    """What was said of one partition.

    Attributes:
        partition: The partition.
        verdict: What was said.
        cause: The cause it named.
        sentence: The diagnosis in one sentence.
        done: What came of it.
        premature: It acts, and nothing could show yet.
        due: A renewal by age, before the cause could be identified: no question of the incident.
    """

    partition: str
    verdict: str
    cause: str
    sentence: str
    done: str
    premature: bool = False
    due: bool = False


@dataclass(frozen=True)
class Result:
    """How a drill ended.

    Attributes:
        name: The scenario.
        truth: Its true cause.
        summary: What was done.
        right_verdicts: Verdicts that would have been right.
        onset: First partition changed.
        severity: In units of the deciding statistic's minimal detectable effect.
        amount: The same in natural units.
        seed: Of everything random.
        calendar: Whether the days were in their real order.
        verdict: The verdict that settled it, else the last one; a wrong one where one was given.
        cause: The cause it named.
        right: Whether it is a right one and none before it was wrong.
        cause_right: Whether the cause named is the true one as well.
        why: Why it is right or wrong.
        partition: The partition of the verdict.
        days: Partitions from the onset to it.
        identifiable_after: Partitions from the onset until the cause can be identified.
        sentence: The diagnosis in one sentence.
        evidence: Its first causes.
        steps: The state of each step.
        actions: What was done or refused about verdicts, by partition.
        told: Verdict by partition.
        seconds: Without the shared prefix.
        error: What failed, if the drill could not be played to its end.
        visible: The effect in units of the smallest that can be seen.
        missed: Nothing wrong was said, and it was not found, because the effect is smaller than can be seen,
            or the data end before it can: neither right nor wrong.
    """

    name: str
    truth: str
    summary: str
    right_verdicts: tuple[str, ...]
    onset: str
    severity: float
    amount: str
    seed: int
    calendar: bool
    verdict: str
    cause: str
    right: bool
    cause_right: bool
    why: str
    partition: str
    days: int
    identifiable_after: int
    sentence: str
    evidence: tuple[str, ...]
    steps: dict[str, str]
    actions: tuple[str, ...]
    told: tuple[DayTold, ...]
    seconds: float
    error: str = ""
    visible: float = 1.0
    missed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def told_of(day: Day) -> DayTold:
    """What was said of a day that was played."""
    if day.diagnosed is None:
        return DayTold(day.partition, "no champion", "", day.note, "")
    said = day.diagnosed.diagnosis.verdict
    name = FRESHNESS if (said.name, said.kind) == ("retrain", "freshness") else said.name
    done = day.attempt.outcome if day.attempt is not None else ""
    return DayTold(
        day.partition, name, said.cause, said.sentence, done or (day.refusal and f"refused: {day.refusal}")
    )


def is_wrong(scenario: Scenario, told: DayTold) -> bool:
    """Whether what was said is a wrong answer to the scenario."""
    return told.premature or not (told.due or told.verdict in scenario.right | scenario.meanwhile)


def judged(
    scenario: Scenario,
    context: DrillContext,
    settings: Settings,
    told: Sequence[DayTold],
    days: Sequence[Day],
    error: str,
    seconds: float,
) -> Result:
    """The result of a drill from what was said of its days."""
    final = told[-1] if told else DayTold(context.onset, "nothing", "", "no day could be played", "")
    settles = settling(type(scenario))
    evidence = [d.diagnosed.gathered.evidence for d in days if d.diagnosed is not None]
    right = not (error or is_wrong(scenario, final)) and scenario.is_right(final.verdict, evidence)
    if error:
        why = f"a stage failed: {error}"
    elif final.premature:
        why = f"{final.verdict} is a false alarm: no label of the onset or later was mature yet"
    elif is_wrong(scenario, final):
        why = f"{final.verdict} is wrong where the truth is {scenario.cause}"
    elif final.verdict in settles:
        why = f"{final.verdict} is right"
    elif right:
        why = "nothing wrong was said on any day" if not settles else f"{final.verdict} is right at the end"
    elif final.verdict in scenario.right:
        why = f"{final.verdict} is no answer: {_decided(scenario, evidence)}"
    else:
        why = (
            f"within {len(told)} partitions no right verdict ({', '.join(sorted(scenario.right))}) was given"
        )
        if len(told) <= (least := scenario.identifiable_after(context)):
            why += (
                f"; the cause can be identified after {least}: choose an earlier --onset or a later --horizon"
            )
    visible = scenario.visible(context)
    least = scenario.identifiable_after(context)
    open_ = not (right or error or is_wrong(scenario, final))
    ended = len(told) <= least and final.partition == context.scheme.last_key
    missed = open_ and (ended or (len(told) > least and visible < 1))
    if missed and ended:
        why = (
            f"too little history: the data end with {final.partition}, {len(told) - 1} partitions after the "
            f"onset, and the cause can be identified after {least}, so that this proves nothing"
        )
    elif missed:
        why = (
            f"not found, and nothing wrong was said: the effect is {visible:.2g} of the smallest that can be "
            "seen, so that this proves nothing"
        )
    diagnosis = days[-1].diagnosed.diagnosis if days and days[-1].diagnosed else None
    causes = diagnosis.causes if diagnosis else ()
    named = {final.cause, *(c.name for c in causes if c.state == "FAIL")}
    return Result(
        name=scenario.name,
        truth=scenario.cause,
        summary=scenario.summary,
        right_verdicts=tuple(sorted(scenario.right)),
        onset=context.onset,
        severity=context.severity,
        amount=scenario.amount(context),
        seed=context.seed,
        calendar=settings.calendar,
        verdict=final.verdict,
        cause=final.cause,
        right=right,
        cause_right=scenario.cause in named or (scenario.cause == "none" and not final.cause),
        why=why,
        partition=final.partition,
        days=max(len(told) - 1, 0),
        identifiable_after=scenario.identifiable_after(context),
        sentence=final.sentence,
        evidence=tuple(f"{c.name} {c.state}: {' '.join(c.evidence[:2])}" for c in causes[:3]),
        steps={s.name: s.state for s in diagnosis.steps} if diagnosis else {},
        actions=tuple(f"{t.partition}: {t.verdict} → {t.done}" for t in told if t.done),
        told=tuple(told),
        seconds=round(seconds, 1),
        error=error,
        visible=round(visible, 3),
        missed=missed,
    )


def _decided(scenario: Scenario, evidence: Sequence[Evidence]) -> str:
    """Why patience is not enough."""
    failed = [s.name for s in STEPS if evidence and evidence[-1].of(s.name).failed]
    if failed:
        return f"the evidence fails ({', '.join(failed)}) where the truth is {scenario.cause}"
    return f"what could be measured decides that the truth is {scenario.cause}"
