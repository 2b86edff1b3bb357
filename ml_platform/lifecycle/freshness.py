"""Whether a feed's newest due partition has come, by the clock of its timeline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ml_platform.config import UseCase
from ml_platform.contracts.freshness import freshness
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.platform import Platform
from ml_platform.partitions import STATIC_KEY
from ml_platform.storage.tables import Delivery


@dataclass(frozen=True)
class FeedFreshness:
    """How punctual a feed is.

    Attributes:
        partition: The newest partition that is due.
        state: PASS, FAIL or UNKNOWN.
        reason: For people.
        age_hours: Since it last came, on the timeline.
        late_hours: How late it came, or how long it is overdue.
    """

    partition: str
    state: str
    reason: str
    age_hours: float
    late_hours: float


def feed_freshness(platform: Platform, use_case: UseCase, feed: FeedConfig) -> FeedFreshness:
    """Judge the newest partition of a feed that is due."""
    now = platform.clock(use_case).now()
    key = _newest_due(use_case, feed, now)
    if key is None:
        return FeedFreshness("none", "UNKNOWN", "no partition is due yet", 0.0, 0.0)
    query = (
        select(Delivery.as_of)
        .where(Delivery.feed == feed.name, Delivery.partition == key, Delivery.rows > 0)
        .order_by(Delivery.id.desc())
        .limit(1)
    )
    with platform.ledger.begin() as session:
        last = session.scalar(query)
    contract = contract_of(use_case, feed.name)
    found = freshness(contract, use_case.due_at(feed, key), last, now)
    age = found.age.total_seconds() / 3600 if found.age else 0.0
    return FeedFreshness(key, found.state, found.reason, age, found.late_by.total_seconds() / 3600)


def _newest_due(use_case: UseCase, feed: FeedConfig, now: datetime) -> str | None:
    if feed.static:
        return STATIC_KEY
    scheme = use_case.scheme
    key = scheme.shift(scheme.key_at(now), 2)
    last = scheme.last_key or key
    for _ in range(400):
        if scheme.first_key <= key <= last and use_case.due_at(feed, key) <= now:
            return key
        key = scheme.shift(key, -1)
        if key < scheme.first_key:
            return None
    return None
