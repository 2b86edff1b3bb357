"""After a fix: judge the data again, diagnose again, release what is sound, offer what should be undone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from ml_platform.datasets import versions
from ml_platform.errors import ConflictError, NotFoundError
from ml_platform.lifecycle.guard.diagnosing import diagnose_now
from ml_platform.lifecycle.guard.records import OPEN, close_incident, holds_of, release, require_incident
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.quarantine import replay
from ml_platform.registry import promotions
from ml_platform.storage.tables import Incident

_DATA = "data:"


@dataclass(frozen=True)
class Resolution:
    """What came of it.

    Attributes:
        resolved: The incident is closed and its partitions train again.
        lines: What was done and found, for people.
    """

    resolved: bool
    lines: tuple[str, ...]


def resolve_incident(platform: Platform, incident_id: int, who: str, why: str) -> Resolution:
    """Land the touched partitions again, replay quarantine, diagnose, and close where nothing is broken now.

    Raises:
        NotFoundError: There is no such incident.
        ConflictError: It is closed and holds nothing.
    """
    row = require_incident(platform, incident_id)
    target = platform.target(row.model_key)
    held = [h.partition for h in holds_of(platform, incident_id) if h.released_at is None]
    if row.status != OPEN and not held:
        raise ConflictError(
            f"incident {incident_id} is closed and holds nothing",
            where=row.model_key,
            fix="`ml-platform incident list` shows which are open",
        )
    lines = _deliver_again(platform, target, held or list(row.report["partitions"]))
    now = platform.clock(target.use_case).now()
    found = diagnose_now(platform, target, now)
    said = found.diagnosis.verdict
    lines.append(f"diagnosed again: {said.name}: {said.sentence}")
    if said.cause.startswith(_DATA) and said.cause == row.report["cause"]:
        lines.append(f"incident {incident_id} stays open: the same cause is still there")
        return Resolution(False, tuple(lines))
    _close(platform, target, row, who, why)
    lines.append(f"incident {incident_id} is closed; {len(held)} partition(s) may train again")
    lines += _offers(platform, target, held)
    return Resolution(True, tuple(lines))


def _deliver_again(platform: Platform, target: Target, keys: list[str]) -> list[str]:
    """Land and accept the touched partitions once more, and what their quarantine holds."""
    now = platform.clock(target.use_case).now()
    if not keys:
        return ["no partition is held: nothing to deliver again"]
    reports = ingest(platform, target.use_case, sorted(keys), now)
    lines = [r.sentence() for r in reports if r.partitions]
    for feed in target.use_case.config.feeds:
        for key in sorted(keys):
            if feed.static:
                continue
            try:
                again = replay(platform, feed.name, key)
            except NotFoundError:  # nothing of it is in quarantine
                continue
            if again.partitions:
                lines.append(f"quarantine of {key}: {again.sentence()}")
    return lines or ["the sources deliver what they had delivered before"]


def _close(platform: Platform, target: Target, row: Incident, who: str, why: str) -> None:
    """Close the incident (the diagnosis may have closed it already) and release what it held."""
    now = platform.clock(target.use_case).now()
    with platform.ledger.begin() as session:
        current = session.scalars(select(Incident).where(Incident.id == row.id)).one()
        still_open = current.status == OPEN
        if not still_open:
            release(session, row.id, now)
    if still_open:
        close_incident(platform, target, row.id, who, why, now, free=True)


def _offers(platform: Platform, target: Target, held: list[str]) -> list[str]:
    """The rollback of a champion that was trained on what was held."""
    champion = promotions.champion(platform.ledger, target.key)
    if champion is None or not held:
        return []
    trained = promotions.model(platform.ledger, champion.model_digest)
    dataset = versions.find(platform.ledger, trained.dataset_version)
    used = {p.partition for p in versions.manifest_of(platform.lake, dataset).partitions}
    spoilt = sorted(used & set(held))
    if not spoilt:
        return [f"version {champion.version}, which serves, was not trained on them"]
    return [
        f"version {champion.version}, which serves, was trained on {', '.join(spoilt)}: "
        f"`ml-platform rollback {target.key} --why 'trained on incident data'` restores the one before"
    ]
