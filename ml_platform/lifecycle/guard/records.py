"""Verdicts, incidents and holds in the ledger: read and closed without importing what computes them."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ml_platform.diagnosis import incident as incidents
from ml_platform.diagnosis.incident import Incident as Report
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.errors import NotFoundError, PlatformError
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.storage.tables import Hold, Incident, Verdict

OPEN, CLOSED = "open", "closed"


def verdicts(platform: Platform, target: Target, as_of: datetime | None = None) -> list[Verdict]:
    """Verdicts as they were given, oldest first; up to an instant of the timeline if one is named."""
    query = select(Verdict).where(Verdict.model_key == target.key).order_by(Verdict.as_of, Verdict.id)
    if as_of is not None:
        query = query.where(Verdict.as_of <= as_of)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def verdict_by_id(platform: Platform, verdict_id: int) -> Verdict:
    """A verdict by its number.

    Raises:
        NotFoundError: There is none.
    """
    with platform.ledger.begin() as session:
        found = session.get(Verdict, verdict_id)
    if found is None:
        raise NotFoundError(
            f"there is no verdict {verdict_id}", where="ledger", fix="`ml-platform verdict history`"
        )
    return found


def latest_verdict(platform: Platform, target: Target, as_of: datetime | None = None) -> Verdict:
    """The verdict in force, now or as of an instant.

    Raises:
        NotFoundError: None has been given.
    """
    found = verdicts(platform, target, as_of)
    if not found:
        raise NotFoundError(
            f"no verdict on {target.key} has been given" + (f" by {as_of.isoformat()}" if as_of else ""),
            where="ledger",
            fix=f"`ml-platform run {target.use_case.name}`, or the job {target.use_case.name}_monitor",
        )
    return found[-1]


def diagnosis_of(platform: Platform, verdict: Verdict) -> Diagnosis:
    """The diagnosis behind a verdict, as it was then."""
    return Diagnosis.from_json(json.loads(platform.lake.get(verdict.diagnosis_digest)))


def unanswered_since(
    platform: Platform, target: Target, questions: Collection[str], partition: str, as_of: datetime
) -> dict[str, str]:
    """By question that is UNKNOWN now, the first of the partitions in a row on which it was.

    A partition without a verdict neither ends nor begins a row.
    """
    since, unknown = dict.fromkeys(questions, partition), set(questions)
    given = {v.partition: v for v in verdicts(platform, target, as_of) if v.partition < partition}
    for key in sorted(given, reverse=True):
        try:
            steps = diagnosis_of(platform, given[key]).steps
        except PlatformError:
            break
        unknown &= {s.name for s in steps if s.state == "UNKNOWN"}
        if not unknown:
            break
        since |= dict.fromkeys(unknown, key)
    return since


def incident_of(platform: Platform, incident_id: int | None) -> Incident | None:
    """An incident by its number."""
    if incident_id is None:
        return None
    with platform.ledger.begin() as session:
        return session.get(Incident, incident_id)


def require_incident(platform: Platform, incident_id: int) -> Incident:
    """An incident by its number.

    Raises:
        NotFoundError: There is none.
    """
    found = incident_of(platform, incident_id)
    if found is None:
        raise NotFoundError(
            f"there is no incident {incident_id}", where="ledger", fix="`ml-platform incident list`"
        )
    return found


def holds_of(platform: Platform, incident_id: int) -> list[Hold]:
    """Partitions that an incident holds or has held."""
    query = select(Hold).where(Hold.incident_id == incident_id).order_by(Hold.partition)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def predictions_touched(platform: Platform, row: Incident) -> int:
    """Predictions of the partitions that an incident was seen on or holds, as they stand."""
    keys = {*row.report["partitions"], *(h.partition for h in holds_of(platform, row.id))}
    return sum(h.rows for h in platform.ledger.heads(f"{row.model_key}/predictions", keys).values())


def all_incidents(platform: Platform, target: Target | None = None) -> list[Incident]:
    """Incidents, newest first."""
    query = select(Incident).order_by(Incident.id.desc())
    if target is not None:
        query = query.where(Incident.model_key == target.key)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def open_incident(platform: Platform, target: Target, as_of: datetime | None = None) -> Incident | None:
    """The model's open incident, if there is one."""
    query = select(Incident).where(Incident.model_key == target.key, Incident.status == OPEN)
    if as_of is not None:
        query = query.where(Incident.opened_at <= as_of)
    with platform.ledger.begin() as session:
        return session.scalars(query.order_by(Incident.id.desc()).limit(1)).first()


def cleared_partitions(platform: Platform, target: Target, as_of: datetime) -> set[str]:
    """Partitions of incidents that a person has closed or resolved: what was served on them is known."""
    query = select(Hold, Incident).join(Incident, Incident.id == Hold.incident_id)
    with platform.ledger.begin() as session:
        found = session.execute(query.where(Hold.model_key == target.key)).all()
    return {
        hold.partition
        for hold, incident in found
        if (hold.released_at is not None and hold.released_at <= as_of) or _closed_by_hand(incident, as_of)
    }


def ever_held(platform: Platform, target: Target, as_of: datetime) -> set[str]:
    """Partitions that an incident has held by an instant, whatever became of it."""
    query = select(Hold.partition).where(Hold.model_key == target.key, Hold.as_of <= as_of)
    with platform.ledger.begin() as session:
        return set(session.scalars(query))


def _closed_by_hand(incident: Incident, as_of: datetime) -> bool:
    if incident.closed_at is None or incident.closed_at > as_of:
        return False
    return incident.report.get("closed_by") not in (incidents.RECOVERED, incidents.REPLACED)


def release(session: Session, incident_id: int, as_of: datetime, keep: Collection[str] = ()) -> None:
    """Let an incident's partitions train again, but for some."""
    session.execute(
        update(Hold)
        .where(
            Hold.incident_id == incident_id, Hold.released_at.is_(None), Hold.partition.not_in(sorted(keep))
        )
        .values(released_at=as_of)
    )


def close_incident(
    platform: Platform,
    target: Target,
    incident_id: int,
    who: str,
    why: str,
    as_of: datetime,
    *,
    free: bool,
    keep: Collection[str] = (),
) -> Incident:
    """Close an incident by a person's word.

    Args:
        platform: The stores.
        target: Its model.
        incident_id: Its number.
        who: Who closes it.
        why: The cause, as the person found it.
        as_of: The present of the timeline.
        free: Let the partitions it held train again; else they stay out for good.
        keep: Partitions that stay out all the same.

    Raises:
        NotFoundError: There is no such open incident of this model.
    """
    row = incident_of(platform, incident_id)
    if row is None or row.model_key != target.key or row.status != OPEN:
        raise NotFoundError(
            f"{target.key} has no open incident {incident_id}",
            where="ledger",
            fix="`ml-platform incident list` shows them",
        )
    report = incidents.close(
        Report.from_json(row.report), target.use_case.scheme.key_at(as_of), f"{who}: {why}"
    )
    with platform.ledger.begin() as session:
        row.report, row.updated_at = report.to_json(), as_of
        row.status, row.closed_at = CLOSED, as_of
        session.merge(row)
        if free:
            release(session, row.id, as_of, keep)
    return row
