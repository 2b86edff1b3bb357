"""Quarantined rows and held partitions: see them, and bring them back after a fix."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import func, select

from ml_platform.config import UseCase
from ml_platform.errors import NotFoundError
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle.acceptance import AcceptanceReport, judge, quarantine_asset
from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Acceptance, Delivery


@dataclass(frozen=True)
class QuarantineSummary:
    """One partition of a feed with rows that were not let in."""

    feed: str
    partition: str
    rows: int
    reasons: str


def find_feed(platform: Platform, name: str) -> tuple[UseCase, FeedConfig]:
    """A feed by its name, with a use case that declares it.

    Raises:
        NotFoundError: No use case declares it.
    """
    for use_case in platform.use_cases.values():
        for feed in use_case.config.feeds:
            if feed.name == name:
                return use_case, feed
    known = sorted({f.name for u in platform.use_cases.values() for f in u.config.feeds})
    raise NotFoundError(f"there is no feed '{name}'", fix=f"choose one of: {', '.join(known)}")


def summary(platform: Platform, feed: str | None = None) -> list[QuarantineSummary]:
    """Partitions with quarantined rows or held back, of one feed or of all."""
    names = [feed] if feed else sorted({f.name for u in platform.use_cases.values() for f in u.config.feeds})
    found = []
    for name in names:
        find_feed(platform, name)
        for key, head in platform.ledger.heads(quarantine_asset(name)).items():
            if head.rows:
                table = read_table(platform.lake.get(head.digest))
                rules = sorted(set(table["rule"].to_pylist()))
                found.append(QuarantineSummary(name, key, head.rows, ", ".join(rules)))
        found += [QuarantineSummary(name, r.partition, r.held, "held back") for r in _held(platform, name)]
    return found


def rows(platform: Platform, feed: str, partition: str | None = None) -> pa.Table:
    """Quarantined rows of a feed, or of one of its partitions.

    Returns:
        Partition, rule, column, value (JSON), reason and the delivered row (JSON, ``row``).
    """
    find_feed(platform, feed)
    heads = platform.ledger.heads(quarantine_asset(feed), [partition] if partition else None)
    tables = [read_table(platform.lake.get(h.digest)) for h in heads.values()]
    if not tables:
        names = ["partition_key", "rule", "column", "value", "reason", "row"]
        return pa.table({n: pa.array([], pa.string()) for n in names})
    table = pa.concat_tables(tables)
    chosen = table.select(["partition_key", "rule", "column", "value", "reason", "record"])
    return chosen.rename_columns(["partition_key", "rule", "column", "value", "reason", "row"])


def replay(platform: Platform, feed: str, partition: str | None = None) -> AcceptanceReport:
    """Judge quarantined rows and held partitions again, by the contract as it stands now.

    What passes now becomes visible now: ``accepted_at`` is the timeline's present, so no past feature
    changes. What was accepted before stays as it is.

    Raises:
        NotFoundError: There is no such feed, or nothing of it waits.
    """
    use_case, config = find_feed(platform, feed)
    waiting = {s.partition for s in summary(platform, feed)}
    chosen = waiting & {partition} if partition else waiting
    if not chosen:
        raise NotFoundError(
            "nothing waits to be replayed", where=feed, fix="`ml-platform quarantine list` shows what does"
        )
    now = platform.clock(use_case).now()
    deliveries = _last_deliveries(platform, feed, chosen)
    return judge(platform, use_case, config, deliveries, dict.fromkeys(chosen, now), now)


def _held(platform: Platform, feed: str) -> list[Acceptance]:
    last = select(func.max(Acceptance.id)).where(Acceptance.feed == feed).group_by(Acceptance.partition)
    query = (
        select(Acceptance)
        .where(Acceptance.id.in_(last), Acceptance.status == "held")
        .order_by(Acceptance.partition)
    )
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def _last_deliveries(platform: Platform, feed: str, partitions: set[str]) -> dict[str, Delivery]:
    query = (
        select(Delivery)
        .where(Delivery.feed == feed, Delivery.status == "new", Delivery.partition.in_(partitions))
        .order_by(Delivery.id)
    )
    with platform.ledger.begin() as session:
        return {d.partition: d for d in session.scalars(query)}
