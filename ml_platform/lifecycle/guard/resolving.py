"""After a fix: judge the data again, diagnose again, release what is sound, offer what should be undone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow.compute as pc
from sqlalchemy import select

from ml_platform.datasets import versions
from ml_platform.errors import ConflictError, NotFoundError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.diagnosing import diagnose_now
from ml_platform.lifecycle.guard.records import OPEN, close_incident, holds_of, release, require_incident
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.quarantine import replay
from ml_platform.lifecycle.reference import reference_of, with_features_of
from ml_platform.lifecycle.timing import is_current
from ml_platform.monitoring.breaks import data_breaks
from ml_platform.monitoring.units import unit_changes
from ml_platform.registry import promotions
from ml_platform.storage.tables import Incident

_DATA = "data:"
_ABOUT_LABELS = frozenset({"data:label_delay", "data:label_definition"})
"""Causes whose evidence is labels, which a fix brings in again; all others lie in what was served."""


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
    touched = held or list(row.report["partitions"])
    lines = _deliver_again(platform, target, touched)
    now = platform.clock(target.use_case).now()
    cause = str(row.report["cause"])
    is_served = cause.startswith(_DATA) and cause not in _ABOUT_LABELS
    otherwise = is_served and _served_otherwise(platform, target, touched)
    if otherwise:
        early = _still_early(platform, target, touched, now)
        if early:
            lines.append(f"incident {incident_id} stays open: {early}")
            return Resolution(False, tuple(lines))
    elif is_served and not _served_since(platform, target, max(touched, default="")):
        following = target.use_case.scheme.shift(max(touched, default=row.report["last_partition"]), 1)
        lines.append(
            f"incident {incident_id} stays open: nothing was served since, so that nobody can see whether it "
            f"is mended; ask again once {following} or a later partition is served"
        )
        return Resolution(False, tuple(lines))
    found = diagnose_now(platform, target, now, fixed=touched if is_served else ())
    said = found.diagnosis.verdict
    lines.append(f"diagnosed again: {said.name}: {said.sentence}")
    if said.cause.startswith(_DATA) and said.cause == cause:
        lines.append(f"incident {incident_id} stays open: the same cause is still there")
        return Resolution(False, tuple(lines))
    spoilt = _still_broken(platform, target, held, now) if is_served else []
    _close(platform, target, row, who, why, spoilt)
    lines.append(f"incident {incident_id} is closed; {len(held) - len(spoilt)} partition(s) may train again")
    if spoilt:
        lines.append(f"{', '.join(spoilt)} stay out of training: their features, as known then, are broken")
    lines += _offers(platform, target, held)
    return Resolution(True, tuple(lines))


def _served_since(platform: Platform, target: Target, last: str) -> bool:
    """A partition was scored after the incident's: only there a fix of what is served can be seen."""
    return any(key > last for key in platform.ledger.heads(predictions_asset(target)))


def _served_otherwise(platform: Platform, target: Target, keys: list[str]) -> bool:
    """All that was served on them was served under another cutoff or known_at than today's settings.

    That it is mended shows in the settings then, and in what they rebuild: none has to be served for it.
    """
    heads = platform.ledger.heads(predictions_asset(target), keys)
    return bool(heads) and not any(is_current(target.use_case, k, h.details) for k, h in heads.items())


def _still_early(platform: Platform, target: Target, keys: list[str], now: datetime) -> str:
    """Says so where labels are known at today's cutoffs, too."""
    labels = views.labels_of(platform, target, keys, now)
    rows = None if labels is None else labels.filter(pc.is_valid(labels[target.model.label.column]))
    if rows is None or not rows.num_rows:  # missing evidence is no pass
        return "under today's settings no row of these partitions has a label, so that nothing can be judged"
    cutoffs = {k: target.use_case.cutoff(k) for k in keys}
    pairs = zip(rows["partition_key"].to_pylist(), rows[views.KNOWN_AT].to_pylist(), strict=True)
    early = sum(known is not None and known <= cutoffs[key] for key, known in pairs)
    if early <= target.model.diagnosis.mismatch_share * rows.num_rows:
        return ""
    return (
        f"{early:,} of {rows.num_rows:,} labels are still known at the cutoff that use_case.yaml says now; "
        "let it be earlier, or correct known_at of the label's feed"
    )


def _still_broken(platform: Platform, target: Target, keys: list[str], now: datetime) -> list[str]:
    """Partitions whose features, rebuilt from what was known at their cutoffs, break contract or unit.

    A correction that comes later is not visible at the cutoff, so that it mends no training row.
    """
    champion = promotions.require_champion(platform.ledger, target.key, now)
    frozen = reference_of(platform, target, champion, now)
    if frozen.rows is None:
        return keys  # missing evidence is no pass
    model, settings = with_features_of(frozen.rows, target.model), target.model.diagnosis
    numeric = [f.name for f in model.features if f.kind == "numeric" and not f.runs_with_time]
    broken = []
    for key, rows in views.compute(platform, target.use_case, "features", keys, now).items():
        if not rows.num_rows:
            continue
        found = data_breaks(
            frozen.rows, rows, columns=model.feature_names, segments=(), settings=settings
        ).failed
        if numeric:
            found += unit_changes(frozen.rows, rows, columns=numeric, segment=None, settings=settings).failed
        if found:
            broken.append(key)
    return broken


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


def _close(platform: Platform, target: Target, row: Incident, who: str, why: str, keep: list[str]) -> None:
    """Close the incident (the diagnosis may have closed it already) and release what it held but for some."""
    now = platform.clock(target.use_case).now()
    with platform.ledger.begin() as session:
        current = session.scalars(select(Incident).where(Incident.id == row.id)).one()
        still_open = current.status == OPEN
        if not still_open:
            release(session, row.id, now, keep)
    if still_open:
        close_incident(platform, target, row.id, who, why, now, free=True, keep=keep)


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
