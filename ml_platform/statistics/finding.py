"""The one shape in which a statistic says what it saw, and what it could not have seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ml_platform.statistics.states import State, worst

ROWS_NEEDED = "rows_needed"
"""Of a suspicion that was not tested for want of rows: in its facts, from how many rows on it is tested."""


@dataclass(frozen=True)
class Finding:
    """One statistic about one subject.

    Attributes:
        statistic: What was measured, for example ``null_rate``, ``slope``, ``domain_auc``.
        subject: What it was measured on: ``all``, a feature, ``feed.column``, or ``column=value``.
        state: FAIL: significant and at least the floor. PASS: not so, and an effect of the floor's size
            would have been seen. UNDERPOWERED: it would not have been. UNKNOWN: evidence is missing.
        detail: One sentence for people, with numbers and units.
        estimate: The measured value; None where there is none.
        low: Lower end of its 95 % interval.
        high: Upper end.
        minimal_detectable_effect: Smallest effect that would have been found, in the estimate's unit.
        floor: Least effect that counts, in the estimate's unit.
        p_value: After adjustment over the family it was tested in.
        blocks: Independent blocks (days) behind it.
        rows: Rows behind it.
        partitions: Partitions that broke or carry the effect, in order.
        suspicion: An effect above its floor after shrinkage that is significant alone, but not after
            adjustment or with too few rows to be tested, and that a growing window can decide.
        facts: Further numbers, as plain JSON values.
    """

    statistic: str
    subject: str
    state: State
    detail: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    minimal_detectable_effect: float | None = None
    floor: float | None = None
    p_value: float | None = None
    blocks: int = 0
    rows: int = 0
    partitions: tuple[str, ...] = ()
    suspicion: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """All findings on one question.

    Attributes:
        question: Name of the question, see :data:`ml_platform.diagnosis.steps.STEPS`.
        items: The findings; empty where nothing could be measured.
        reason: Why nothing, or not everything, could be measured.
        state: The worst state of its findings; UNKNOWN without any.
    """

    question: str
    items: tuple[Finding, ...] = ()
    reason: str = ""
    state: State = "UNKNOWN"

    @classmethod
    def of(cls, question: str, items: tuple[Finding, ...] | list[Finding], reason: str = "") -> Findings:
        """Findings with the state that follows from them."""
        return cls(question, tuple(items), reason, worst(f.state for f in items))

    @classmethod
    def unknown(cls, question: str, reason: str) -> Findings:
        """Nothing could be measured, and why: never a pass."""
        return cls(question, (), reason, "UNKNOWN")

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that FAIL."""
        return tuple(f for f in self.items if f.state == "FAIL")

    @property
    def suspicions(self) -> tuple[Finding, ...]:
        """The findings that are suspicions."""
        return tuple(f for f in self.items if f.suspicion)
