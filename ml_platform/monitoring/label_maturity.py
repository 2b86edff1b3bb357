"""Which partitions' labels may be used, how, and from when on: the one model of label maturity.

Training asks it which labels may enter, monitoring what may be judged and with which weights, and the
diagnosis whether labels arrive as they used to. Behind it are the law of arrival (``arrival_law``) and the
test of recent against historic delay (``label_delay``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
from scipy import stats

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.arrival_law import BINARY, ArrivalLaw, LabelAges, arrival_law, label_ages
from ml_platform.monitoring.label_delay import delay_change
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import Table, finite
from ml_platform.statistics.states import State, worst

QUESTION = "maturity"
_CHANCE = 0.00135
"""How often chance may leave a complete cohort with fewer labels than are asked for (three errors)."""
MOST_MISSING = 0.1
"""A young cohort that lacks more of the labels due by now is not judged with weights: its law is in doubt."""
Maturity = Literal["mature", "weighted", "immature", "overdue"]


@dataclass(frozen=True)
class Cohort:
    """The labels of one partition at an instant, and what may be done with them.

    Attributes:
        partition_key: The partition.
        maturity: ``mature``: aged and complete, judge it and train on it; ``weighted``: young, judge it with
            weights 1/F beside the mature ones; ``immature``: wait; ``overdue``: aged, and labels are missing.
        age_hours: From its last event to the instant.
        rows: Entities.
        known: Labels known.
        share_known: ``known / rows``.
        expected: Share that the law has known at its rows' ages; None without a law.
        missing: Share of the labels due by now that are missing, each by the law of its own class; None where
            the cohort is too young to say.
        by_class: F of each class at its rows' ages; None for a class that was never seen.
        effective_share: Effective sample of the labels weighted by 1/F (Kish 1965), as a share of its rows.
        mature_at: When so much of every class is known by the law, ISO 8601; None without one.
    """

    partition_key: str
    maturity: Maturity
    age_hours: float
    rows: int
    known: int
    share_known: float
    expected: float | None
    missing: float | None
    by_class: dict[str, float | None]
    effective_share: float
    mature_at: str | None


@dataclass(frozen=True, eq=False)
class LabelMaturity:
    """Label maturity at an instant.

    Attributes:
        as_of: The instant, ISO 8601.
        law: How labels arrive.
        cohorts: One per partition, in the order of time.
        usable: The finding ``maturity``: may anything be judged, and is anything overdue?
        delay: The finding ``delay_hazard`` or ``positive_hazard``: do labels arrive as they used to?
    """

    as_of: str
    law: ArrivalLaw
    cohorts: tuple[Cohort, ...]
    usable: Finding
    delay: Finding

    def named(self, *maturity: Maturity) -> list[str]:
        """Partitions of some maturities, in the order of time."""
        return [c.partition_key for c in self.cohorts if c.maturity in maturity]

    def of(self, key: str) -> Cohort | None:
        """The cohort of a partition."""
        return next((c for c in self.cohorts if c.partition_key == key), None)

    @property
    def last_mature(self) -> str | None:
        """The last partition that may be judged without weights."""
        return max(self.named("mature"), default=None)

    @property
    def state(self) -> State:
        """Do labels arrive as they used to, and did all come that should have?"""
        return "FAIL" if self.usable.state == "FAIL" else self.delay.state

    @property
    def findings(self) -> Findings:
        """For the diagnosis: a delay test that saw nothing may alarm, and decides nothing else.

        With few cohorts it has too little power, which must not keep mature ones from being judged.
        """
        found = Findings.of(QUESTION, [self.usable, self.delay])
        deciding = [self.usable] + ([self.delay] if self.delay.state == "FAIL" else [])
        return replace(found, state=worst(f.state for f in deciding))

    def sentence(self) -> str:
        """For people."""
        return f"{self.usable.detail}; {self.delay.detail}"

    def record(self) -> dict[str, Any]:
        """The whole as plain JSON values, for the ledger."""
        return {
            "as_of": self.as_of,
            "law": {
                "last_aged": self.law.last_aged,
                "cohorts": self.law.cohorts,
                "rows": dict(zip(self.law.classes, self.law.rows, strict=True)),
                "ultimate": finite(self.law.ultimate),
                "curves": self.law.sketch(),
            },
            "cohorts": [asdict(c) for c in self.cohorts],
            "findings": [asdict(self.usable), asdict(self.delay)],
        }


def label_maturity(
    labels: Table,
    as_of: datetime,
    *,
    last_aged: str,
    settings: DiagnosisConfig,
    first_aged: str = "",
    label: str = "label",
    classes: tuple[str, ...] = BINARY,
) -> LabelMaturity:
    """Fit the law, and say of each partition what may be done with its labels.

    A partition is mature when it is aged and has the share ``mature_share`` of the labels that ever come. A
    younger one is weighted when F of every class is at least ``weighted_share``, the effective sample
    at least ``effective_share`` of its rows, and no more labels are missing than the law explains. With
    ``early_positives`` a negative is one only when the horizon is reached: F of negatives is 0 until then, so
    that weights never apply: young cohorts are judged by the arrival of their positives alone.

    Args:
        labels: One row per entity: ``partition_key``, ``event_time``, the label (null while unknown),
            ``label_known_at``. What is known after ``as_of`` counts as unknown.
        as_of: Instant with an offset.
        last_aged: Last partition whose labels should all be known by now (``UseCase.last_mature``).
        settings: ``mature_share``, ``weighted_share``, ``effective_share``, ``early_positives``, ``p_value``.
        first_aged: First partition that the law is fitted on, and that recent delays are compared with;
            earlier ones are judged by it.
        label: Column of the label.
        classes: Names of the label's values 0, 1, ...; a single one where labels have no classes.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    rows = label_ages(labels, label, as_of, classes)
    law = arrival_law(rows, last_aged=last_aged, first_aged=first_aged)
    cohorts = tuple(_cohort(key, part, law, as_of, settings) for key, part in rows.by_cohort())
    compared = rows.only(rows.partition >= first_aged) if first_aged else rows
    return LabelMaturity(
        as_of=as_of.isoformat(),
        law=law,
        cohorts=cohorts,
        usable=_usable(cohorts, law),
        delay=delay_change(compared, law, settings),
    )


