"""What feeds delivered for the last partitions, and labels that came before their predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select

from ml_platform.lifecycle.acceptance import quarantine_asset
from ml_platform.lifecycle.guard.evidence_tables import Tables
from ml_platform.lifecycle.guard.records import cleared_partitions, ever_held
from ml_platform.lifecycle.held import judged, why_held
from ml_platform.monitoring.quarantined import Delivered, quarantined_share
from ml_platform.monitoring.shifts import NULL_STEP
from ml_platform.statistics.finding import Finding
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Acceptance, Delivery


def premature_labels(tables: Tables) -> list[Finding]:
    """Labels that were known when their prediction was made: then nothing was predicted.

    What was served under another cutoff or known_at says nothing about those of today.
    """
    keys = [k for k in tables.live.by_champion if tables.live.served_as_now(k)]
    keys = keys[-tables.settings.maximum_partitions :]
    served = tables.live.served(keys)
    if served is None:
        return []
    column = tables.model.label.column
    join = ["partition_key", *tables.target.use_case.config.views.key]
    known = tables.labels.filter(pc.is_valid(tables.labels[column])).select([*join, "label_known_at"])
    rows = served.select([*join, "cutoff"]).join(known, keys=join, join_type="inner")
    early = rows.filter(pc.less_equal(rows["label_known_at"], rows["cutoff"]))
    if not rows.num_rows:
        return []
    share, limit = early.num_rows / rows.num_rows, tables.settings.mismatch_share
    return [
        Finding(
            statistic="label_before_prediction",
            subject=column,
            state="FAIL" if share > limit else "PASS",
            detail=f"{early.num_rows:,} of {rows.num_rows:,} labels were known when they were predicted",
            estimate=share,
            floor=limit,
            rows=rows.num_rows,
            partitions=tuple(sorted(set(early["partition_key"].to_pylist()))) if share > limit else (),
        )
    ]


def deliveries(tables: Tables) -> list[Finding]:
    """What the contract holds back of the use case's feeds at present, and what it sent to quarantine."""
    rows = _last_acceptances(tables, tables.window_keys[0])
    held = [r for r in rows if r.status == "held"]
    last = {r.feed: r for r in sorted(held, key=lambda r: r.partition)}
    found = [
        Finding(
            statistic="held_partition",
            subject=feed,
            state="FAIL",
            detail=f"the contract holds back {', '.join(r.partition for r in held if r.feed == feed)}: "
            + why_held(tables.platform, last[feed]),
            estimate=float(sum(r.held for r in held if r.feed == feed)),
            partitions=tuple(sorted(r.partition for r in held if r.feed == feed)),
        )
        for feed in sorted({r.feed for r in held})
    ]
    return found + _broken_rules(tables, rows) + quarantined(tables, rows)


def _last_acceptances(
    tables: Tables, first: str, before: str | None = None, feed: str | None = None
) -> list[Acceptance]:
    """What became of the last delivery of each partition from ``first`` on, as of the present."""
    last = (
        select(func.max(Acceptance.id))
        .where(
            Acceptance.feed.in_([feed] if feed else [f.name for f in tables.target.use_case.config.feeds]),
            Acceptance.partition >= first,
            Acceptance.as_of <= tables.live.as_of,
        )
        .group_by(Acceptance.feed, Acceptance.partition)
    )
    if before is not None:
        last = last.where(Acceptance.partition < before)
    with tables.platform.ledger.begin() as session:
        return list(session.scalars(select(Acceptance).where(Acceptance.id.in_(last))))


# --- quarantine -----------------------------------------------------------------------------------


def quarantined(tables: Tables, rows: Sequence[Acceptance]) -> list[Finding]:
    """The share of each feed's delivery that is in quarantine, by day and segment.

    Days of which nothing is kept in quarantine, nearly all of them, cost no look at earlier ones.
    """
    known = cleared_partitions(tables.platform, tables.target, tables.live.as_of) | set(tables.fixed)
    judged = [r for r in rows if r.landed and r.status == "accepted" and r.partition not in known]
    found = []
    for feed in sorted({r.feed for r in judged}):
        now = sorted((r for r in judged if r.feed == feed), key=lambda r: r.partition)
        past = _sound_before(tables, feed) if any(r.quarantined for r in now) else []
        found.append(_quarantined_of(tables, feed, past, now))
    return found


