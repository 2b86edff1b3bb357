"""Acceptance: judge what landed against its contract, let the good rows into history, keep the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
from sqlalchemy import select, update

from ml_platform.config import UseCase
from ml_platform.contracts.accept import Acceptance as Verdict
from ml_platform.contracts.accept import AcceptanceContext, PartitionAcceptance, check
from ml_platform.contracts.model import Contract, RuleResult
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.history import MergeCounts, MergeResult, gained_columns, merge
from ml_platform.lifecycle.contract_changes import refuse_breaking
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.kept_contracts import contract_item
from ml_platform.lifecycle.landing import landed_timings
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.timing import TIMING, another_known_at
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.monitoring.feed_day import feed_evidence
from ml_platform.storage.ledger import NewPublication, wall_now
from ml_platform.storage.parquet import read_table, write_table
from ml_platform.storage.tables import Acceptance, Delivery, Publication

_COMPARED_PARTITIONS = 60


@dataclass(frozen=True)
class AcceptedPartition:
    """What became of one partition's delivery: landed = accepted + quarantined + held."""

    partition: str
    landed: int
    accepted: int
    quarantined: int
    held: int
    published: bool
    reasons: tuple[str, ...]
    counts: MergeCounts | None

    @property
    def status(self) -> Literal["accepted", "held"]:
        """Whether the partition was let in."""
        return "held" if self.held else "accepted"

    def numbers(self) -> dict[str, Any]:
        """Numbers that plot over time."""
        counts = self.counts
        return {
            "landed": self.landed,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "held": self.held,
            "new_rows": counts.new if counts else 0,
            "changed_rows": counts.changed if counts else 0,
            "late_rows": counts.late if counts else 0,
            "filled_rows": counts.filled if counts else 0,
            "redated_rows": counts.redated if counts else 0,
        }


@dataclass(frozen=True)
class RuleSummary:
    """One rule over all partitions of a run."""

    name: str
    on_breach: str
    state: Literal["PASS", "FAIL", "UNKNOWN"]
    failed_rows: int
    checked_rows: int
    failed_partitions: tuple[str, ...]
    observed: Any
    limit: str
    reason: str
    crashed: bool = False

    def sentence(self) -> str:
        """For people."""
        if self.state == "FAIL":
            return f"broken in {len(self.failed_partitions)} partition(s): {self.reason}"
        return "kept" if self.state == "PASS" else f"not judged: {self.reason or 'nothing to judge'}"


@dataclass(frozen=True)
class AcceptanceReport:
    """What became of a feed's deliveries."""

    feed: str
    contract: Contract
    partitions: tuple[AcceptedPartition, ...]
    rules: tuple[RuleSummary, ...]
    withdrawn: int = 0
    """Rows that had been accepted under another contract, and are no longer seen."""

    def total(self, *names: str) -> int:
        """Sum of some numbers over all partitions."""
        return sum(getattr(p, name) for p in self.partitions for name in names)

    @property
    def held(self) -> list[str]:
        """Partitions that were held back."""
        return [p.partition for p in self.partitions if p.status == "held"]

    def sentence(self) -> str:
        """For people."""
        filled = sum(p.counts.filled for p in self.partitions if p.counts)
        redated = sum(p.counts.redated for p in self.partitions if p.counts)
        return (
            f"{self.feed}: {len(self.partitions)} partition(s), {self.total('landed'):,} rows landed = "
            f"{self.total('accepted'):,} accepted + {self.total('quarantined'):,} quarantined "
            f"+ {self.total('held'):,} held back"
            + (f"; {filled:,} accepted rows gained columns" if filled else "")
            + (f"; {redated:,} accepted rows are dated by the known_at of today" if redated else "")
            + (f"; {self.withdrawn:,} accepted rows are withdrawn from now on" if self.withdrawn else "")
        )


def quarantine_asset(feed: str) -> str:
    """The ledger's name of a feed's quarantined rows."""
    return f"feed/{feed}/quarantine"


def profile_asset(feed: str) -> str:
    """The ledger's name of the profiles of a feed's accepted rows."""
    return f"feed/{feed}/profile"


