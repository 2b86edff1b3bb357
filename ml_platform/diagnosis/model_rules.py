"""Steps 7 to 11, the model and the world: the confusable pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from ml_platform.diagnosis import evidence as ev
from ml_platform.diagnosis.draft import Draft, listed, subjects_of
from ml_platform.diagnosis.evidence import ConceptKind, Evidence
from ml_platform.diagnosis.recheck import partitions_until_decidable, smallest_visible
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.numbers import number
from ml_platform.partitions import key_time
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.states import worst


def about_the_model(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    """The first of the rules that speaks; None where all are silent."""
    return (
        _contradiction(evidence, settings)
        or _leakage(evidence)
        or _season(evidence)
        or _rare_day(evidence)
        or _concept(evidence, settings)
        or _new_region(evidence, settings)
        or _suspicion(evidence, settings)
        or _harm(evidence, settings)
    )


def _contradiction(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
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
    subjects = subjects_of(failed)
    return Draft("escalate", "contradiction", f"The causes contradict each other: {reason}.", subjects)


def structural_leak(evidence: Evidence) -> bool:
    """Leakage shows in the data or the features, not only as a gap to the back-test."""
    return any(f.statistic != ev.BACKTEST_GAP for f in evidence.of("leakage").failed)


def _gap_only(evidence: Evidence) -> bool:
    return bool(evidence.of("leakage").failed) and not structural_leak(evidence)


def _began_late(evidence: Evidence, settings: DiagnosisConfig) -> bool:
    """The change began after the promotion by more than an onset's usual error."""
    if evidence.promotion is None or evidence.concept_onset is None:
        return False
    late = key_time(evidence.concept_onset) - key_time(evidence.promotion.partition)
    return late > settings.covariate_partitions * timedelta(days=evidence.days_per_partition)


def _leakage(evidence: Evidence) -> Draft | None:
    failed = evidence.of("leakage").failed
    if not failed:
        return None
    structural = structural_leak(evidence)
    cause = "leakage" if structural else "regression"
    sentence = (
        "The model knows something that it cannot know live."
        if structural
        else "The model has been worse than its back-test from the first day after its promotion."
    )
    return _back_to_previous(cause, sentence, subjects_of(failed), evidence)


def _back_to_previous(
    cause: str, sentence: str, subjects: tuple[str, ...], evidence: Evidence, onset: str | None = None
) -> Draft:
    promotion = evidence.promotion
    first = onset or (promotion.partition if promotion else None)
    if promotion is None or not promotion.previous_exists:
        sentence += " There is no earlier champion to roll back to."
        return Draft("escalate", cause, sentence, subjects, first)
    return Draft("rollback", cause, sentence, subjects, first)


def _season(evidence: Evidence) -> Draft | None:
    if not evidence.older_season_model_wins or not alarmed(evidence):
        return None
    older = evidence.older_season_model
    name = f"version {older.removeprefix('v')}" if older else "an older model"
    sentence = f"The season came back: {name}, which was trained on it, beats the champion."
    found = _back_to_previous("season", sentence, (), evidence, evidence.concept_onset)
    return replace(found, restores=older) if found.name == "rollback" else found


def _rare_day(evidence: Evidence) -> Draft | None:
    vanishing = [f for f in evidence.of("season").failed if f.statistic in (ev.JACKKNIFE, ev.EVENTS)]
    if not vanishing or not alarmed(evidence):
        return None
    # What was known beforehand needs no guess at which day it is.
    chosen = [f for f in vanishing if f.statistic == ev.EVENTS] or vanishing
    days = tuple(sorted({p for f in chosen for p in f.partitions}))
    named = [f"{d} ({evidence.events[d]})" if d in evidence.events else d for d in days]
    sentence = f"A rare day, not a trend: without {listed(named) or 'one day'} the alarm vanishes."
    return Draft("none", "rare_day", sentence, days, days[0] if days else None)


def alarmed(evidence: Evidence) -> bool:
    """The loss rose, or the outcome changed for the same features."""
    return any(evidence.of(step).failed for step in ("harm", "concept"))


