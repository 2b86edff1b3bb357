"""What a diagnosis says, as immutable values that go to plain JSON and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from ml_platform.statistics.finding import Finding
from ml_platform.statistics.states import State

VerdictName = Literal[
    "none",
    "wait_for_labels",
    "fix_data",
    "fix_serving",
    "block_training",
    "recalibrate",
    "rollback",
    "retrain",
    "escalate",
]
RetrainKind = Literal["incident", "freshness"]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        name: One of the nine verdicts.
        kind: Of a retrain only.
        sentence: One plain sentence.
        cause: Name of the cause it follows from; empty when nothing is wrong.
        fingerprint: Identity of the incident.
        onset: Estimated first partition of the cause.
        quarantined: Partitions that must neither train nor promote.
        recheck_at_partitions: Partitions from now after which it can be decided.
        subjects: Features, segments or columns concerned.
        restores: Of a rollback, the version to go back to; the one before the champion when None.
    """

    name: VerdictName
    kind: RetrainKind | None
    sentence: str
    cause: str
    fingerprint: str
    onset: str | None = None
    quarantined: tuple[str, ...] = ()
    recheck_at_partitions: int | None = None
    subjects: tuple[str, ...] = ()
    restores: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return _plain(asdict(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that :meth:`to_json` wrote."""
        return cls(**_tupled(cls, value))


@dataclass(frozen=True)
class Cause:
    """One possible cause.

    Attributes:
        name: For example ``data:contract``, ``concept``.
        state: How sure it is: FAIL is established, UNDERPOWERED a suspicion, UNKNOWN not measured.
        strength: Size of its largest effect; None when it has none.
        unit: Of the strength, for example ``share of values, null_rate of temp, counts from 0.05``.
        evidence: Sentences with numbers.
        subjects: Features, segments or columns.
    """

    name: str
    state: State
    strength: float | None = None
    unit: str = ""
    evidence: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """How one question was answered.

    Attributes:
        name: Question, see :data:`ml_platform.diagnosis.steps.STEPS`.
        state: The worst state of its findings.
        headline: The finding that matters most; None without any.
        findings: How many there are.
        reason: Why nothing, or not everything, was measured.
        beside: Findings that are shown whatever the headline is.
    """

    name: str
    state: State
    headline: Finding | None
    findings: int
    reason: str = ""
    beside: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """A verdict and all that it rests on.

    Attributes:
        model_key: The model.
        partition: The partition diagnosed.
        as_of: Instant of the evidence.
        verdict: What to do.
        causes: Ranked: upstream first.
        steps: All eleven.
        would_change_mind: Observations that would change the verdict.
        unseen: What could not be seen.
        next: What happens next and when.
        events: Known events among the partitions looked at, for people.
    """

    model_key: str
    partition: str
    as_of: datetime
    verdict: Verdict
    causes: tuple[Cause, ...]
    steps: tuple[StepResult, ...]
    would_change_mind: tuple[str, ...]
    unseen: tuple[str, ...]
    next: str
    events: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the version of this shape."""
        return _plain({**asdict(self), "as_of": self.as_of.isoformat(), "schema_version": SCHEMA_VERSION})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Diagnosis:
        """The diagnosis that :meth:`to_json` wrote."""
        known = _tupled(cls, value)
        known["as_of"] = datetime.fromisoformat(value["as_of"])
        known["verdict"] = Verdict.from_json(value["verdict"])
        known["causes"] = tuple(Cause(**_tupled(Cause, c)) for c in value["causes"])
        known["steps"] = tuple(_step(s) for s in value["steps"])
        return cls(**known)


def storable(finding: Finding) -> Finding:
    """The finding with plain facts, and without infinite or undefined numbers, which JSON has not."""
    numbers = {
        f.name: None
        for f in fields(finding)
        if isinstance(v := getattr(finding, f.name), float) and not math.isfinite(v)
    }
    return replace(finding, facts=_plain(_finite(finding.facts)), **numbers)  # type: ignore[arg-type]


def _step(value: Mapping[str, Any]) -> StepResult:
    headline = value["headline"]
    known = {
        "headline": headline and Finding(**_tupled(Finding, headline)),
        "beside": tuple(Finding(**_tupled(Finding, f)) for f in value.get("beside", ())),
    }
    return StepResult(**{**value, **known})


def _tupled(cls: type[Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a dataclass; its sequences are tuples, facts stay as they are."""
    names = {f.name for f in fields(cls)}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in names}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False, default=str))
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value
