"""What feeds delivered for the last partitions, and labels that came before their predictions."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc
from sqlalchemy import func, select

from ml_platform.lifecycle.guard.evidence_tables import Tables
from ml_platform.statistics.finding import Finding
from ml_platform.storage.recent import RecentTables
from ml_platform.storage.tables import Acceptance

_EVIDENCE = RecentTables(64 << 20)
"""What acceptance found; each day looks at that of the last ones again."""


def premature_labels(tables: Tables) -> list[Finding]:
    """Labels that were known when their prediction was made: then nothing was predicted."""
    keys = tables.live.by_champion[-tables.settings.maximum_partitions :]
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
    """Partitions of the use case's feeds that their contract holds back at present."""
    last = (
        select(func.max(Acceptance.id))
        .where(
            Acceptance.feed.in_(f.name for f in tables.target.use_case.config.feeds),
            Acceptance.partition >= tables.window_keys[0],
            Acceptance.as_of <= tables.live.as_of,
        )
        .group_by(Acceptance.feed, Acceptance.partition)
    )
    with tables.platform.ledger.begin() as session:
        rows = list(session.scalars(select(Acceptance).where(Acceptance.id.in_(last))))
    held = [r for r in rows if r.status == "held"]
    broken = _broken_rules(tables, rows)
    found = [
        Finding(
            statistic="held_partition",
            subject=feed,
            state="FAIL",
            detail=f"the contract holds back {', '.join(r.partition for r in held if r.feed == feed)}",
            estimate=float(sum(r.held for r in held if r.feed == feed)),
            partitions=tuple(sorted(r.partition for r in held if r.feed == feed)),
        )
        for feed in sorted({r.feed for r in held})
    ]
    found += broken
    landed, bad = sum(r.landed for r in rows), sum(r.quarantined for r in rows)
    if landed:
        share = bad / landed
        limit = tables.settings.mismatch_share * 10
        found.append(
            Finding(
                statistic="quarantined_share",
                subject="all feeds",
                state="FAIL" if share > limit else "PASS",
                detail=f"{bad:,} of {landed:,} rows of the last partitions are in quarantine",
                estimate=share,
                floor=limit,
                rows=landed,
            )
        )
    return found


def _broken_rules(tables: Tables, rows: Sequence[Acceptance]) -> list[Finding]:
    """Rules about a segment's nulls that the last deliveries broke, though they were let in."""
    broken: dict[tuple[str, str], list[tuple[str, str]]] = {}
    mine = {(r.feed, r.partition) for r in rows if r.status == "accepted"}
    for digest in {r.evidence_digest for r in rows if r.evidence_digest}:
        table = _EVIDENCE.table(tables.platform.lake, digest)
        table = table.filter(pc.equal(table["state"], "FAIL"))
        feed = next(r.feed for r in rows if r.evidence_digest == digest)
        for row in table.select(["partition", "rule", "on_breach", "reason"]).to_pylist():
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
