"""A champion's reference is replaced once: by its first matured live days without an incident.

The gate's days end weeks before the first live one, so that their distance from the present mixes the season
with the model. It is never rebased after an alarm: as long as one lasts nothing is frozen, and days of
incidents never enter.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.errors import ConflictError
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.records import diagnosis_of, ever_held, open_incident
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reference import live_reference_asset, live_reference_key
from ml_platform.registry import promotions
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Incident, Publication, Verdict

_ALARMS = frozenset({"harm", "concept", "leakage"})
"""Questions whose FAIL is an alarm, whatever the verdict makes of it."""


def freeze(platform: Platform, target: Target, diagnosis: Diagnosis) -> Publication | None:
    """Freeze the champion's live reference when it is due and nothing is amiss; the new entry of the ledger.

    The first ``diagnosis.reference_partitions`` matured partitions that the champion scored, but for those
    of incidents and those that are held. An entry is never replaced; it counts from the next instant on.

    Args:
        platform: The stores.
        target: The model.
        diagnosis: The day's, made against the reference in force, and entered in the ledger.
    """
    as_of = diagnosis.as_of
    promotion = promotions.champion(platform.ledger, target.key, as_of)
    if promotion is None or _alarmed(platform, target, diagnosis):
        return None
    asset, name = live_reference_asset(target), live_reference_key(promotion)
    size = target.model.diagnosis.reference_partitions
    live = Live(platform, target, as_of, promotion)
    if len(live.matured) < size or platform.ledger.head(asset, name) is not None:
        return None
    out = _of_incidents(platform, target, live.matured, as_of)
    keys = [k for k in live.matured if k not in out][:size]
    labels = live.labels(keys) if len(keys) == size else None
    rows = live.judged(keys, labels) if labels is not None else None
    if rows is None or len(set(rows["partition_key"].to_pylist())) < size:
        return None
    item = NewPublication(
        asset,
        name,
        platform.lake.put(write_table(rows)),
        rows.num_rows,
        {"first": keys[0], "last": keys[-1], "left_out": sorted(k for k in out if k <= keys[-1])},
        None,
    )
    try:
        (number,) = platform.ledger.publish([item], as_of)
    except ConflictError:  # another run has just frozen it, from the same days
        return None
    return platform.ledger.publications([number])[0]


def _alarmed(platform: Platform, target: Target, diagnosis: Diagnosis) -> bool:
    failed = any(s.state == "FAIL" for s in diagnosis.steps if s.name in _ALARMS)
    return failed or open_incident(platform, target, diagnosis.as_of) is not None


def _of_incidents(platform: Platform, target: Target, keys: Iterable[str], as_of: datetime) -> set[str]:
    """Partitions of incidents, from the estimated onset of the cause to the last one, and held ones."""
    out = ever_held(platform, target, as_of)
    with platform.ledger.begin() as session:
        known = select(Incident).where(Incident.model_key == target.key, Incident.opened_at <= as_of)
        incidents = list(session.scalars(known))
        said = select(Verdict).where(
            Verdict.incident_id.in_([i.id for i in incidents]), Verdict.as_of <= as_of
        )
        verdicts = list(session.scalars(said))
    for incident in incidents:
        mine = [diagnosis_of(platform, v).verdict.onset for v in verdicts if v.incident_id == incident.id]
        first = min([incident.report["first_partition"], *(o for o in mine if o is not None)])
        out |= {k for k in keys if first <= k <= incident.report["last_partition"]}
    return out
