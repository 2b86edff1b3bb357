"""From evidence to a verdict: the eleven steps in order, the 2×2 and the confusable pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from ml_platform.diagnosis import evidence as ev
from ml_platform.diagnosis.evidence import ConceptKind, Evidence
from ml_platform.diagnosis.explain import mind_changers, next_action, unseen
from ml_platform.diagnosis.fingerprint import family_of, incident_fingerprint
from ml_platform.diagnosis.recheck import partitions_until_decidable, smallest_visible
from ml_platform.diagnosis.steps import DATA_STEPS, STEPS, TERMINATING
from ml_platform.diagnosis.verdict import (
    Cause,
    Diagnosis,
    RetrainKind,
    StepResult,
    Verdict,
    VerdictName,
    storable,
)
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.partitions import key_time
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.states import State, worst

Side = Literal["upstream", "serving", "training"]
_FIX: dict[Side, VerdictName] = {
    "upstream": "fix_data",
    "serving": "fix_serving",
    "training": "block_training",
}
_UNDECIDED = frozenset({"wait_for_labels", "retrain", "recalibrate"})
_ACTS_ON_MODEL = frozenset({"retrain", "recalibrate"})


@dataclass(frozen=True)
class _Draft:
    """A verdict before its fingerprint."""

    name: VerdictName
    cause: str
    sentence: str
    subjects: tuple[str, ...] = ()
    onset: str | None = None
    quarantined: tuple[str, ...] = ()
    recheck: int | None = None
    kind: RetrainKind | None = None
    restores: str | None = None


def diagnose(evidence: Evidence, settings: DiagnosisConfig, retraining: RetrainingConfig) -> Diagnosis:
    """The diagnosis that follows from the evidence; the same evidence always gives the same one."""
    draft = (
        _broken_data(evidence)
        or _labels(evidence, settings)
        or _volume(evidence)
        or _permitted(_model(evidence, settings), evidence)
        or _nothing(evidence)
    )
    if draft.name == "none":
        draft = _freshness(evidence, retraining) or draft
    verdict = _verdict(_overdue(draft, evidence, settings, retraining), evidence)
    return Diagnosis(
        model_key=evidence.model_key,
        partition=evidence.partition,
        as_of=evidence.as_of,
        verdict=verdict,
        causes=_causes(evidence),
        steps=_steps(evidence),
        would_change_mind=mind_changers(verdict, evidence),
        unseen=unseen(evidence, settings),
        next=next_action(verdict, retraining),
    )


def concept_kind(evidence: Evidence) -> ConceptKind | None:
    """What step 8 says: as concluded by it, else from the findings that fail.

    Bias comes first: a bias alone is a prior shift; only a slope or a contrast, which are tested
    on recalibrated residuals, is a concept drift.
    """
    if evidence.concept_kind is not None:
        return evidence.concept_kind
    failed = evidence.of("concept").failed
    if any(f.statistic != ev.BIAS for f in failed):
        return "concept"
    if failed:
        return "prior"
    return None if evidence.of("concept").state == "UNKNOWN" else "none"


def side_of(subjects: Iterable[str], evidence: Evidence) -> Side:
    """The 2×2 of served against rebuilt: where the features broke; upstream when neither side tells."""
    found = set(subjects)
    served, rebuilt = evidence.broken_served, evidence.broken_rebuilt
    if found and found <= served - rebuilt:
        return "serving"
    if found and found <= rebuilt - served:
        return "training"
    return "upstream"


# Steps 1 to 4: the data.


def _broken_data(evidence: Evidence) -> _Draft | None:
    drafts = [d for step in DATA_STEPS for d in _step_drafts(step, evidence)]
    drafts += _two_by_two(evidence, {name for d in drafts for name in d.subjects})
    if not drafts:
        return None
    # Upstream first: what broke at the source explains what is broken further down.
    first = min(drafts, key=lambda d: 0 if d.name == "fix_data" and d.cause != "data:label_definition" else 1)
    quarantined = {p for d in drafts for p in d.quarantined} or {evidence.partition}
    return replace(first, quarantined=tuple(sorted(quarantined)))


def _step_drafts(step: str, evidence: Evidence) -> list[_Draft]:
    failed = evidence.of(step).failed
    if not failed:
        return []
    if step == "label_definition":
        return [_data_draft("upstream", step, failed)]
    groups: dict[Side, list[Finding]] = {}
    for finding in failed:
        groups.setdefault(_finding_side(step, finding, evidence), []).append(finding)
    return [_data_draft(side, step, groups[side]) for side in _FIX if side in groups]


def _finding_side(step: str, finding: Finding, evidence: Evidence) -> Side:
    side = side_of([finding.subject], evidence)
    if side != "upstream" or finding.subject in evidence.broken_rebuilt:
        return side
    # A mismatch of features that look sound on both sides is still a mismatch: serving is suspected. So it is
    # where what was served breaks the contract and rebuilding the same rows gives other, sound values.
    mismatched = {f.subject for f in evidence.of("skew").failed}
    return "serving" if step == "skew" or finding.subject in mismatched else side


def _two_by_two(evidence: Evidence, named: set[str]) -> list[_Draft]:
    """Features that broke and are not named by a finding of steps 1 to 4."""
    served, rebuilt = evidence.broken_served - named, evidence.broken_rebuilt - named
    cells: dict[Side, frozenset[str]] = {
        "upstream": served & rebuilt,
        "serving": served - rebuilt,
        "training": rebuilt - served,
    }
    return [_data_draft(side, "features", (), tuple(sorted(names))) for side, names in cells.items() if names]


_WHERE: dict[Side, str] = {
    "upstream": "broke upstream: it is so in what was served and in what is rebuilt",
    "serving": "broke in serving: rebuilding it with the training code gives other values",
    "training": "broke in the training pipeline, though serving is sound",
}
_WHAT = {"contract": "the data", "units": "a unit", "skew": "a feature", "features": "a feature"}


def _data_draft(
    side: Side, step: str, failed: Iterable[Finding], subjects: tuple[str, ...] | None = None
) -> _Draft:
    found = tuple(failed)
    names = _subjects(found) if subjects is None else subjects
    if step == "label_definition":
        sentence = "The label's meaning changed: labels rebuilt with the training version are different."
    else:
        sentence = f"{_capital(_WHAT[step])} {_WHERE[side]} ({_listed(names)})."
    partitions = tuple(sorted({p for f in found for p in f.partitions}))
    onset = partitions[0] if partitions else None
    cause = f"data:{step}" if side == "upstream" else f"data:{side}"
    return _Draft(_FIX[side], cause, sentence, names, onset, partitions)


# Steps 5 and 6: the labels.


def _labels(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    findings = evidence.of("maturity")
    hazard = [f for f in findings.failed if f.statistic == ev.DELAY_HAZARD]
    if hazard:
        partitions = tuple(sorted({p for f in hazard for p in f.partitions}))
        return _Draft(
            "fix_data",
            "data:label_delay",
            "Labels arrive by another law than before: the label pipeline is the incident.",
            _subjects(hazard),
            partitions[0] if partitions else None,
            partitions,
        )
    early = [f for f in findings.failed if f.statistic == ev.POSITIVE_HAZARD]
    if early:
        return _early_positives(early)
    if findings.state in ("FAIL", "UNDERPOWERED"):
        return _Draft(
            "wait_for_labels",
            "immature_labels",
            "The labels are not mature yet, so a loss would be judged on the fast ones alone.",
            recheck=max(1, settings.label_horizon),
        )
    return None


def _early_positives(failed: list[Finding]) -> _Draft:
    """Until the horizon a positive that is missing may come late or never: only a person can ask around."""
    partitions = tuple(sorted({p for f in failed for p in f.partitions}))
    change = max((f.estimate or 0.0 for f in failed), key=abs)
    sentence = (
        f"Positives of young cohorts arrive at a rate {change:+.0%} from the reference's; whether there are "
        f"{'more' if change > 0 else 'fewer'} of them or they come {'sooner' if change > 0 else 'later'} "
        "cannot be told before their labels are complete."
    )
    return _Draft("escalate", "positive_hazard", sentence, _subjects(failed), next(iter(partitions), None))


def _volume(evidence: Evidence) -> _Draft | None:
    findings = evidence.of("volume")
    if findings.state == "PASS":
        return None
    # Leakage that shows in the data or the features needs no live labels.
    if _structural_leak(evidence):
        return None
    if findings.state == "UNKNOWN":
        reason = f"nothing says whether there is enough to judge ({findings.reason or 'no finding'})"
        return _Draft("wait_for_labels", "volume", f"Wait: {reason}.", recheck=1)
    return _Draft(
        "wait_for_labels",
        "volume",
        "Too few matured rows, or rows of one class, to judge the model.",
        recheck=max((_until_enough(f) for f in findings.items if f.state != "PASS"), default=1),
    )


def _until_enough(finding: Finding) -> int:
    """Partitions until a growing count reaches its floor at its present pace."""
    if not finding.estimate or finding.floor is None or not finding.blocks:
        return 1
    pace = finding.estimate / finding.blocks
    return max(1, -int(-(finding.floor - finding.estimate) // pace))


# Steps 7 to 11: the model and the world.


def _model(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    return (
        _contradiction(evidence, settings)
        or _leakage(evidence)
        or _season(evidence)
        or _rare_day(evidence)
        or _concept(evidence)
        or _new_region(evidence, settings)
        or _suspicion(evidence, settings)
        or _harm(evidence, settings)
    )


def _contradiction(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    failed = evidence.of("concept").failed
    if evidence.concept_kind == "none" and failed:
        reason = "step 8 concludes that nothing changed, and one of its findings fails"
    elif evidence.concept_kind == "prior" and any(f.statistic != ev.BIAS for f in failed):
        reason = "step 8 concludes a prior shift, and a slope or a contrast fails"
    elif evidence.concept_kind in ("prior", "concept") and not failed:
        reason = "step 8 concludes a change, and none of its findings fails"
    elif _gap_only(evidence) and failed and _began_late(evidence, settings):
        reason = "the loss was too high from the first day after promotion, and the change began later"
    else:
        return None
    subjects = _subjects(failed)
    return _Draft("escalate", "contradiction", f"The causes contradict each other: {reason}.", subjects)


def _structural_leak(evidence: Evidence) -> bool:
    return any(f.statistic != ev.BACKTEST_GAP for f in evidence.of("leakage").failed)


def _gap_only(evidence: Evidence) -> bool:
    return bool(evidence.of("leakage").failed) and not _structural_leak(evidence)


def _began_late(evidence: Evidence, settings: DiagnosisConfig) -> bool:
    """The change began after the promotion by more than an onset's usual error."""
    if evidence.promotion is None or evidence.concept_onset is None:
        return False
    late = key_time(evidence.concept_onset) - key_time(evidence.promotion.partition)
    return late > settings.covariate_partitions * timedelta(days=evidence.days_per_partition)


