"""What was decided about a model and known beforehand, as marks for its chart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.monitoring.marks import IncidentSpan, Promotion, Story, VerdictMark
from ml_platform.registry import promotions
from ml_platform.storage.tables import Attempt, Incident, Verdict

_WORDS = {"first": "first", "promotion": "promoted", "rollback": "rolled back"}


def story_of(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> Story:
    """The marks over some partitions, as known at an instant."""
    with platform.ledger.begin() as session:
        verdicts = list(
            session.scalars(
                select(Verdict)
                .where(Verdict.model_key == target.key, Verdict.as_of <= as_of)
                .order_by(Verdict.id)
            )
        )
        refused = set(
            session.scalars(
                select(Attempt.verdict_id).where(Attempt.model_key == target.key, Attempt.status == "refused")
            )
        )
        incidents = list(
            session.scalars(
                select(Incident)
                .where(Incident.model_key == target.key, Incident.opened_at <= as_of)
                .order_by(Incident.id)
            )
        )
    latest = {v.partition: v for v in verdicts}
    return Story(
        promotions=_promotions(platform, target, keys, as_of),
        verdicts=[VerdictMark(v.partition, v.verdict, v.id in refused) for v in latest.values()],
        incidents=[
            IncidentSpan(i.report["first_partition"], i.report["last_partition"], i.report["cause"])
            for i in incidents
        ],
        events=target.use_case.events_of(keys),
    )


def _promotions(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> list[Promotion]:
    """A mark at the first partition that each promotion scored, after the last one where that is to come."""
    if not keys:
        return []
    marks = []
    after = target.use_case.scheme.shift(keys[-1], 1)
    for promotion in reversed(promotions.history(platform.ledger, target.key)):
        if promotion.as_of > as_of:
            continue
        first = next((k for k in keys if target.use_case.cutoff(k) >= promotion.as_of), after)
        word = _WORDS.get(promotion.action, promotion.action)
        marks.append(Promotion(first, f"v{promotion.version} {word}"))
    return marks
