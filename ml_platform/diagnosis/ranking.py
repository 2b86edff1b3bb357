"""What of the evidence is shown: ranked causes, and how each step was answered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ml_platform.diagnosis import evidence as ev
from ml_platform.diagnosis.draft import subjects_of
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.model_rules import concept_kind
from ml_platform.diagnosis.steps import DATA_STEPS, STEPS, TERMINATING
from ml_platform.diagnosis.verdict import Cause, StepResult, storable
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.scales import counts_from, scale_of, strength
from ml_platform.statistics.states import State


def causes_of(evidence: Evidence) -> tuple[Cause, ...]:
    """Steps with a FAIL, a suspicion or no evidence: the established first, and among them upstream first."""
    found = [c for s in STEPS if (c := _cause(s.name, evidence.of(s.name), evidence)) is not None]
    order: dict[State, int] = {"FAIL": 0, "UNDERPOWERED": 1, "PASS": 2, "UNKNOWN": 3}
    return tuple(sorted(found, key=lambda c: order[c.state]))


def _cause(step: str, findings: Findings, evidence: Evidence) -> Cause | None:
    shown = findings.failed or findings.suspicions
    if not shown:
        if findings.state != "UNKNOWN" or step not in TERMINATING:
            return None
        return Cause(_cause_name(step, evidence), "UNKNOWN", evidence=(findings.reason or "no evidence",))
    size = partial(strength, step)
    top = storable(max(shown, key=size))
    unit = scale_of(step, top).unit
    limit = "" if top.floor is None else f", counts from {counts_from(step, top)}"
    return Cause(
        name=_cause_name(step, evidence),
        state="FAIL" if findings.failed else "UNDERPOWERED",
        strength=top.estimate,
        unit=f"{unit}, {top.statistic} of {top.subject}{limit}".removeprefix(", "),
        evidence=_told(sorted(shown, key=size, reverse=True)),
        subjects=subjects_of(shown),
    )


def _told(findings: Sequence[Finding], most: int = 5) -> tuple[str, ...]:
    """What was seen, once each: the same of several subjects is one sentence that names them."""
    subjects: dict[str, list[str]] = {}
    for f in findings:
        subjects.setdefault(f.detail, []).append(f.subject)
    told = []
    for detail, names in list(subjects.items())[:most]:
        distinct = list(dict.fromkeys(names))
        told.append(f"{', '.join(distinct)}: {detail}" if len(distinct) > 1 else detail)
    return tuple(told)


def _cause_name(step: str, evidence: Evidence) -> str:
    if step in DATA_STEPS:
        return f"data:{step}"
    if step == "concept" and concept_kind(evidence) == "prior":
        return "prior_shift"
    return step


def steps_of(evidence: Evidence) -> tuple[StepResult, ...]:
    """How each of the eleven questions was answered."""
    return tuple(_step_result(s.name, evidence.of(s.name)) for s in STEPS)


def _step_result(name: str, findings: Findings) -> StepResult:
    at_worst = [f for f in findings.items if f.state == findings.state] or list(findings.items)
    headline = storable(max(at_worst, key=partial(strength, name))) if at_worst else None
    beside = tuple(storable(f) for f in findings.items if f.statistic in ev.BESIDE)
    return StepResult(name, findings.state, headline, len(findings.items), findings.reason, beside)