def _leakage(evidence: Evidence) -> _Draft | None:
    failed = evidence.of("leakage").failed
    if not failed:
        return None
    structural = _structural_leak(evidence)
    cause = "leakage" if structural else "regression"
    sentence = (
        "The model knows something that it cannot know live."
        if structural
        else "The model has been worse than its back-test from the first day after its promotion."
    )
    return _back_to_previous(cause, sentence, _subjects(failed), evidence)


def _back_to_previous(
    cause: str, sentence: str, subjects: tuple[str, ...], evidence: Evidence, onset: str | None = None
) -> _Draft:
    promotion = evidence.promotion
    first = onset or (promotion.partition if promotion else None)
    if promotion is None or not promotion.previous_exists:
        sentence += " There is no earlier champion to roll back to."
        return _Draft("escalate", cause, sentence, subjects, first)
    return _Draft("rollback", cause, sentence, subjects, first)


def _season(evidence: Evidence) -> _Draft | None:
    if not evidence.older_season_model_wins or not _alarmed(evidence):
        return None
    older = evidence.older_season_model
    name = f"version {older.removeprefix('v')}" if older else "an older model"
    sentence = f"The season came back: {name}, which was trained on it, beats the champion."
    found = _back_to_previous("season", sentence, (), evidence, evidence.concept_onset)
    return replace(found, restores=older) if found.name == "rollback" else found


