"""What the ledger has recorded of earlier stages, read without importing what recorded it."""

from __future__ import annotations

from sqlalchemy import func, select

from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.storage.tables import Acceptance, MonitorResult


def results(platform: Platform, target: Target, monitor: str) -> list[MonitorResult]:
    """What a monitor saw, oldest first."""
    query = (
        select(MonitorResult)
        .where(MonitorResult.model_key == target.key, MonitorResult.monitor == monitor)
        .order_by(MonitorResult.id)
    )
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def acceptance_totals(platform: Platform, feed: str) -> dict[str, int]:
    """Rows landed, accepted, quarantined and held over the last acceptance of each partition."""
    last = select(func.max(Acceptance.id)).where(Acceptance.feed == feed).group_by(Acceptance.partition)
    query = select(
        func.sum(Acceptance.landed),
        func.sum(Acceptance.accepted),
        func.sum(Acceptance.quarantined),
        func.sum(Acceptance.held),
        func.count(),
    ).where(Acceptance.id.in_(last))
    with platform.ledger.begin() as session:
        row = session.execute(query).one()
    names = ("landed", "accepted", "quarantined", "held", "partitions")
    return {name: int(value or 0) for name, value in zip(names, row, strict=True)}
