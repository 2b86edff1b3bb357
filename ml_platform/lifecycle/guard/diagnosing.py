"""Diagnosis as of an instant: evidence, causes, a verdict for the ledger, and the incident it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_platform.diagnosis import incident as incidents
from ml_platform.diagnosis.evidence import IncidentFacts
from ml_platform.diagnosis.incident import Incident as Report
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.lifecycle.guard.evidence import Gathered, gather
from ml_platform.lifecycle.guard.live_reference import freeze
from ml_platform.lifecycle.guard.records import CLOSED, OPEN, incident_of, open_incident
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Hold, Incident, Verdict


@dataclass(frozen=True)
class Diagnosed:
    """A diagnosis with its entry in the ledger.

    Attributes:
        diagnosis: Verdict, causes and steps.
        verdict: The ledger's entry.
        gathered: The evidence and the reports behind it.
        incident: The incident it belongs to, open or just closed.
        new: Whether this day's verdict had not been given before.
    """

    diagnosis: Diagnosis
    verdict: Verdict
    gathered: Gathered
    incident: Incident | None
    new: bool


def diagnose_now(
    platform: Platform,
    target: Target,
    as_of: datetime,
    rebuilt: Mapping[str, pa.Table] | None = None,
    fixed: Sequence[str] = (),
) -> Diagnosed:
    """Gather, diagnose, and enter verdict and incident in the ledger in one transaction.

    The same evidence on the same day gives the same entry: nothing is written twice. Where the champion's
    live reference is due, it is frozen for the days that follow.

    Args:
        platform: The stores.
        target: The model.
        as_of: The present of the timeline.
        rebuilt: Features of the last served partitions, where they have been rebuilt already.
        fixed: Partitions of an incident whose fix has landed: what was served on them stays as it was, and
            says nothing about the present.

    Raises:
        NoChampionError: There is no champion to diagnose.
    """
    current = open_incident(platform, target, as_of)
    facts = _facts(platform, target, current, as_of)
    gathered = gather(platform, target, as_of, facts, rebuilt, fixed)
    model = target.model
    diagnosis = diagnose(gathered.evidence, model.diagnosis, model.retraining)
    data = json.dumps(diagnosis.to_json(), sort_keys=True).encode()
    digest = platform.lake.put(data)
    known = _known(platform, target, diagnosis.partition, digest)
    if known is not None:
        freeze(platform, target, diagnosis)  # a kill may have come between the verdict and it
        return Diagnosed(diagnosis, known, gathered, incident_of(platform, known.incident_id), new=False)
    with platform.ledger.begin() as session:
        row = _enter_incident(session, platform, target, current, diagnosis, as_of)
        _hold(session, target, row, diagnosis, as_of)
        verdict = _entry(target, diagnosis, digest, row, as_of)
        session.add(verdict)
    freeze(platform, target, diagnosis)
    return Diagnosed(diagnosis, verdict, gathered, row, new=True)


def _entry(
    target: Target, diagnosis: Diagnosis, digest: str, row: Incident | None, as_of: datetime
) -> Verdict:
    said = diagnosis.verdict
    wait = said.recheck_at_partitions
    step = timedelta(days=target.use_case.scheme.days)
    return Verdict(
        model_key=target.key,
        partition=diagnosis.partition,
        verdict=said.name,
        kind=said.kind,
        cause=said.cause,
        sentence=said.sentence,
        fingerprint=said.fingerprint,
        incident_id=row.id if row is not None else None,
        diagnosis_digest=digest,
        recheck_at=as_of + wait * step if wait else None,
        as_of=as_of,
        recorded_at=wall_now(),
    )


def _known(platform: Platform, target: Target, partition: str, digest: str) -> Verdict | None:
    query = (
        select(Verdict)
        .where(Verdict.model_key == target.key, Verdict.partition == partition)
        .order_by(Verdict.id.desc())
        .limit(1)
    )
    with platform.ledger.begin() as session:
        last = session.scalars(query).first()
    return last if last is not None and last.diagnosis_digest == digest else None


# --- incidents ----------------------------------------------------------------------------------


def _facts(platform: Platform, target: Target, row: Incident | None, as_of: datetime) -> IncidentFacts | None:
    if row is None:
        return None
    report = Report.from_json(row.report)
    query = select(Attempt.id).where(
        Attempt.model_key == target.key,
        Attempt.fingerprint == row.fingerprint,
        Attempt.outcome.in_(("promoted", "rejected", "rolled_back")),
    )
    with platform.ledger.begin() as session:
        decided = session.scalars(query.limit(1)).first() is not None
    scheme = target.use_case.scheme
    return report.facts(scheme.key_at(as_of), days_per_partition=scheme.days, decided=decided)


def _enter_incident(
    session: Session,
    platform: Platform,
    target: Target,
    row: Incident | None,
    diagnosis: Diagnosis,
    as_of: datetime,
) -> Incident | None:
    current = Report.from_json(row.report) if row is not None else None
    promotion = promotions.champion(platform.ledger, target.key, as_of)
    head = platform.ledger.head(target.asset("predictions"), diagnosis.partition)
    after = incidents.apply(
        current,
        diagnosis,
        model_version=str(promotion.version) if promotion else "",
        predictions=head.rows if head else 0,
    )
    if row is not None and current is not None and (after is None or after.fingerprint != row.fingerprint):
        ended = incidents.close(current, diagnosis.partition, incidents.REPLACED)
        _store(session, row, ended, as_of)
        row = None
    if after is None:
        return None
    if row is None:
        row = Incident(
            model_key=target.key,
            fingerprint=after.fingerprint,
            status=OPEN,
            report=after.to_json(),
            opened_at=as_of,
            updated_at=as_of,
            closed_at=None,
            recorded_at=wall_now(),
        )
        session.add(row)
        session.flush()
        return row
    _store(session, row, after, as_of)
    return row


def _store(session: Session, row: Incident, report: Report, as_of: datetime) -> None:
    """Write an incident's report. What it held stays out of training: its end does not mend the data."""
    row.report, row.updated_at = report.to_json(), as_of
    row.fingerprint = report.fingerprint
    if not report.is_open:
        row.status, row.closed_at = CLOSED, as_of
    session.merge(row)


def _hold(
    session: Session, target: Target, row: Incident | None, diagnosis: Diagnosis, as_of: datetime
) -> None:
    """Keep the verdict's partitions out of training until the incident is over."""
    keys: Sequence[str] = diagnosis.verdict.quarantined
    if row is None or not keys:
        return
    query = select(Hold.partition).where(
        Hold.incident_id == row.id, Hold.partition.in_(keys), Hold.released_at.is_(None)
    )
    known = set(session.scalars(query))
    session.add_all(
        Hold(
            model_key=target.key,
            partition=key,
            incident_id=row.id,
            reason=diagnosis.verdict.cause,
            as_of=as_of,
            released_at=None,
            recorded_at=wall_now(),
        )
        for key in keys
        if key not in known
    )
