"""Landing: ask a feed for partitions, keep what it delivers as append-only revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select

from ml_platform.config import UseCase
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.landing import delivery_bytes, split_partitions
from ml_platform.ingestion.reader import read_feed
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.timing import TIMING, feed_timing
from ml_platform.partitions import STATIC_KEY
from ml_platform.storage.lake import digest_of
from ml_platform.storage.ledger import NewPublication, wall_now
from ml_platform.storage.tables import Delivery

Status = Literal["new", "unchanged", "empty", "not_due"]


@dataclass(frozen=True)
class Landed:
    """What a feed delivered for one partition.

    Attributes:
        partition: Its key.
        status: ``new`` bytes, ``unchanged`` ones, ``empty`` (due, and nothing came), or ``not_due`` yet.
        rows: Rows delivered.
        revision: How many different deliveries there have been.
    """

    partition: str
    status: Status
    rows: int
    revision: int


def landed_asset(feed: str) -> str:
    """The ledger's name of a feed's deliveries."""
    return f"feed/{feed}/landed"


def landed_timings(
    platform: Platform, feed: str, deliveries: Mapping[str, Delivery]
) -> dict[str, Mapping[str, str]]:
    """How deliveries were placed and dated when they landed, by partition, where that was kept."""
    heads = platform.ledger.heads(landed_asset(feed), deliveries)
    return {
        key: head.details[TIMING]
        for key, head in heads.items()
        if TIMING in head.details and head.digest == deliveries[key].digest
    }


def land(
    platform: Platform, use_case: UseCase, feed: FeedConfig, keys: Sequence[str], as_of: datetime
) -> list[Landed]:
    """Land what the world could have told by ``as_of`` of some partitions.

    The feed's ``lookback`` adds earlier partitions, which may have been added to or corrected since.
    The same bytes again change nothing; an empty delivery of a due partition is kept as an event and
    leaves what has landed before.

    Raises:
        FeedError: The source cannot be read or has the wrong shape; nothing is landed.
        ConflictError: Another run landed one of the partitions meanwhile.
    """
    asked = _with_lookback(use_case, feed, keys)
    partitions = [use_case.feed_partition(feed, k) for k in asked]
    read = platform.outside.feeds or read_feed
    tables = split_partitions(read(use_case, feed, partitions, as_of), asked)
    heads = platform.ledger.heads(landed_asset(feed.name), asked)
    revisions = _revisions(platform, feed.name, asked)
    timing = feed_timing(use_case, feed)
    results: list[Landed] = []
    fresh: dict[str, tuple[bytes, int]] = {}
    for key in asked:
        rows, head = tables[key].num_rows, heads.get(key)
        revision = revisions.get(key, 0)
        if not rows:
            due = use_case.due_at(feed, key) <= as_of
            if key in keys or head is not None:
                results.append(Landed(key, "empty" if due else "not_due", 0, revision))
            continue
        data = delivery_bytes(tables[key])
        # The same bytes, read by other rules, are judged again: what is accepted says by which it stands.
        alike = head is not None and head.details.get(TIMING, timing) == timing
        if head is not None and alike and head.digest == digest_of(data):
            results.append(Landed(key, "unchanged", rows, revision))
        else:
            fresh[key] = (data, rows)
            results.append(Landed(key, "new", rows, revision + 1))
    events = [r for r in results if r.status in ("unchanged", "empty")]
    expected = {k: h.id for k, h in heads.items()}
    _publish(platform, feed.name, fresh, expected, {TIMING: timing}, events, as_of)
    return results


def _publish(
    platform: Platform,
    feed: str,
    fresh: dict[str, tuple[bytes, int]],
    expected: dict[str, int],
    details: dict[str, Any],
    events: Sequence[Landed],
    as_of: datetime,
) -> None:
    """Publish new bytes; keep the other events too, because they tell what could have come earlier."""
    if not fresh and not events:
        return
    digests = dict(zip(fresh, platform.lake.put_many(d for d, _ in fresh.values()), strict=True))
    items = [
        NewPublication(landed_asset(feed), key, digests[key], rows, details, expected.get(key))
        for key, (_, rows) in fresh.items()
    ]
    ids = platform.ledger.request(items, as_of)
    with platform.ledger.committing(items, ids) as session:
        session.add_all(_delivery(feed, i.partition, "new", i.digest, i.rows, as_of) for i in items)
        session.add_all(_delivery(feed, e.partition, e.status, None, e.rows, as_of) for e in events)


def _delivery(
    feed: str, key: str, status: Status, digest: str | None, rows: int, as_of: datetime
) -> Delivery:
    return Delivery(
        feed=feed,
        partition=key,
        status=status,
        digest=digest,
        rows=rows,
        as_of=as_of,
        recorded_at=wall_now(),
        accepted=status != "new",
    )


def _with_lookback(use_case: UseCase, feed: FeedConfig, keys: Sequence[str]) -> list[str]:
    if feed.static:
        return [STATIC_KEY]
    for key in keys:
        use_case.scheme.day(key)
    if not feed.lookback:
        return sorted(keys)
    return use_case.scheme.keys(use_case.scheme.shift(min(keys), -feed.lookback), max(keys))


def _revisions(platform: Platform, feed: str, keys: Sequence[str]) -> dict[str, int]:
    query = (
        select(Delivery.partition, func.count())
        .where(Delivery.feed == feed, Delivery.status == "new", Delivery.partition >= min(keys))
        .group_by(Delivery.partition)
    )
    with platform.ledger.begin() as session:
        return {key: int(count) for key, count in session.execute(query)}