def _concept(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    kind, failed = concept_kind(evidence), evidence.of("concept").failed
    if kind == "prior":
        suspicions = evidence.of("concept").suspicions
        if waits := _until_decidable(suspicions, evidence, settings):
            subjects = subjects_of(suspicions)
            sentence = (
                "The level of the outcomes moved; whether it did so everywhere, more labels can decide "
                f"({listed(subjects)})."
            )
            onset = evidence.concept_onset
            return Draft("wait_for_labels", "prior_shift", sentence, subjects, onset, recheck=min(waits))
        sentence = "The level of the outcomes moved and nothing else did: a recalibration is enough."
        return Draft("recalibrate", "prior_shift", sentence, onset=evidence.concept_onset)
    if kind != "concept":
        return None
    subjects = subjects_of(f for f in failed if f.statistic != ev.BIAS)
    sentence = f"The outcome changed for the same features ({listed(subjects)})."
    return Draft("retrain", "concept", sentence, subjects, evidence.concept_onset, kind="incident")


def _new_region(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    regions = [f for f in evidence.of("covariates").failed if f.statistic in ev.UNSEEN_REGION]
    if not regions:
        return None
    subjects = subjects_of(regions)
    onset = min((p for f in regions for p in f.partitions), default=None)
    labelled = max(int(f.facts.get("labelled_rows") or 0) for f in regions)
    name = listed(subjects)
    if labelled < settings.segment_minimum_rows:
        sentence = f"A region that the model has never seen ({name}) has only {labelled} labels yet."
        return Draft("wait_for_labels", "new_region", sentence, subjects, onset, recheck=1)
    sentence = f"A region that the model has never seen ({name}) has {labelled} labels to learn from."
    return Draft("retrain", "new_region", sentence, subjects, onset, kind="incident")


def _suspicion(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    suspicions = evidence.of("concept").suspicions
    if not suspicions:
        return None
    matured = evidence.matured_partitions
    subjects, decidable = subjects_of(suspicions), _until_decidable(suspicions, evidence, settings)
    if decidable:
        sentence = f"A suspicion in {listed(subjects)} that more labels can decide."
        recheck = min(decidable)
        return Draft(
            "wait_for_labels", "concept", sentence, subjects, evidence.concept_onset, recheck=recheck
        )
    if evidence.of("harm").failed:
        return None
    seen = [smallest_visible(f, matured, settings) for f in suspicions]
    least = min((s for s in seen if s is not None), default=None)
    change = "no size" if least is None else f"{number(least)} or more"
    sentence = (
        f"A suspicion in {listed(subjects)} that {settings.maximum_partitions} partitions could not decide: "
        f"a change of {change} could have been seen."
    )
    return Draft("none", "undecidable_suspicion", sentence, subjects)


def _until_decidable(findings: Iterable[Finding], evidence: Evidence, settings: DiagnosisConfig) -> list[int]:
    """Partitions until each can be decided, of those that can."""
    waits = (partitions_until_decidable(f, evidence.matured_partitions, settings) for f in findings)
    return [w for w in waits if w is not None]


def _harm(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    """Steps 7 to 9 together, once the concept is silent."""
    covariates, concept, harm = (evidence.of(s) for s in ("covariates", "concept", "harm"))
    if not harm.failed:
        return _benign(evidence)
    if concept.state == "PASS" or (concept.state == "UNDERPOWERED" and _explained(harm, covariates)):
        return _silent_concept(harm, covariates)
    if concept.state == "UNKNOWN":
        sentence = "The loss rose, and whether the outcome changed for the same features was not measured."
        return Draft("wait_for_labels", "harm", sentence, recheck=1)
    weak = [f for f in concept.items if f.state == "UNDERPOWERED"]
    if decidable := _until_decidable(weak, evidence, settings):
        sentence = "The loss rose, and the cause cannot be told yet."
        return Draft("wait_for_labels", "harm", sentence, recheck=min(decidable))
    sentence = "The loss rose, and no window that is allowed could tell the cause."
    return Draft("escalate", "harm", sentence)


def _benign(evidence: Evidence) -> Draft | None:
    covariates = evidence.of("covariates")
    if not covariates.failed:
        return None
    names = subjects_of(covariates.failed)
    single = [n for n in names if n != "all"]
    what = f"Features drifted ({listed(single)})" if single else "The features drifted as a whole"
    seasonal = any(f.statistic == ev.SAME_SEASON for f in evidence.of("season").failed)
    how = ", as in the same season a year ago," if seasonal else ""
    return Draft("none", "benign_drift", f"{what}{how} without harm: benign.", names)


def _silent_concept(harm: Findings, covariates: Findings) -> Draft:
    if _explained(harm, covariates):
        names = subjects_of(covariates.failed)
        sentence = (
            "The loss rose because the cases became harder, as the features predict; retraining cannot help."
        )
        return Draft("none", "covariate_shift", sentence, names)
    if worst(f.state for f in covariates.items if f.statistic != ev.WEIGHTED_LOSS_CHANGE) == "UNKNOWN":
        sentence = "The loss rose, the outcome did not change, and the features were not measured."
        return Draft("wait_for_labels", "harm", sentence, recheck=1)
    sentence = "The loss rose, and neither the outcome nor the features explain it."
    return Draft("escalate", "contradiction", sentence)


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