def _rare_day(evidence: Evidence) -> _Draft | None:
    vanishing = [f for f in evidence.of("season").failed if f.statistic == ev.JACKKNIFE]
    if not vanishing or not _alarmed(evidence):
        return None
    days = tuple(sorted({p for f in vanishing for p in f.partitions}))
    sentence = f"A rare day, not a trend: without {_listed(days) or 'one day'} the alarm vanishes."
    return _Draft("none", "rare_day", sentence, days, days[0] if days else None)


def _alarmed(evidence: Evidence) -> bool:
    return any(evidence.of(step).failed for step in ("harm", "concept"))


def _concept(evidence: Evidence) -> _Draft | None:
    kind, failed = concept_kind(evidence), evidence.of("concept").failed
    if kind == "prior":
        sentence = "The level of the outcomes moved and nothing else did: a recalibration is enough."
        return _Draft("recalibrate", "prior_shift", sentence, onset=evidence.concept_onset)
    if kind != "concept":
        return None
    subjects = _subjects(f for f in failed if f.statistic != ev.BIAS)
    sentence = f"The outcome changed for the same features ({_listed(subjects)})."
    return _Draft("retrain", "concept", sentence, subjects, evidence.concept_onset, kind="incident")


def _new_region(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    regions = [f for f in evidence.of("covariates").failed if f.statistic in ev.UNSEEN_REGION]
    if not regions:
        return None
    subjects = _subjects(regions)
    onset = min((p for f in regions for p in f.partitions), default=None)
    labelled = max(int(f.facts.get("labelled_rows") or 0) for f in regions)
    name = _listed(subjects)
    if labelled < settings.segment_minimum_rows:
        sentence = f"A region that the model has never seen ({name}) has only {labelled} labels yet."
        return _Draft("wait_for_labels", "new_region", sentence, subjects, onset, recheck=1)
    sentence = f"A region that the model has never seen ({name}) has {labelled} labels to learn from."
    return _Draft("retrain", "new_region", sentence, subjects, onset, kind="incident")


def _suspicion(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    suspicions = evidence.of("concept").suspicions
    if not suspicions:
        return None
    matured = evidence.matured_partitions
    waits = [partitions_until_decidable(f, matured, settings) for f in suspicions]
    subjects, decidable = _subjects(suspicions), [w for w in waits if w is not None]
    if decidable:
        sentence = f"A suspicion in {_listed(subjects)} that more labels can decide."
        recheck = min(decidable)
        return _Draft(
            "wait_for_labels", "concept", sentence, subjects, evidence.concept_onset, recheck=recheck
        )
    if evidence.of("harm").failed:
        return None
    seen = [smallest_visible(f, matured, settings) for f in suspicions]
    least = min((s for s in seen if s is not None), default=None)
    change = "no size" if least is None else f"{least:.3g} or more"
    sentence = (
        f"A suspicion in {_listed(subjects)} that {settings.maximum_partitions} partitions could not decide: "
        f"a change of {change} could have been seen."
    )
    return _Draft("none", "undecidable_suspicion", sentence, subjects)


def _harm(evidence: Evidence, settings: DiagnosisConfig) -> _Draft | None:
    """Steps 7 to 9 together, once the concept is silent."""
    covariates, concept, harm = (evidence.of(s) for s in ("covariates", "concept", "harm"))
    if not harm.failed:
        return _benign(covariates)
    if concept.state == "PASS" or (concept.state == "UNDERPOWERED" and _explained(harm, covariates)):
        return _silent_concept(harm, covariates)
    if concept.state == "UNKNOWN":
        sentence = "The loss rose, and whether the outcome changed for the same features was not measured."
        return _Draft("wait_for_labels", "harm", sentence, recheck=1)
    waits = [partitions_until_decidable(f, evidence.matured_partitions, settings) for f in concept.items]
    decidable = [w for f, w in zip(concept.items, waits, strict=True) if w and f.state == "UNDERPOWERED"]
    if decidable:
        sentence = "The loss rose, and the cause cannot be told yet."
        return _Draft("wait_for_labels", "harm", sentence, recheck=min(decidable))
    sentence = "The loss rose, and no window that is allowed could tell the cause."
    return _Draft("escalate", "harm", sentence)


def _benign(covariates: Findings) -> _Draft | None:
    if not covariates.failed:
        return None
    names = _subjects(covariates.failed)
    sentence = f"Features drifted ({_listed(names)}) without harm: benign."
    return _Draft("none", "benign_drift", sentence, names)


def _silent_concept(harm: Findings, covariates: Findings) -> _Draft:
    if _explained(harm, covariates):
        names = _subjects(covariates.failed)
        sentence = (
            "The loss rose because the cases became harder, as the features predict; retraining cannot help."
        )
        return _Draft("none", "covariate_shift", sentence, names)
    if worst(f.state for f in covariates.items if f.statistic != ev.WEIGHTED_LOSS_CHANGE) == "UNKNOWN":
        sentence = "The loss rose, the outcome did not change, and the features were not measured."
        return _Draft("wait_for_labels", "harm", sentence, recheck=1)
    sentence = "The loss rose, and neither the outcome nor the features explain it."
    return _Draft("escalate", "contradiction", sentence)


def _explained(harm: Findings, covariates: Findings) -> bool:
    """X alone predicts a rise at least half as large as the one that was measured."""
    rise = max((f.estimate or 0.0 for f in harm.failed), default=0.0)
    expected = _expected_change(covariates)
    return expected is not None and expected.state == "FAIL" and (expected.estimate or 0.0) >= rise / 2 > 0


def _expected_change(covariates: Findings) -> Finding | None:
    """The change that X alone predicts: density-weighted where enough rows carry the weights, else CBPE's."""
    found = {f.statistic: f for f in covariates.items}
    weighted = found.get(ev.WEIGHTED_LOSS_CHANGE)
    return weighted if weighted and weighted.state != "UNKNOWN" else found.get(ev.ESTIMATED_LOSS_CHANGE)


# What may not be done, what is due anyway, and what takes too long.


def _permitted(draft: _Draft | None, evidence: Evidence) -> _Draft | None:
    """No change of the model on missing evidence or on a window that is not green."""
    if draft is None or draft.name not in _ACTS_ON_MODEL:
        return draft
    missing = [s for s in TERMINATING if evidence.of(s).state == "UNKNOWN"]
    if missing:
        sentence = f"{draft.sentence} But evidence is missing ({_listed(missing)}): nothing may be trained."
        return replace(draft, name="wait_for_labels", kind=None, sentence=sentence, recheck=1)
    if draft.name == "retrain" and evidence.training.partitions is None:
        sentence = f"{draft.sentence} But the training window is not known, so nothing may be trained."
        return replace(draft, name="wait_for_labels", kind=None, sentence=sentence, recheck=1)
    if draft.name == "retrain" and evidence.training.not_green:
        held = tuple(sorted(evidence.training.not_green))
        sentence = (
            f"{draft.sentence} But {len(held)} partition(s) of the training window are not green: "
            f"{_listed(held)}."
        )
        return replace(draft, name="fix_data", kind=None, sentence=sentence, quarantined=held)
    return draft


def _freshness(evidence: Evidence, retraining: RetrainingConfig) -> _Draft | None:
    promotion = evidence.promotion
    if promotion is None or promotion.age_partitions < retraining.freshness_partitions:
        return None
    green = all(evidence.of(s.name).state == "PASS" for s in STEPS[:6])
    training = evidence.training
    calm = not _alarmed(evidence) and not evidence.of("season").failed
    if not (green and calm) or training.not_green or training.partitions is None or evidence.open_incident:
        return None
    age = promotion.age_partitions
    sentence = f"Nothing is wrong; the champion was promoted {age} partitions ago and is due for renewal."
    return _Draft("retrain", "freshness", sentence, kind="freshness")


def _nothing(evidence: Evidence) -> _Draft:
    missing = [s for s in TERMINATING if evidence.of(s).state == "UNKNOWN"]
    if missing:
        return _Draft("none", "", f"Nothing wrong was found, but {_listed(missing)} could not be judged.")
    return _Draft("none", "", "Nothing is wrong that could be seen.")


def _overdue(
    draft: _Draft, evidence: Evidence, settings: DiagnosisConfig, retraining: RetrainingConfig
) -> _Draft:
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


def _verdict(draft: _Draft, evidence: Evidence) -> Verdict:
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


# What is shown.


def _causes(evidence: Evidence) -> tuple[Cause, ...]:
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
    top = storable(max(shown, key=_strength))
    floor = "" if top.floor is None else f", floor {top.floor:g}"
    return Cause(
        name=_cause_name(step, evidence),
        state="FAIL" if findings.failed else "UNDERPOWERED",
        strength=top.estimate,
        unit=f"{top.statistic} of {top.subject}{floor}",
        evidence=tuple(f.detail for f in sorted(shown, key=_strength, reverse=True)[:5]),
        subjects=_subjects(shown),
    )


def _cause_name(step: str, evidence: Evidence) -> str:
    if step in DATA_STEPS:
        return f"data:{step}"
    if step == "concept" and concept_kind(evidence) == "prior":
        return "prior_shift"
    return step


def _steps(evidence: Evidence) -> tuple[StepResult, ...]:
    return tuple(_step_result(s.name, evidence.of(s.name)) for s in STEPS)


def _step_result(name: str, findings: Findings) -> StepResult:
    at_worst = [f for f in findings.items if f.state == findings.state] or list(findings.items)
    headline = storable(max(at_worst, key=_strength)) if at_worst else None
    beside = tuple(storable(f) for f in findings.items if f.statistic in ev.BESIDE)
    return StepResult(name, findings.state, headline, len(findings.items), findings.reason, beside)


def _strength(finding: Finding) -> float:
    """Size of the effect in floors, so that findings in different units can be ranked."""
    if finding.estimate is None or finding.estimate != finding.estimate:
        return -1.0
    return abs(finding.estimate) / finding.floor if finding.floor else abs(finding.estimate)


def _subjects(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(sorted({f.subject for f in findings}))


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