def accept(platform: Platform, use_case: UseCase, feed: FeedConfig, as_of: datetime) -> AcceptanceReport:
    """Judge everything that has landed and was not judged yet; good partitions go on, others are held back.

    Raises:
        ContractError: The contract is malformed, or breaks with the one that judged what was accepted.
        ConflictError: Another run accepted one of the partitions meanwhile; nothing of this call counts.
    """
    with platform.ledger.begin() as session:
        waiting = list(
            session.scalars(
                select(Delivery)
                .where(Delivery.feed == feed.name, Delivery.accepted.is_(False))
                .order_by(Delivery.id)
            )
        )
    latest = {d.partition: d for d in waiting}
    superseded = [d.id for d in waiting if latest[d.partition].id != d.id]
    previous = _previous(platform, feed.name, list(latest.values()))
    return judge(platform, use_case, feed, latest, previous, as_of, superseded)


def judge(
    platform: Platform,
    use_case: UseCase,
    feed: FeedConfig,
    deliveries: Mapping[str, Delivery],
    previous: Mapping[str, datetime],
    as_of: datetime,
    superseded: Sequence[int] = (),
) -> AcceptanceReport:
    """Judge some deliveries and publish, in one transaction, what was accepted and quarantined of them.

    Args:
        platform: The stores.
        use_case: Whose feed.
        feed: The feed.
        deliveries: The delivery to judge, by partition.
        previous: When each partition had landed before; see :func:`ml_platform.ingestion.history.merge`. Not
            asked of a feed of which nothing was ever accepted: its first accepted load is a first load.
        as_of: The present of the timeline.
        superseded: Deliveries that a later one replaced before they were judged.
    """
    contract = contract_of(use_case, feed.name)
    heads = platform.ledger.heads(accepted_asset(feed.name))
    refuse_breaking(platform, use_case, contract, heads.values())
    if not heads:  # nobody has seen a row of it: what was held back so far was never known otherwise
        previous = {}
    quarantine_heads = platform.ledger.heads(quarantine_asset(feed.name), deliveries)
    verdicts = _verdicts(platform, use_case, feed, contract, deliveries, heads, as_of)
    timings = landed_timings(platform, feed.name, deliveries)
    merged = _merge(platform, contract, feed, verdicts, heads, previous, timings, as_of)
    evidence = _evidence_table(verdicts)
    evidence_digest = platform.lake.put(write_table(evidence)) if verdicts else None
    items, published = _items(platform, use_case, feed, contract, verdicts, merged, heads, timings, as_of)
    items += _quarantine_items(platform, feed, verdicts, quarantine_heads)
    items += _profile_items(platform, feed, contract, verdicts)
    kept = contract_item(platform, use_case, contract) if verdicts else None
    items += [kept] if kept else []
    ids = platform.ledger.request(items, as_of)
    with platform.ledger.committing(items, ids) as session:
        session.add_all(
            _record(feed, contract, v, deliveries[k], evidence_digest, as_of) for k, v in verdicts.items()
        )
        done = [d.id for d in deliveries.values()] + list(superseded)
        for start in range(0, len(done), 400):
            session.execute(
                update(Delivery).where(Delivery.id.in_(done[start : start + 400])).values(accepted=True)
            )
    counts = merged.by_partition if merged else {}
    return AcceptanceReport(
        feed=feed.name,
        contract=contract,
        partitions=tuple(_accepted(v, k in published, counts.get(k)) for k, v in verdicts.items()),
        rules=tuple(_summaries(verdicts)),
    )


def _verdicts(
    platform: Platform,
    use_case: UseCase,
    feed: FeedConfig,
    contract: Contract,
    deliveries: Mapping[str, Delivery],
    heads: Mapping[str, Publication],
    as_of: datetime,
) -> dict[str, PartitionAcceptance]:
    """Judge deliveries in one pass per shape: a day that lacks a column must not borrow another day's."""
    platform.lake.paths(d.digest for d in deliveries.values() if d.digest)
    tables = {k: read_table(platform.lake.get(d.digest or "")) for k, d in sorted(deliveries.items())}
    found: dict[str, PartitionAcceptance] = {}
    known = {k: h for k, h in heads.items() if k not in deliveries}
    for group in _same_shape(tables):
        context = AcceptanceContext(
            partitions=tuple(group),
            complete=frozenset(k for k in group if use_case.complete_at(feed, k) <= as_of),
            row_counts={k: h.details["rows"] for k, h in known.items() if h.details["complete"]},
            null_rates={k: known[k].details["null_rates"] for k in sorted(known)[-_COMPARED_PARTITIONS:]},
        )
        verdict: Verdict = check(contract, pa.concat_tables([tables[k] for k in group]), context)
        found |= verdict.partitions
    return dict(sorted(found.items()))


