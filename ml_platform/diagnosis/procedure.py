"""From evidence to a verdict: the eleven steps in order, the 2×2 and the confusable pairs."""

from __future__ import annotations

from ml_platform.diagnosis.data_rules import broken_data
from ml_platform.diagnosis.draft import Draft, listed
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.explain import mind_changers, next_action, unseen
from ml_platform.diagnosis.fingerprint import family_of, incident_fingerprint
from ml_platform.diagnosis.label_rules import too_few, young_labels
from ml_platform.diagnosis.model_rules import about_the_model
from ml_platform.diagnosis.permits import overdue, permitted, renewal, unanswered
from ml_platform.diagnosis.ranking import causes_of, steps_of
from ml_platform.diagnosis.steps import TERMINATING
from ml_platform.diagnosis.verdict import Diagnosis, Verdict
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig


def diagnose(evidence: Evidence, settings: DiagnosisConfig, retraining: RetrainingConfig) -> Diagnosis:
    """The diagnosis that follows from the evidence; the same evidence always gives the same one."""
    draft = (
        broken_data(evidence)
        or young_labels(evidence, settings)
        or too_few(evidence)
        or permitted(about_the_model(evidence, settings), evidence)
        or _nothing(evidence)
    )
    if draft.name == "none":
        draft = renewal(evidence, retraining) or draft
    draft = unanswered(overdue(draft, evidence, settings, retraining), evidence, settings)
    verdict = _verdict(draft, evidence)
    return Diagnosis(
        model_key=evidence.model_key,
        partition=evidence.partition,
        as_of=evidence.as_of,
        verdict=verdict,
        causes=causes_of(evidence),
        steps=steps_of(evidence),
        events=tuple(f"{key}: {name}" for key, name in sorted(evidence.events.items())),
        would_change_mind=mind_changers(verdict, evidence),
        unseen=unseen(evidence, settings),
        next=next_action(verdict, evidence, retraining),
    )


def _nothing(evidence: Evidence) -> Draft:
    missing = [s for s in TERMINATING if evidence.of(s).state == "UNKNOWN"]
    if missing:
        return Draft("none", "", f"Nothing wrong was found, but {listed(missing)} could not be judged.")
    return Draft("none", "", "Nothing is wrong that could be seen.")


def _verdict(draft: Draft, evidence: Evidence) -> Verdict:
    family = family_of(draft.name, draft.cause)
    identity = incident_fingerprint(
        evidence.model_key, family, draft.cause, draft.subjects, evidence.open_incident
    )
    return Verdict(
        name=draft.name,
        kind=draft.kind,
        sentence=draft.sentence,
        cause=draft.cause,
        fingerprint=identity,
        onset=draft.onset,
        quarantined=draft.quarantined,
        recheck_at_partitions=draft.recheck,
        subjects=draft.subjects,
        restores=draft.restores,
    )