def row_weights(labels: Table, law: ArrivalLaw, as_of: datetime, label: str) -> Floats:
    """(n,) weight 1 / F(age | class) of each label that is known, 0 of the others; rows as given.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    rows = label_ages(labels, label, as_of, law.classes)
    weights = np.zeros(rows.age.size)
    weights[rows.known] = law.weights(rows.age[rows.known], rows.code[rows.known])
    return weights


def effective_sample(weights: Floats) -> float:
    """Size of an unweighted sample that says as much (Kish 1965)."""
    total = float((weights**2).sum())
    return float(weights.sum()) ** 2 / total if total else 0.0


def _cohort(key: str, rows: LabelAges, law: ArrivalLaw, as_of: datetime, settings: DiagnosisConfig) -> Cohort:
    aged, known = key <= law.last_aged, rows.known
    shares = law.shares(rows.age).mean(axis=1)
    effective = effective_sample(law.weights(rows.age[known], rows.code[known])) / known.size
    # A positive that has not come may be a negative that is to come: nothing is missing until the horizon.
    missing = None if settings.early_positives and not aged else law.missing(rows)
    share, last_event = float(known.mean()), as_of - timedelta(hours=float(rows.age.min()))
    mature_at = law.mature_at(last_event, settings.mature_share)
    maturity: Maturity = "immature"
    if aged:
        maturity = "mature" if known.any() and share >= _asked(law, known.size, settings) else "overdue"
    elif _may_be_weighted(shares, effective, missing, settings):
        maturity = "weighted"
    return Cohort(
        partition_key=key,
        maturity=maturity,
        age_hours=float(rows.age.min()),
        rows=known.size,
        known=int(known.sum()),
        share_known=share,
        expected=finite(law.expected(rows.age)),
        missing=finite(missing),
        by_class={name: finite(value) for name, value in zip(law.classes, shares, strict=True)},
        effective_share=effective,
        mature_at=mature_at.isoformat() if mature_at else None,
    )


def _asked(law: ArrivalLaw, rows: int, settings: DiagnosisConfig) -> float:
    """Least share known of a complete cohort; chance is allowed for, because not every label ever comes.

    That none of a thousand aged ones is missing does not say that none ever will be (rule of succession): one
    of eighteen would otherwise make a day overdue for as long as it is looked at.
    """
    never = max(1 - law.ultimate, 1 / (sum(law.rows) + 2))
    by_chance = float(stats.binom.isf(_CHANCE, rows, never)) / rows
    return settings.mature_share * law.ultimate - max(0.0, by_chance - never)


def _may_be_weighted(
    shares: Floats, effective: float, missing: float | None, settings: DiagnosisConfig
) -> bool:
    """F and effective sample are large enough, and labels are there as the law has them."""
    if settings.early_positives or missing is None or missing > MOST_MISSING:
        return False
    # A class that was never seen has no F, and NaN is not at least anything.
    return bool((shares >= settings.weighted_share).all()) and effective >= settings.effective_share


def _usable(cohorts: tuple[Cohort, ...], law: ArrivalLaw) -> Finding:
    if not cohorts or not law.is_known:
        return Finding(
            QUESTION, "all", "UNKNOWN", "no label of an aged cohort is known: there is no law of arrival"
        )
    counts: Mapping[str, int] = {
        name: sum(c.maturity == name for c in cohorts)
        for name in ("mature", "weighted", "immature", "overdue")
    }
    late = tuple(c.partition_key for c in cohorts if c.maturity == "overdue")
    waiting = [c for c in cohorts if c.maturity == "immature"]
    judged = counts["mature"] + counts["weighted"]
    text = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    return Finding(
        statistic=QUESTION,
        subject="all",
        state="FAIL" if late else "PASS" if judged else "UNDERPOWERED",
        detail=f"partitions: {text}",
        estimate=judged / len(cohorts),
        blocks=len(cohorts),
        rows=sum(c.rows for c in cohorts),
        partitions=late or tuple(c.partition_key for c in waiting),
        facts={**counts, "next_mature_at": min((c.mature_at for c in waiting if c.mature_at), default=None)},
    )