def _same_shape(tables: Mapping[str, pa.Table]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for key, table in tables.items():
        groups.setdefault(str(table.schema.remove_metadata()), []).append(key)
    return list(groups.values())


def _merge(
    platform: Platform,
    contract: Contract,
    feed: FeedConfig,
    verdicts: Mapping[str, PartitionAcceptance],
    heads: Mapping[str, Publication],
    previous: Mapping[str, datetime],
    timings: Mapping[str, Mapping[str, str]],
    as_of: datetime,
) -> MergeResult | None:
    """The new history of all accepted partitions, merged at once."""
    accepted = {k: v.accepted for k, v in verdicts.items() if not v.is_held and v.accepted.num_rows}
    if not accepted:
        return None
    past = {k: read_table(platform.lake.get(heads[k].digest)) for k in accepted if k in heads}
    return merge(
        pa.concat_tables(past.values(), promote_options="default") if past else None,
        pa.concat_tables(accepted.values()),
        key=contract.key,
        payload=contract.payload,
        lag=feed.landing_lag,
        clock=as_of,
        previous=previous,
        gained=gained_columns(past, contract.payload),
        redated=[k for k in past if another_known_at(heads[k].details.get(TIMING), timings.get(k))],
    )


def _items(
    platform: Platform,
    use_case: UseCase,
    feed: FeedConfig,
    contract: Contract,
    verdicts: Mapping[str, PartitionAcceptance],
    merged: MergeResult | None,
    heads: Mapping[str, Publication],
    timings: Mapping[str, Mapping[str, str]],
    as_of: datetime,
) -> tuple[list[NewPublication], set[str]]:
    if merged is None:
        return [], set()
    counts = merged.by_partition
    parts = _by_partition(merged.table)
    digests = dict(zip(parts, platform.lake.put_many(map(write_table, parts.values())), strict=True))
    items = []
    for key, part in parts.items():
        head, verdict = heads.get(key), verdicts[key]
        details = {
            "rows": verdict.accepted.num_rows,
            "complete": use_case.complete_at(feed, key) <= as_of,
            "null_rates": verdict.null_rates,
            "contract": contract.digest,
            "backfilled": counts[key].late == 0 and head is None,
            **({TIMING: timings[key]} if key in timings else {}),
        }
        if head is not None and head.digest == digests[key] and head.details == details:
            continue
        expects = head.id if head else None
        items.append(
            NewPublication(accepted_asset(feed.name), key, digests[key], part.num_rows, details, expects)
        )
    return items, set(parts)


def _quarantine_items(
    platform: Platform,
    feed: FeedConfig,
    verdicts: Mapping[str, PartitionAcceptance],
    heads: Mapping[str, Publication],
) -> list[NewPublication]:
    """The rows in quarantine now; an empty table where a replay has emptied it."""
    items = []
    for key, verdict in verdicts.items():
        rows, head = verdict.quarantined, heads.get(key)
        if verdict.is_held or (not rows.num_rows and head is None):
            continue
        digest = platform.lake.put(write_table(rows))
        if head is None or head.digest != digest:
            expects = head.id if head else None
            items.append(NewPublication(quarantine_asset(feed.name), key, digest, rows.num_rows, {}, expects))
    return items


def _profile_items(
    platform: Platform, feed: FeedConfig, contract: Contract, verdicts: Mapping[str, PartitionAcceptance]
) -> list[NewPublication]:
    """Counts, null rates, histograms and lattices of what was accepted: evidence for a later diagnosis.

    One object holds all partitions of the run; each partition points at it.
    """
    accepted = [v.accepted for v in verdicts.values() if v.accepted.num_rows]
    if not accepted:
        return []
    profile = feed_evidence(pa.concat_tables(accepted), feed=feed.name, columns=contract.column_names)
    digest = platform.lake.put(write_table(profile))
    keys = [k for k, v in verdicts.items() if v.accepted.num_rows]
    return [NewPublication(profile_asset(feed.name), k, digest, profile.num_rows) for k in keys]


def _by_partition(table: pa.Table) -> dict[str, pa.Table]:
    encoded = table["partition_key"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    starts = [0, *(i + 1 for i in range(len(codes) - 1) if codes[i] != codes[i + 1]), len(codes)]
    keys = [encoded.dictionary[int(codes[s])].as_py() for s in starts[:-1]]
    return {k: table.slice(a, b - a) for k, a, b in zip(keys, starts[:-1], starts[1:], strict=True)}


def _previous(platform: Platform, feed: str, deliveries: Sequence[Delivery]) -> dict[str, datetime]:
    """When each partition had landed the time before."""
    if not deliveries:
        return {}
    ids = {d.partition: d.id for d in deliveries}
    query = (
        select(Delivery.partition, Delivery.id, Delivery.as_of)
        .where(Delivery.feed == feed, Delivery.partition >= min(ids))
        .order_by(Delivery.id)
    )
    with platform.ledger.begin() as session:
        rows = list(session.execute(query))
    return {p: as_of for p, number, as_of in rows if p in ids and number < ids[p]}


def _record(
    feed: FeedConfig,
    contract: Contract,
    verdict: PartitionAcceptance,
    delivery: Delivery,
    evidence_digest: str | None,
    as_of: datetime,
) -> Acceptance:
    return Acceptance(
        feed=feed.name,
        partition=verdict.partition,
        delivery_id=delivery.id,
        status="held" if verdict.is_held else "accepted",
        landed=verdict.landed_rows,
        accepted=verdict.accepted.num_rows,
        quarantined=verdict.quarantined.num_rows,
        held=verdict.held.num_rows,
        contract_version=contract.version,
        contract_digest=contract.digest,
        evidence_digest=evidence_digest,
        as_of=as_of,
        recorded_at=wall_now(),
    )


def _accepted(verdict: PartitionAcceptance, published: bool, counts: MergeCounts | None) -> AcceptedPartition:
    reasons = verdict.reasons or tuple(sorted(set(verdict.quarantined["reason"].to_pylist())))
    return AcceptedPartition(
        partition=verdict.partition,
        landed=verdict.landed_rows,
        accepted=verdict.accepted.num_rows,
        quarantined=verdict.quarantined.num_rows,
        held=verdict.held.num_rows,
        published=published,
        reasons=reasons,
        counts=counts,
    )


def _summaries(verdicts: Mapping[str, PartitionAcceptance]) -> Iterable[RuleSummary]:
    by_rule: dict[str, list[RuleResult]] = {}
    for verdict in verdicts.values():
        for result in verdict.results:
            by_rule.setdefault(result.rule, []).append(result)
    for name, results in by_rule.items():
        failed = [r for r in results if r.state == "FAIL"]
        judged = [r for r in results if r.state != "UNKNOWN"]
        shown = (failed or judged or results)[-1]
        yield RuleSummary(
            name=name,
            on_breach=shown.on_breach,
            state="FAIL" if failed else "PASS" if judged else "UNKNOWN",
            failed_rows=sum(r.failed_rows for r in results),
            checked_rows=sum(r.checked_rows for r in results),
            failed_partitions=tuple(r.partition for r in failed),
            observed=shown.observed,
            limit=shown.limit,
            reason=shown.reason,
            crashed=any(r.crashed for r in results),
        )


def _evidence_table(verdicts: Mapping[str, PartitionAcceptance]) -> pa.Table:
    """Every rule's result of every partition: evidence for whoever asks later what was wrong."""
    names = ("partition", "rule", "column", "on_breach", "state", "limit", "reason")
    results = [r for v in verdicts.values() for r in v.results]
    columns: dict[str, pa.Array] = {
        n: pa.array([str(getattr(r, n) or "") for r in results], pa.string()) for n in names
    }
    columns["observed"] = pa.array([str(r.observed) for r in results], pa.string())
    for n in ("failed_rows", "checked_rows"):
        columns[n] = pa.array([getattr(r, n) for r in results], pa.int64())
    return pa.table(columns)