def _quarantined_of(
    tables: Tables, feed: str, past: Sequence[Acceptance], now: Sequence[Acceptance]
) -> Finding:
    least = tables.settings.segment_minimum_rows
    kept = {r.partition: _kept(tables, r) for r in now if r.quarantined}
    suspects = [r for r in now if r.quarantined > NULL_STEP * least]
    segments = _by_segment(tables, past, suspects) if suspects else {}
    return quarantined_share(
        feed,
        _delivered(past),
        _delivered(now),
        fallback=tables.settings.mismatch_share * 10,
        segments=segments,
        least=least,
        rules={k: Counter(t["rule"].to_pylist()).most_common(1)[0][0] for k, t in kept.items() if t},
    )


def _sound_before(tables: Tables, feed: str) -> list[Acceptance]:
    """As many partitions before the window as the reference has, but for those that an incident held."""
    size, first = tables.settings.reference_partitions, tables.window_keys[0]
    bad = ever_held(tables.platform, tables.target, tables.live.as_of)
    start = tables.target.use_case.scheme.shift(first, -2 * size)
    rows = _last_acceptances(tables, start, first, feed)
    sound = [r for r in rows if r.landed and r.status == "accepted" and r.partition not in bad]
    return sorted(sound, key=lambda r: r.partition)[-size:]


def _delivered(rows: Sequence[Acceptance]) -> Delivered:
    landed, bad = (np.array(n, np.int64) for n in ([r.landed for r in rows], [r.quarantined for r in rows]))
    return Delivered(tuple(r.partition for r in rows), landed, bad)


def _by_segment(
    tables: Tables, past: Sequence[Acceptance], now: Sequence[Acceptance]
) -> dict[str, tuple[Delivered, Delivered]]:
    """Rows by value of the model's segments that the feed delivers itself."""
    counted = {r.partition: _counts(tables, r) for r in (*past, *now) if r.quarantined}
    names = sorted({n for r in now for n, (_, bad) in counted[r.partition].items() if bad})

    def of(name: str, rows: Sequence[Acceptance]) -> Delivered:
        # Days of which nothing was quarantined have a share of 0, however many rows they had.
        pairs = [counted[r.partition].get(name, (0, 0)) if r.quarantined else (0, 0) for r in rows]
        landed, bad = np.array(pairs, np.int64).reshape(len(rows), 2).T
        return Delivered(tuple(r.partition for r in rows), landed, bad)

    return {n: (of(n, past), of(n, now)) for n in names}


def _counts(tables: Tables, row: Acceptance) -> dict[str, tuple[int, int]]:
    """(delivered, quarantined) rows of one partition by ``column=value``."""
    kept = _kept(tables, row)
    if kept is None:
        return {}
    with tables.platform.ledger.begin() as session:
        digest = session.scalars(select(Delivery.digest).where(Delivery.id == row.delivery_id)).one()
    landed = read_table(tables.platform.lake.get(digest or ""))
    found = {}
    for column in set(tables.categorical_segments) & set(landed.column_names):
        values = landed[column].cast(pa.string())
        bad = Counter(values.take(kept["row"]).drop_null().to_pylist())
        for each in values.drop_null().value_counts().to_pylist():
            name = each["values"]
            found[f"{column}={name}"] = (each["counts"], bad[name])
    return found


def _kept(tables: Tables, row: Acceptance) -> pa.Table | None:
    """What is in quarantine of one partition; None where that is not kept any more."""
    heads = tables.platform.ledger.heads(quarantine_asset(row.feed), [row.partition], as_of=tables.live.as_of)
    head = heads.get(row.partition)
    if head is None or head.rows != row.quarantined:
        return None
    return read_table(tables.platform.lake.get(head.digest))


# --- rules ----------------------------------------------------------------------------------------


def _broken_rules(tables: Tables, rows: Sequence[Acceptance]) -> list[Finding]:
    """Rules about a segment's nulls that the last deliveries broke, though they were let in."""
    broken: dict[tuple[str, str], list[tuple[str, str]]] = {}
    mine = {(r.feed, r.partition) for r in rows if r.status == "accepted"}
    for digest in {r.evidence_digest for r in rows if r.evidence_digest}:
        feed = next(r.feed for r in rows if r.evidence_digest == digest)
        for row in judged(tables.platform, digest):
            if row["on_breach"] == "hold" and (feed, row["partition"]) in mine:
                broken.setdefault((feed, row["rule"]), []).append((row["partition"], row["reason"]))
    return [
        Finding(
            statistic="contract_rule",
            subject=feed,
            state="FAIL",
            detail=f"{rule}: {seen[-1][1]}",
            partitions=tuple(sorted({p for p, _ in seen})),
        )
        for (feed, rule), seen in sorted(broken.items())
    ]
