"""Accepted rows dated anew, after the rule that says when they could be known became another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from ml_platform.ingestion.reader import PARTITION_KEY
from ml_platform.storage.memory import scratch

_MATCH = """
CREATE TEMP TABLE matched AS
SELECT d.*, h.revision, h.accepted_at = h.known_at + CAST(? AS INTERVAL) AS by_rule FROM history h
JOIN chosen c ON c.partition_key = h.partition_key
JOIN delivery d ON {same}
WHERE h.visible_to >= ? AND h.known_at <> d.known_at
"""

_COUNT = "SELECT partition_key, count(*) FROM matched GROUP BY ALL"

_DATE = """
SELECT h.* REPLACE (
    coalesce(m.known_at, h.known_at) AS known_at,
    CASE WHEN m.by_rule THEN m.known_at + CAST(? AS INTERVAL) ELSE h.accepted_at END AS accepted_at)
FROM history h LEFT JOIN matched m ON {same_key} AND h.revision = m.revision
"""


def dated_again(
    past: pa.Table,
    delivery: pa.Table,
    keys: Sequence[str],
    payload: Sequence[str],
    partitions: Collection[str],
    lag: timedelta,
    forever: datetime,
) -> tuple[pa.Table, dict[str, int]]:
    """History in which rows that are delivered as they stood have the delivery's known_at.

    A row that was accepted by the old rule (at its known_at and the lag) is accepted by the new one; what
    came at the clock, as late rows and corrections do, stays accepted then. So do superseded and withdrawn
    versions.

    Args:
        past: partition_key, key and payload columns, known_at, accepted_at, revision, visible_to.
        delivery: The same columns up to known_at; each key once.
        keys: partition_key and the key columns.
        payload: Columns that a row must have as it stood.
        partitions: Those that are dated anew.
        lag: The feed's usual time from known_at to landed.
        forever: ``visible_to`` of a version that nothing has superseded.

    Returns:
        The history, and how many rows were dated anew, by partition.
    """
    same = [f"h.{_quoted(n)} IS NOT DISTINCT FROM d.{_quoted(n)}" for n in (*keys, *payload)]
    clauses = {
        "same": " AND ".join(same),
        "same_key": " AND ".join(f"h.{_quoted(n)} = m.{_quoted(n)}" for n in keys),
    }
    with scratch() as db:
        db.register("history", past)
        db.register("delivery", delivery)
        db.register("chosen", pa.table({PARTITION_KEY: pa.array(list(partitions), pa.string())}))
        db.execute(_MATCH.format(**clauses), [lag, forever])
        counts = dict(db.execute(_COUNT).fetchall())
        table = db.sql(_DATE.format(**clauses), params=[lag]).to_arrow_table()
    return table.cast(past.schema), counts


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
