"""Steps 1 to 4, the data: what broke, and by the 2×2 of served against rebuilt on which side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from ml_platform.diagnosis.draft import Draft, capital, listed, subjects_of
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.steps import DATA_STEPS
from ml_platform.diagnosis.verdict import VerdictName
from ml_platform.statistics.finding import Finding

Side = Literal["upstream", "serving", "training"]
_FIX: dict[Side, VerdictName] = {
    "upstream": "fix_data",
    "serving": "fix_serving",
    "training": "block_training",
}


def side_of(subjects: Iterable[str], evidence: Evidence) -> Side:
    """The 2×2 of served against rebuilt: where the features broke; upstream when neither side tells."""
    found = set(subjects)
    served, rebuilt = evidence.broken_served, evidence.broken_rebuilt
    if found and found <= served - rebuilt:
        return "serving"
    if found and found <= rebuilt - served:
        return "training"
    return "upstream"


def broken_data(evidence: Evidence) -> Draft | None:
    """What of steps 1 to 4 broke; None where the data are sound or nothing is known."""
    drafts = [d for step in DATA_STEPS for d in _step_drafts(step, evidence)]
    drafts += _two_by_two(evidence, {name for d in drafts for name in d.subjects})
    if not drafts:
        return None
    # Upstream first: what broke at the source explains what is broken further down.
    first = min(drafts, key=lambda d: 0 if d.name == "fix_data" and d.cause != "data:label_definition" else 1)
    quarantined = {p for d in drafts for p in d.quarantined} or {evidence.partition}
    return replace(first, quarantined=tuple(sorted(quarantined)))


def _step_drafts(step: str, evidence: Evidence) -> list[Draft]:
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


def _two_by_two(evidence: Evidence, named: set[str]) -> list[Draft]:
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
) -> Draft:
    found = tuple(failed)
    names = subjects_of(found) if subjects is None else subjects
    if found and all(f.statistic == "label_before_prediction" for f in found):
        sentence = (
            f"Labels were known when they were predicted ({listed(names)}): the cutoff is too late for them, "
            "or the feed's known_at too early."
        )
    elif step == "label_definition" and all(f.statistic == "constant_label" for f in found):
        sentence = f"The label tells nothing any more: {found[0].detail}. Its feed or SQL is the incident."
    elif step == "label_definition":
        sentence = "The label's meaning changed: labels rebuilt with the training version are different."
    else:
        sentence = f"{capital(_WHAT[step])} {_WHERE[side]} ({listed(names)})."
    partitions = tuple(sorted({p for f in found for p in f.partitions}))
    onset = partitions[0] if partitions else None
    cause = f"data:{step}" if side == "upstream" else f"data:{side}"
    return Draft(_FIX[side], cause, sentence, names, onset, partitions)
