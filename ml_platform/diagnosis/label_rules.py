"""Steps 5 and 6, the labels: are they mature, and are there enough to judge?"""

from __future__ import annotations

from ml_platform.diagnosis import evidence as ev
from ml_platform.diagnosis.draft import Draft, listed, subjects_of
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.model_rules import structural_leak
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.statistics.finding import Finding


def young_labels(evidence: Evidence, settings: DiagnosisConfig) -> Draft | None:
    """Labels that are immature or arrive by another law; None where they may be judged."""
    findings = evidence.of("maturity")
    hazard = [f for f in findings.failed if f.statistic == ev.DELAY_HAZARD]
    if hazard:
        partitions = tuple(sorted({p for f in hazard for p in f.partitions}))
        return Draft(
            "fix_data",
            "data:label_delay",
            "Labels arrive by another law than before: the label pipeline is the incident.",
            subjects_of(hazard),
            partitions[0] if partitions else None,
            partitions,
        )
    early = [f for f in findings.failed if f.statistic == ev.POSITIVE_HAZARD]
    if early:
        return _early_positives(early)
    if findings.state in ("FAIL", "UNDERPOWERED"):
        late = overdue_partitions(evidence)
        sentence = "The labels are not mature yet, so a loss would be judged on the fast ones alone."
        if late:
            sentence = (
                f"Labels of {len(late)} partition(s) are overdue ({listed(late)}): they should all be known, "
                "and a loss would be judged on those that came alone."
            )
        return Draft("wait_for_labels", "immature_labels", sentence, recheck=max(1, settings.label_horizon))
    return None


def overdue_partitions(evidence: Evidence) -> tuple[str, ...]:
    """Partitions of which labels are missing that should have come; they may never come."""
    late = [f for f in evidence.of("maturity").failed if f.facts.get("overdue")]
    return tuple(sorted({p for f in late for p in f.partitions}))


def _early_positives(failed: list[Finding]) -> Draft:
    """Until the horizon a positive that is missing may come late or never: only a person can ask around."""
    partitions = tuple(sorted({p for f in failed for p in f.partitions}))
    change = max((f.estimate or 0.0 for f in failed), key=abs)
    sentence = (
        f"Positives of young cohorts arrive at a rate {change:+.0%} from the reference's; whether there are "
        f"{'more' if change > 0 else 'fewer'} of them or they come {'sooner' if change > 0 else 'later'} "
        "cannot be told before their labels are complete."
    )
    return Draft("escalate", "positive_hazard", sentence, subjects_of(failed), next(iter(partitions), None))


def too_few(evidence: Evidence) -> Draft | None:
    """Too few matured rows, or of one class; None where there are enough, or a leak needs none."""
    findings = evidence.of("volume")
    if findings.state == "PASS":
        return None
    # Leakage that shows in the data or the features needs no live labels.
    if structural_leak(evidence):
        return None
    if findings.state == "UNKNOWN":
        reason = f"nothing says whether there is enough to judge ({findings.reason or 'no finding'})"
        return Draft("wait_for_labels", "volume", f"Wait: {reason}.", recheck=1)
    few = [f for f in findings.items if f.state != "PASS"]
    rows = next((f for f in few if f.statistic == "rows"), None)
    if rows is not None and not rows.estimate:
        sentence = "No label of what the model served is mature yet."
    else:
        sentence = f"Too little to judge the model: {', '.join(f.detail for f in few)}."
    recheck = max((_until_enough(f) for f in few), default=1)
    return Draft("wait_for_labels", "volume", sentence, recheck=recheck)


def _until_enough(finding: Finding) -> int:
    """Partitions until a growing count reaches its floor at its present pace."""
    if not finding.estimate or finding.floor is None or not finding.blocks:
        return 1
    pace = finding.estimate / finding.blocks
    return max(1, -int(-(finding.floor - finding.estimate) // pace))
