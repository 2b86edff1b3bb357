"""What would change the verdict's mind, what could not be seen, and what happens next."""

from __future__ import annotations

from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.label_rules import overdue_partitions
from ml_platform.diagnosis.steps import STEPS, TERMINATING
from ml_platform.diagnosis.verdict import Verdict
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.numbers import number

_MIND: dict[str, tuple[str, ...]] = {
    "none": ("a FAIL of any step, or a suspicion that more labels can decide",),
    "fix_data": ("the partitions, delivered again, pass steps 1 to 5",),
    "fix_serving": ("served features equal the rebuilt ones", "the feed itself turns out to be broken too"),
    "block_training": ("the training code rebuilds what was served", "serving turns out to be broken too"),
    "wait_for_labels": ("the labels that are still to come",),
    "recalibrate": ("a slope or a contrast that fails on recalibrated residuals: a concept drift",),
    "rollback": ("the previous champion loses to this one on the same days",),
    "retrain": ("a data incident in the training window", "the loss is flat without a single day"),
    "escalate": ("a person's decision",),
}


def mind_changers(verdict: Verdict, evidence: Evidence) -> tuple[str, ...]:
    """Observations that would lead to another verdict."""
    missing = [f"evidence on '{s}'" for s in TERMINATING if evidence.of(s).state == "UNKNOWN"]
    return (*_MIND[verdict.name], *missing)


def unseen(evidence: Evidence, settings: DiagnosisConfig) -> tuple[str, ...]:
    """What the evidence could not show: what is missing, and effects below what was detectable."""
    sentences = []
    for step in STEPS:
        findings = evidence.of(step.name)
        if not findings.items:
            sentences.append(f"{step.name}: {findings.reason or 'no finding'}")
        sentences += [f"{step.name}: {f.detail}" for f in findings.items if f.state == "UNKNOWN"]
        weak = [f for f in findings.items if f.state == "UNDERPOWERED"]
        if not weak:
            continue
        known = [f.minimal_detectable_effect for f in weak if f.minimal_detectable_effect is not None]
        least = f"; changes below {number(min(known))} could not be seen" if known else ""
        sentences.append(f"{step.name}: {len(weak)} of {len(findings.items)} tests are underpowered{least}")
    return tuple(sentences)


def next_action(verdict: Verdict, evidence: Evidence, retraining: RetrainingConfig) -> str:
    """What happens next and when, in one or two sentences."""
    gate = retraining.freshness_gate if verdict.kind == "freshness" else retraining.incident_gate
    started = "A challenger is trained" if retraining.mode == "automatic" else "Nothing starts (mode: off)"
    count = len(verdict.quarantined)
    held = f"{count} partition(s) neither train nor promote. " if count else ""
    wait = verdict.recheck_at_partitions
    late = " Overdue ones may never come: look at their feed." if overdue_partitions(evidence) else ""
    earlier = f"version {verdict.restores.removeprefix('v')}" if verdict.restores else "the previous champion"
    return {
        "none": "Nothing. The next partition is diagnosed as usual.",
        "wait_for_labels": f"It is judged again in {wait} partition(s), with the labels that have come by "
        f"then.{late}",
        "fix_data": f"{held}When the fix lands, it is diagnosed again; what was trained on them is undone.",
        "fix_serving": f"{held}When serving is fixed, the next partition is diagnosed again. Features that "
        "look further back than `history_partitions` differ so, too: `ml-platform use-case check` tells.",
        "block_training": f"{held}Serving goes on. When the training code is fixed, it is diagnosed again.",
        "recalibrate": f"A calibrator is fitted on {retraining.calibration_partitions} matured partitions "
        f"and must improve the {retraining.calibration_gate} after them.",
        "rollback": f"The pointer goes back to {earlier}; the ledger says why.",
        "retrain": f"{started}, if every guard agrees; it is judged on {gate} partitions "
        "before it may be promoted.",
        "escalate": "A person decides; the evidence is attached. Nothing is trained until then.",
    }[verdict.name]
