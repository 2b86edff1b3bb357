"""Life of an incident: opened by a fingerprint, updated while it lasts, closed by a cause."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from typing import Any

from ml_platform.diagnosis.evidence import IncidentFacts
from ml_platform.diagnosis.fingerprint import family_of
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.partitions import key_time

RECOVERED, REPLACED = "recovered", "replaced by another cause"
"""Words for the end of an incident that no person closed."""
ORDINARY_WAITS = frozenset({"immature_labels", "volume"})
"""Waits that come with every young partition: no incident."""


@dataclass(frozen=True)
class Incident:
    """A report on one incident.

    Attributes:
        model_key: The model.
        fingerprint: Its identity.
        cause: Its cause.
        first_partition: Where it was seen first.
        last_partition: Where it was seen last.
        partitions: All partitions on which it was seen.
        subjects: Features, segments or columns touched.
        model_versions: Versions that served while it lasted.
        predictions: Predictions touched.
        verdicts: ``(partition, verdict)``, in order, changes only.
        closed_partition: Where it ended; None while it lasts.
        closed_by: What ended it, for example ``fix`` or ``promotion``.
    """

    model_key: str
    fingerprint: str
    cause: str
    first_partition: str
    last_partition: str
    partitions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    model_versions: tuple[str, ...] = ()
    predictions: int = 0
    verdicts: tuple[tuple[str, str], ...] = ()
    closed_partition: str | None = None
    closed_by: str | None = None

    @property
    def is_open(self) -> bool:
        """It has not been closed."""
        return self.closed_partition is None

    def facts(self, partition: str, *, days_per_partition: float = 1, decided: bool = False) -> IncidentFacts:
        """What the next diagnosis has to know of it."""
        passed = key_time(partition) - key_time(self.first_partition)
        family = family_of(self.verdicts[-1][1] if self.verdicts else "", self.cause)
        since = round(passed / timedelta(days=days_per_partition))
        return IncidentFacts(
            self.fingerprint, self.first_partition, since, self.cause, family, self.subjects, decided
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return plain | {"verdicts": [list(v) for v in self.verdicts]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Incident:
        """The incident that :meth:`to_json` wrote."""
        known = {f.name for f in fields(cls)}
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in known}
        return cls(**plain | {"verdicts": tuple((p, v) for p, v in value["verdicts"])})


def opens(diagnosis: Diagnosis) -> bool:
    """The verdict is an incident: not silence, a renewal, or the usual wait for young labels."""
    verdict = diagnosis.verdict
    return not (verdict.name == "none" or verdict.kind == "freshness" or verdict.cause in ORDINARY_WAITS)


def apply(
    current: Incident | None,
    diagnosis: Diagnosis,
    *,
    model_version: str = "",
    predictions: int = 0,
    closed_by: str = RECOVERED,
) -> Incident | None:
    """The incident after one more diagnosis.

    The same partition twice changes nothing but its verdict. Ordinary waits neither open nor close:
    they say that nothing could be seen.

    Args:
        current: The latest incident of the model, open or closed.
        diagnosis: Of one partition.
        model_version: That served it.
        predictions: Made on it.
        closed_by: The word for the end when the diagnosis ends it.

    Returns:
        The incident, open or just closed; None without one. When another incident replaces an open
        one, the new one: close the old one first with :func:`close`.
    """
    live = current if current and current.is_open else None
    if not opens(diagnosis):
        if live is None or diagnosis.verdict.cause in ORDINARY_WAITS:
            return live
        return close(live, diagnosis.partition, closed_by)
    if live is None or live.fingerprint != diagnosis.verdict.fingerprint:
        live = _opened(diagnosis)
    return _seen(live, diagnosis, model_version, predictions)


def close(incident: Incident, partition: str, closed_by: str) -> Incident:
    """The incident, ended on a partition by a cause."""
    return replace(incident, closed_partition=partition, closed_by=closed_by)


def _opened(diagnosis: Diagnosis) -> Incident:
    verdict, partition = diagnosis.verdict, diagnosis.partition
    return Incident(diagnosis.model_key, verdict.fingerprint, verdict.cause, partition, partition)


def _seen(incident: Incident, diagnosis: Diagnosis, model_version: str, predictions: int) -> Incident:
    partition, name = diagnosis.partition, diagnosis.verdict.name
    is_new = partition not in incident.partitions
    verdicts = tuple(v for v in incident.verdicts if v[0] != partition)
    if not verdicts or verdicts[-1][1] != name:
        verdicts = (*verdicts, (partition, name))
    versions = {*incident.model_versions, model_version} - {""}
    return replace(
        incident,
        last_partition=max(incident.last_partition, partition),
        partitions=tuple(sorted({*incident.partitions, partition})),
        subjects=tuple(sorted({*incident.subjects, *diagnosis.verdict.subjects})),
        model_versions=tuple(sorted(versions)),
        predictions=incident.predictions + (predictions if is_new else 0),
        verdicts=verdicts,
    )
