"""What may not be done, what is due anyway, and what takes too long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ml_platform.diagnosis import evidence as ev
from ml_platform.diagnosis.draft import Draft, listed
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.incident import ORDINARY_WAITS
from ml_platform.diagnosis.model_rules import alarmed
from ml_platform.diagnosis.steps import STEPS, TERMINATING
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.partitions import key_time

_UNDECIDED = frozenset({"wait_for_labels", "retrain", "recalibrate"})
_ACTS_ON_MODEL = frozenset({"retrain", "recalibrate"})


def permitted(draft: Draft | None, evidence: Evidence) -> Draft | None:
    """No change of the model on missing evidence or on a window that is not green."""
    if draft is None or draft.name not in _ACTS_ON_MODEL:
        return draft
    missing = [s for s in TERMINATING if evidence.of(s).state == "UNKNOWN"]
    if missing:
        sentence = f"{draft.sentence} But evidence is missing ({listed(missing)}): nothing may be trained."
        return replace(draft, name="wait_for_labels", kind=None, sentence=sentence, recheck=1)
    if draft.name == "retrain" and evidence.training.partitions is None:
        sentence = f"{draft.sentence} But the training window is not known, so nothing may be trained."
        return replace(draft, name="wait_for_labels", kind=None, sentence=sentence, recheck=1)
    if draft.name == "retrain" and evidence.training.not_green:
        held = tuple(sorted(evidence.training.not_green))
        sentence = (
            f"{draft.sentence} But {len(held)} partition(s) of the training window are not green: "
            f"{listed(held)}."
        )
        return replace(draft, name="fix_data", kind=None, sentence=sentence, quarantined=held)
    return draft


def renewal(evidence: Evidence, retraining: RetrainingConfig) -> Draft | None:
    """A renewal by age, where nothing else is the matter."""
    promotion = evidence.promotion
    if promotion is None or promotion.age_partitions < retraining.freshness_partitions:
        return None
    green = all(evidence.of(s.name).state == "PASS" for s in STEPS[:6])
    training = evidence.training
    # Features that move with the season every year are no reason to keep an old model.
    rare = [f for f in evidence.of("season").failed if f.statistic != ev.SAME_SEASON]
    calm = not alarmed(evidence) and not rare
    if not (green and calm) or training.not_green or training.partitions is None or evidence.open_incident:
        return None
    age = promotion.age_partitions
    sentence = f"Nothing is wrong; the champion was promoted {age} partitions ago and is due for renewal."
    return Draft("retrain", "freshness", sentence, kind="freshness")


def overdue(
    draft: Draft, evidence: Evidence, settings: DiagnosisConfig, retraining: RetrainingConfig
) -> Draft:
    """A person decides when an incident outlives its deadline."""
    incident, limit = evidence.open_incident, settings.label_horizon + retraining.deadline_partitions
    if incident is None or incident.decided or incident.partitions_since <= limit:
        return draft
    if draft.name not in _UNDECIDED or draft.kind == "freshness":
        return draft
    sentence = (
        f"The incident of {incident.first_partition} is open for {incident.partitions_since} partitions "
        f"without a decision (deadline {limit}). {draft.sentence}"
    )
    return replace(draft, name="escalate", kind=None, sentence=sentence, recheck=None)


def unanswered(draft: Draft, evidence: Evidence, settings: DiagnosisConfig) -> Draft:
    """A person is asked where evidence has been missing for long and no incident would tell anybody."""
    incident = evidence.open_incident
    if draft.name != "none" and draft.cause not in ORDINARY_WAITS:
        return draft
    if incident is not None and incident.cause != ev.UNANSWERED:
        return draft
    missing = {s: evidence.unanswered_since.get(s) for s in TERMINATING if evidence.of(s).state == "UNKNOWN"}
    since = {
        s: first
        for s, first in missing.items()
        if first and _count(first, evidence) > settings.unknown_partitions
    }
    if not since:
        return draft
    first, step = min((when, s) for s, when in since.items())
    sentence = (
        f"There has been no evidence on {listed(since)} for {_count(first, evidence)} partitions (since "
        f"{first}, limit {settings.unknown_partitions}): {_why(step, evidence)}. "
        "A person has to find out why."
    )
    return Draft("escalate", ev.UNANSWERED, sentence, tuple(sorted(since)), first)


def _count(first: str, evidence: Evidence) -> int:
    """Partitions from one to the present, both counted."""
    passed = key_time(evidence.partition) - key_time(first)
    return 1 + round(passed / timedelta(days=evidence.days_per_partition))


def _why(step: str, evidence: Evidence) -> str:
    """Why a question has no answer."""
    findings = evidence.of(step)
    return findings.reason or next((f.detail for f in findings.items if f.state == "UNKNOWN"), "no finding")
