"""Quarantined rows and held partitions: see them, and bring them back after a fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy import select

from ml_platform.config import UseCase
from ml_platform.contracts.accept import AcceptanceContext, check
from ml_platform.contracts.model import KNOWN_AT, PARTITION_KEY
from ml_platform.errors import NotFoundError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.history import as_of_view, withdraw
from ml_platform.lifecycle.absent import no_feed
from ml_platform.lifecycle.acceptance import AcceptanceReport, judge, quarantine_asset
from ml_platform.lifecycle.contract_changes import refuse_breaking
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.held import held_back, holding_rules, why_held
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.partitions import STATIC_KEY
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.parquet import read_table, write_table
from ml_platform.storage.tables import Delivery


@dataclass(frozen=True)
class QuarantineSummary:
    """One partition of a feed with rows that were not let in.

    Attributes:
        feed: The feed.
        partition: The partition.
        rows: Rows that were not let in.
        rules: Names of the rules that kept them out.
        reasons: The same, with what was seen where the whole partition is held back.
    """

    feed: str
    partition: str
    rows: int
    rules: str
    reasons: str


@dataclass(frozen=True)
class QuarantineGroup:
    """Partitions of a feed of which the same rules kept rows out, in order; the reasons are of the last."""

    feed: str
    partitions: tuple[str, ...]
    rows: int
    reasons: str


@dataclass(frozen=True)
class ReplayReport(AcceptanceReport):
    """What became of quarantined rows and held partitions that were judged again."""

    newly_held: tuple[str, ...] = ()
    """Partitions that had been accepted, and are held back now."""


def find_feed(platform: Platform, name: str) -> tuple[UseCase, FeedConfig]:
    """A feed by its name, with a use case that declares it.

    Raises:
        NotFoundError: No use case declares it, or none does any more.
    """
    for use_case in platform.use_cases.values():
        for feed in use_case.config.feeds:
            if feed.name == name:
                return use_case, feed
    raise no_feed(platform, name)


def summary(platform: Platform, feed: str | None = None) -> list[QuarantineSummary]:
    """Partitions with quarantined rows or held back, of one feed or of all."""
    names = [feed] if feed else sorted({f.name for u in platform.use_cases.values() for f in u.config.feeds})
    found = []
    for name in names:
        find_feed(platform, name)
        for key, head in platform.ledger.heads(quarantine_asset(name)).items():
            if head.rows:
                table = read_table(platform.lake.get(head.digest))
                rules = ", ".join(sorted(set(table["rule"].to_pylist())))
                found.append(QuarantineSummary(name, key, head.rows, rules, rules))
        for row in held_back(platform, name):
            rules = "held back: " + ", ".join(r["rule"] for r in holding_rules(platform, row))
            why = f"held back: {why_held(platform, row)}"
            found.append(QuarantineSummary(name, row.partition, row.held, rules, why))
    return found


def grouped(found: Iterable[QuarantineSummary]) -> list[QuarantineGroup]:
    """Partitions of one feed that the same rules kept rows out of, together."""
    groups: dict[tuple[str, str], list[QuarantineSummary]] = {}
    for each in found:
        groups.setdefault((each.feed, each.rules), []).append(each)
    return [
        QuarantineGroup(feed, tuple(s.partition for s in same), sum(s.rows for s in same), same[-1].reasons)
        for (feed, _), same in groups.items()
    ]


def rows(platform: Platform, feed: str, partition: str | None = None) -> pa.Table:
    """Quarantined rows of a feed, or of one of its partitions, which may be given as people write it.

    Returns:
        Partition, rule, column, value (JSON), reason and the delivered row (JSON, ``row``).

    Raises:
        NotFoundError: There is no such feed.
        PartitionError: There is no such partition.
    """
    use_case, config = find_feed(platform, feed)
    keys = [_key(use_case, config, partition)] if partition else None
    heads = platform.ledger.heads(quarantine_asset(feed), keys)
    tables = [read_table(platform.lake.get(h.digest)) for h in heads.values()]
    if not tables:
        names = ["partition_key", "rule", "column", "value", "reason", "row"]
        return pa.table({n: pa.array([], pa.string()) for n in names})
    table = pa.concat_tables(tables)
    chosen = table.select(["partition_key", "rule", "column", "value", "reason", "record"])
    return chosen.rename_columns(["partition_key", "rule", "column", "value", "reason", "row"])


def replay(
    platform: Platform, feed: str, partition: str | None = None, *, accepted: bool = False
) -> ReplayReport:
    """Judge quarantined rows and held partitions again, by the contract as it stands now.

    What passes now becomes visible now: ``accepted_at`` is the timeline's present, so no past feature
    changes, but for a column that the contract gained, which is filled into history as on a first load. What
    was accepted before stays as it is; with ``accepted`` that is judged again too, where another contract
    judged it: rows that are refused now are withdrawn from now on, and features of the past stay as they were
    for them, too.

    Raises:
        NotFoundError: There is no such feed, or nothing of it waits.
        PartitionError: There is no such partition.
        ContractError: The contract is malformed, or breaks with the one that judged what was accepted.
    """
    use_case, config = find_feed(platform, feed)
    wanted = _key(use_case, config, partition) if partition else None
    waiting = {s.partition for s in summary(platform, feed)}
    older = set(_under_another_contract(platform, use_case, feed)) if accepted else set()
    found = waiting | older
    chosen = found & {wanted} if wanted else found
    if not chosen:
        fix = "`ml-platform quarantine list` shows what does"
        if not accepted:
            fix += "; --accepted judges what was accepted under another contract"
        raise NotFoundError(
            "nothing waits to be replayed", where=f"{feed}, {wanted}" if wanted else feed, fix=fix
        )
    now = platform.clock(use_case).now()
    held_before = {r.partition for r in held_back(platform, feed)}
    withdrawn = _withdraw(platform, use_case, config, sorted(chosen & older), now)
    deliveries = _last_deliveries(platform, feed, chosen)
    report = judge(platform, use_case, config, deliveries, dict.fromkeys(chosen, now), now)
    _settle_emptied(
        platform, use_case, feed, older & {p.partition for p in report.partitions} - {*report.held}, now
    )
    newly = tuple(p for p in report.held if p not in held_before)
    return ReplayReport(**vars(report) | {"withdrawn": withdrawn, "newly_held": newly})


def _key(use_case: UseCase, feed: FeedConfig, text: str) -> str:
    """The partition that a person means; a feed without event time has one only."""
    return text if feed.static and text == STATIC_KEY else use_case.scheme.key(text)


def _under_another_contract(platform: Platform, use_case: UseCase, feed: str) -> Iterator[str]:
    """Accepted partitions that a contract judged which is not the one of the file."""
    digest = contract_of(use_case, feed).digest
    for key, head in platform.ledger.heads(accepted_asset(feed)).items():
        if head.details.get("contract", digest) != digest:
            yield key


def _withdraw(
    platform: Platform, use_case: UseCase, feed: FeedConfig, keys: Sequence[str], now: datetime
) -> int:
    """Withdraw accepted rows that the contract refuses now; how many there are.

    Where it holds a whole partition back, that keeps what it has: a person is to look.
    """
    if not keys:
        return 0
    contract = contract_of(use_case, feed.name)
    heads = platform.ledger.heads(accepted_asset(feed.name), keys)
    refuse_breaking(platform, use_case, contract, heads.values())
    platform.lake.paths(h.digest for h in heads.values())
    histories = {k: read_table(platform.lake.get(h.digest)) for k, h in heads.items()}
    wanted, names = {PARTITION_KEY, KNOWN_AT, *contract.column_names}, [PARTITION_KEY, *contract.key]
    seen = [as_of_view(history, now) for history in histories.values()]
    told = pa.concat_tables(
        [t.select([n for n in t.column_names if n in wanted]) for t in seen], promote_options="default"
    )
    verdicts = check(contract, told, AcceptanceContext(tuple(histories))).partitions
    items, count = [], 0
    for (key, history), rows in zip(histories.items(), seen, strict=True):
        verdict, head = verdicts[key], heads[key]
        if verdict.is_held or not verdict.quarantined.num_rows:
            continue
        refused = rows.select(names).join(verdict.accepted.select(names), names, join_type="left anti")
        table = withdraw(history, refused, key=contract.key, clock=now)
        digest = platform.lake.put(write_table(table))
        items.append(NewPublication(head.asset, key, digest, table.num_rows, head.details, head.id))
        count += refused.num_rows
    platform.ledger.publish(items, now)
    return count


def _settle_emptied(
    platform: Platform, use_case: UseCase, feed: str, keys: Collection[str], now: datetime
) -> None:
    """Of partitions that lost all rows, say that today's contract has judged them: nothing else does.

    After their rows are in quarantine, so that a replay that was cut off before chooses them again.
    """
    digest = contract_of(use_case, feed).digest
    heads = platform.ledger.heads(accepted_asset(feed), keys)
    items = [
        NewPublication(h.asset, k, h.digest, h.rows, h.details | {"contract": digest, "rows": 0}, h.id)
        for k, h in heads.items()
        if h.details.get("contract", digest) != digest
    ]
    if items:
        platform.ledger.publish(items, now)


def _last_deliveries(platform: Platform, feed: str, partitions: set[str]) -> dict[str, Delivery]:
    query = (
        select(Delivery)
        .where(Delivery.feed == feed, Delivery.status == "new", Delivery.partition.in_(partitions))
        .order_by(Delivery.id)
    )
    with platform.ledger.begin() as session:
        return {d.partition: d for d in session.scalars(query)}
