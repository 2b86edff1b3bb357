"""What the ledger has recorded of earlier stages, read without importing what recorded it."""

from __future__ import annotations

from sqlalchemy import exists, func, or_, select

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.storage.tables import Acceptance, Evaluation, Head, MonitorResult, Promotion


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


def has_run(platform: Platform, target: Target) -> bool:
    """Whether the ledger has any record of a model: a dataset, a candidate, an evaluation, a promotion.

    Use cases that come with the platform are there before anybody runs them.
    """
    key = target.key
    query = select(
        or_(
            exists().where(Head.asset.startswith(f"{key}/", autoescape=True)),
            exists().where(Evaluation.model_key == key),
            exists().where(Promotion.model_key == key),
        )
    )
    with platform.ledger.begin() as session:
        return bool(session.scalar(query))


def has_data(platform: Platform, use_case: UseCase) -> bool:
    """Whether anything of a use case was ever landed or built here."""
    assets = (
        *(Head.asset.startswith(f"feed/{f.name}/", autoescape=True) for f in use_case.config.feeds),
        Head.asset.startswith(f"{use_case.name}/", autoescape=True),
    )
    with platform.ledger.begin() as session:
        return bool(session.scalar(select(exists().where(or_(*assets)))))
