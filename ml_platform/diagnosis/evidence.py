"""Everything a diagnosis may look at, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ml_platform.statistics.finding import Findings

ConceptKind = Literal["none", "prior", "concept"]
NOT_MEASURED = "was not measured"

# Names of statistics on which a rule turns; all others are only shown.
BIAS = "bias"
DELAY_HAZARD = "delay_hazard"
"""On ``maturity``: labels arrive by another law than the reference's."""
POSITIVE_HAZARD = "positive_hazard"
"""The same where negatives come at the horizon only: the outcome, or its delay, changed."""
ESTIMATED_LOSS_CHANGE = "estimated_loss_change"
"""On ``covariates``: loss change expected from X alone, in the unit of the loss."""
WEIGHTED_LOSS_CHANGE = "density_weighted_loss_change"
"""The same by curves of reference rows that are weighted to look like the current ones; it is looked at where
something fired, and UNKNOWN where too few rows look so."""
BESIDE = frozenset({ESTIMATED_LOSS_CHANGE, WEIGHTED_LOSS_CHANGE})
"""Shown beside the realised loss, whatever else the step's headline is."""
UNSEEN_REGION = frozenset({"unseen_region", "new_categories"})
"""On ``covariates``, with the region as subject; ``facts["labelled_rows"]`` counts the labels there are.
A low effective sample alone is none: rows of a day share its shocks (measured: 15 % between a calm week of
July and the May before)."""
BACKTEST_GAP = "live_gap"
"""On ``leakage``: the first live loss is above the back-test's; all others there prove leakage itself."""
JACKKNIFE = "single_day"
"""On ``season``: FAIL when the alarm vanishes without one day, which ``partitions`` names."""
EVENTS = "known_events"
"""On ``season``: FAIL when the alarm vanishes without the days of known events."""
SAME_SEASON = "same_season"
"""On ``season``: FAIL when the features drifted, and look as they did in the same season a year ago."""
UNANSWERED = "unknown_evidence"
"""The cause where a question of steps 1 to 5 has had no evidence for long and nothing else is an incident."""


@dataclass(frozen=True)
class PromotionFacts:
    """The promotion in force.

    Attributes:
        version: Model version.
        as_of: Instant of the promotion.
        partition: First partition that it scored.
        age_partitions: Age by the timeline's clock.
        partitions_since: Partitions scored since.
        matured_since: Of these, how many have mature labels.
        action: Ledger's word: ``first``, ``promote``, ``rollback``.
        previous_exists: There is a champion to roll back to.
    """

    version: str
    as_of: datetime
    partition: str
    age_partitions: int
    partitions_since: int
    matured_since: int
    action: str = "promote"
    previous_exists: bool = True


@dataclass(frozen=True)
class TrainingFacts:
    """The window a retrain would use.

    Attributes:
        not_green: Partition to the reason why it is held or quarantined (steps 1 to 5).
        partitions: Partitions in the window; None when the window is not known, which blocks.
    """

    not_green: Mapping[str, str] = field(default_factory=dict)
    partitions: int | None = None


@dataclass(frozen=True)
class IncidentFacts:
    """The open incident.

    Attributes:
        fingerprint: Its identity.
        first_partition: Where it was seen first.
        partitions_since: Partitions from then to now.
        cause: Its cause, which with the family and overlapping subjects keeps the fingerprint.
        family: ``data`` or ``model``.
        subjects: Features, segments or columns.
        decided: A person or a gate has decided what to do.
    """

    fingerprint: str
    first_partition: str
    partitions_since: int
    cause: str = ""
    family: str = ""
    subjects: tuple[str, ...] = ()
    decided: bool = False


@dataclass(frozen=True)
class Evidence:
    """The evidence of one model at one instant.

    Attributes:
        model_key: ``<use case>/<model>``.
        partition: The partition that is diagnosed.
        as_of: Instant at which all of it was known.
        findings: By question; a missing question is UNKNOWN.
        broken_served: Features that look broken as they were served.
        broken_rebuilt: Features that look broken as the training code rebuilds them.
        concept_kind: What step 8 concluded; None when it concluded nothing.
        concept_onset: Estimated first partition of the change.
        matured_partitions: Matured partitions in the window of steps 7 and 8.
        promotion: The promotion in force; None without a champion.
        training: The window a retrain would use.
        older_season_model_wins: An earlier champion that was trained on this season of an earlier year beats
            the one in force on the same recent days; None where that could not be judged.
        older_season_model: That earlier champion's version, for example ``v2``.
        open_incident: The incident that is open, if any.
        unanswered_since: By question that is UNKNOWN, the first of the partitions in a row on which it was.
        events: Names of known events by partition, among those that are looked at.
        days_per_partition: Width of a partition.
    """

    model_key: str
    partition: str
    as_of: datetime
    findings: Mapping[str, Findings]
    broken_served: frozenset[str] = frozenset()
    broken_rebuilt: frozenset[str] = frozenset()
    concept_kind: ConceptKind | None = None
    concept_onset: str | None = None
    matured_partitions: int = 0
    promotion: PromotionFacts | None = None
    training: TrainingFacts = TrainingFacts()
    older_season_model_wins: bool | None = None
    older_season_model: str | None = None
    open_incident: IncidentFacts | None = None
    unanswered_since: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)
    days_per_partition: float = 1

    def of(self, question: str) -> Findings:
        """The findings on a question; UNKNOWN when it was not measured."""
        return self.findings.get(question) or Findings.unknown(question, NOT_MEASURED)
