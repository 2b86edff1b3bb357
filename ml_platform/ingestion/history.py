"""Bitemporal history of a feed: which value of each key was visible at each instant.

Rows are never changed, only superseded or withdrawn. A version is visible at ``t`` when
``visible_from <= t < visible_to``. Method: append-only revisions on knowledge time, as in bitemporal
databases (Snodgrass 1999, "Developing Time-Oriented Database Applications in SQL", ch. 10). The one thing
that is added to an accepted version is a column that its contract did not have: the row is the same, and
what is told of it more is known when the row was, as on a first load.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import IntegrityError
from ml_platform.ingestion.reader import INSTANT, KNOWN_AT, PARTITION_KEY
from ml_platform.ingestion.redating import dated_again
from ml_platform.storage.memory import scratch

FAR_FUTURE = datetime(9999, 12, 31, tzinfo=UTC)
"""``visible_to`` of a version that nothing has superseded."""

_TIMES = pa.schema([("accepted_at", INSTANT), ("revision", pa.int32())])
_VISIBLE = pa.schema([("visible_from", INSTANT), ("visible_to", INSTANT)])


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What a delivery did to a partition, in rows.

    Attributes:
        new: Keys seen for the first time, ``late`` ones included.
        changed: Keys whose payload became another: a new revision each.
        unchanged: Keys that were delivered again as they stood.
        late: New keys that an earlier delivery could have brought, so that they count from the clock.
        filled: Of the unchanged keys those to which columns were added that history did not have.
        redated: Of the unchanged keys those that another rule dates otherwise.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    late: int = 0
    filled: int = 0
    redated: int = 0

    @property
    def touched(self) -> bool:
        """Whether the partition's history became another."""
        return self.new + self.changed + self.filled + self.redated > 0


@dataclass(frozen=True, slots=True)
class MergeResult:
    """History after a delivery.

    Attributes:
        table: partition_key, key columns, payload columns, known_at, accepted_at, revision (int32, from
            1), visible_from, visible_to; sorted by (partition_key, key, revision).
        by_partition: Counts for each partition of the delivery.
        backfilled: Partitions whose first delivery this is: their ``accepted_at`` is not the clock's.
    """

    table: pa.Table
    by_partition: Mapping[str, MergeCounts]
    backfilled: tuple[str, ...]

    @property
    def new_rows(self) -> int:
        """Keys seen for the first time."""
        return sum(c.new for c in self.by_partition.values())

    @property
    def changed_rows(self) -> int:
        """Keys with a new revision."""
        return sum(c.changed for c in self.by_partition.values())

    @property
    def unchanged_rows(self) -> int:
        """Keys delivered again as they stood."""
        return sum(c.unchanged for c in self.by_partition.values())

    @property
    def late_rows(self) -> int:
        """New keys that count from the clock."""
        return sum(c.late for c in self.by_partition.values())

    @property
    def filled_rows(self) -> int:
        """Keys to which columns were added that history did not have."""
        return sum(c.filled for c in self.by_partition.values())

    @property
    def touched(self) -> tuple[str, ...]:
        """Partitions whose history became another; all others keep their object."""
        return tuple(key for key, counts in self.by_partition.items() if counts.touched)


def merge(
    history: pa.Table | None,
    delivery: pa.Table,
    *,
    key: Sequence[str],
    payload: Sequence[str],
    lag: timedelta,
    clock: datetime,
    previous: Mapping[str, datetime],
    gained: Mapping[str, frozenset[str]] | None = None,
    redated: Collection[str] = (),
) -> MergeResult:
    """Add a delivery to history: upsert by (partition_key, key), as revisions.

    A key that is delivered as it stands changes nothing (null equals null, NaN equals NaN; known_at is
    not compared). A new key that no earlier delivery could have brought is accepted at ``known_at +
    lag``, so that history loaded today looks as it would have day by day; any other new key, and each
    changed payload, is accepted at ``clock``, and so is a key that had been withdrawn. A key that is no
    longer delivered stays. A row that is delivered as it stood, known_at included, with a column that its
    history did not have gets that column's value in the version that stands: the rule that says when its rows
    are known says when its columns are.

    Where the rule itself became another (``redated``), a row that is delivered as it stood is known when the
    new rule says, and accepted then too if it was dated by the old one; what had come at the clock stays so.
    Which rows an earlier delivery could have brought nobody knows there: the old rule chose them.

    Args:
        history: What an earlier merge returned, of these or more partitions; None at first. Columns
            that are new in the delivery are null in it unless they are ``gained``, columns that are gone are
            dropped.
        delivery: Accepted rows: partition_key, known_at, key and payload columns.
        key: Key columns besides partition_key.
        payload: The other contract columns.
        lag: The feed's usual time from known_at to landed.
        clock: The timeline's instant now.
        previous: as_of of the last delivery that landed before, by partition, whatever became of it
            (accepted, held back or empty); partitions that never landed are absent.
        gained: Payload columns that the history of a partition does not have, by partition.
        redated: Partitions whose history was dated by another rule than the delivery.

    Raises:
        IntegrityError: A key is null or occurs twice in the delivery, or history has another key or
            type than the delivery.
    """
    keys = [PARTITION_KEY, *key]
    delivery = delivery.select([*keys, *payload, KNOWN_AT])
    _require_keys(delivery, keys)
    schema = pa.schema([*delivery.schema, *_TIMES]).remove_metadata()
    past: pa.Table = _aligned(history, schema.append(_VISIBLE.field("visible_to")), keys)
    if past.num_rows:
        groups: dict[frozenset[str], list[str]] = {}
        for partition in redated:
            groups.setdefault((gained or {}).get(partition, frozenset()), []).append(partition)
        again: dict[str, int] = {}
        for names, chosen in groups.items():
            same = [n for n in payload if n not in names]
            past, counted = dated_again(past, delivery, keys, same, chosen, lag, FAR_FUTURE)
            again |= counted
        past, filled = _filled(past, delivery, keys, payload, gained or {})
        before = {k: at for k, at in previous.items() if k not in redated}
        merged, counts = _upsert(past, delivery, keys, payload, lag, clock, before)
        counts |= {k: replace(counts[k], filled=n) for k, n in filled.items()}
        counts |= {k: replace(counts[k], redated=n) for k, n in again.items()}
    else:
        merged, counts = _first_revisions(delivery, keys, lag, clock, previous)
    table = merged.cast(pa.schema([*schema, *_VISIBLE])).combine_chunks()
    return MergeResult(table, counts, tuple(k for k in counts if k not in previous))


def gained_columns(history: Mapping[str, pa.Table], payload: Sequence[str]) -> dict[str, frozenset[str]]:
    """Columns that the history of a partition does not have, by partition; none where it has all.

    Args:
        history: Each partition's own.
        payload: Contract columns besides the key.
    """
    lacking = {k: frozenset(payload) - set(table.column_names) for k, table in history.items()}
    return {k: names for k, names in lacking.items() if names}


def withdraw(history: pa.Table, refused: pa.Table, *, key: Sequence[str], clock: datetime) -> pa.Table:
    """End some keys' last versions: from the clock on they are not seen, until then they were.

    Args:
        history: What :func:`merge` returned.
        refused: partition_key and key columns, in the types of the history.
        key: Key columns besides partition_key.
        clock: The timeline's instant now.
    """
    keys = [PARTITION_KEY, *key]
    with scratch() as db:
        db.register("history", history)
        db.register("refused", refused.select(keys))
        clauses = _clauses(keys, [])
        table = db.sql(_WITHDRAW.format(**clauses), params=[FAR_FUTURE, clock]).to_arrow_table()
    return table.cast(history.schema).combine_chunks()


def as_of_view(history: pa.Table, instant: datetime) -> pa.Table:
    """The rows that were visible at an instant, at most one per key."""
    at = pa.scalar(instant, INSTANT)
    return history.filter(
        pc.and_(pc.less_equal(history["visible_from"], at), pc.greater(history["visible_to"], at))
    )


def _first_revisions(
    delivery: pa.Table,
    keys: Sequence[str],
    lag: timedelta,
    clock: datetime,
    previous: Mapping[str, datetime],
) -> tuple[pa.Table, dict[str, MergeCounts]]:
    """What :func:`_upsert` gives where there is no history, several times as fast: a first load is bulk."""
    rows = delivery.take(pc.sort_indices(delivery, sort_keys=[(n, "ascending") for n in keys]))
    arrival = pc.add(rows[KNOWN_AT], pa.scalar(lag, pa.duration("us")))
    partitions = rows[PARTITION_KEY].combine_chunks().dictionary_encode()
    landed = pa.array([previous.get(k) for k in partitions.dictionary.to_pylist()], INSTANT)
    late = pc.fill_null(pc.less_equal(arrival, landed.take(partitions.indices)), False)
    accepted = pc.if_else(late, pa.scalar(clock, INSTANT), arrival)
    columns = {
        "accepted_at": accepted,
        "revision": pa.repeat(pa.scalar(1, pa.int32()), rows.num_rows),
        "visible_from": pc.if_else(pc.greater(rows[KNOWN_AT], accepted), rows[KNOWN_AT], accepted),
        "visible_to": pa.repeat(pa.scalar(FAR_FUTURE, INSTANT), rows.num_rows),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows, _first_counts(rows[PARTITION_KEY], late)


def _first_counts(partitions: pa.ChunkedArray, late: pa.ChunkedArray) -> dict[str, MergeCounts]:
    table = pa.table({"key": partitions, "late": late.cast(pa.int64())})
    grouped = table.group_by("key").aggregate([("late", "count"), ("late", "sum")]).sort_by("key")
    return {
        row["key"]: MergeCounts(new=row["late_count"], late=row["late_sum"]) for row in grouped.to_pylist()
    }


def _filled(
    past: pa.Table,
    delivery: pa.Table,
    keys: Sequence[str],
    payload: Sequence[str],
    gained: Mapping[str, frozenset[str]],
) -> tuple[pa.Table, dict[str, int]]:
    """History with the values of columns that it did not have, and in how many rows, by partition."""
    groups: dict[frozenset[str], list[str]] = {}
    for partition, names in gained.items():
        groups.setdefault(names, []).append(partition)
    counts: dict[str, int] = {}
    for names, partitions in groups.items():
        same = [*keys, KNOWN_AT, *(n for n in payload if n not in names)]
        clauses = {
            "same": " AND ".join(f"h.{_quoted(n)} IS NOT DISTINCT FROM d.{_quoted(n)}" for n in same),
            "same_key": " AND ".join(f"h.{_quoted(n)} = d.{_quoted(n)}" for n in keys),
            "told": " OR ".join(f"d.{_quoted(n)} IS NOT NULL" for n in sorted(names)),
            "values": ", ".join(
                f"CASE WHEN d.{_quoted(keys[0])} IS NULL THEN h.{_quoted(n)} ELSE d.{_quoted(n)} END "
                f"AS {_quoted(n)}"
                for n in sorted(names)
            ),
        }
        with scratch() as db:
            db.register("history", past)
            db.register("delivery", delivery)
            db.register("chosen", pa.table({PARTITION_KEY: pa.array(partitions, pa.string())}))
            db.execute(_MATCH.format(**clauses), [FAR_FUTURE])
            counts |= dict(db.execute(_COUNT_FILLED).fetchall())
            past = db.sql(_FILL.format(**clauses)).to_arrow_table().cast(past.schema)
    return past, counts


_MATCH = """
CREATE TEMP TABLE matched AS
SELECT d.*, h.revision FROM history h
JOIN chosen c ON c.partition_key = h.partition_key
JOIN delivery d ON {same}
WHERE h.visible_to >= ? AND ({told})
"""

_COUNT_FILLED = "SELECT partition_key, count(*) FROM matched GROUP BY ALL"

_FILL = """
SELECT h.* REPLACE ({values}) FROM history h LEFT JOIN matched d ON {same_key} AND h.revision = d.revision
"""


def _upsert(
    past: pa.Table,
    delivery: pa.Table,
    keys: Sequence[str],
    payload: Sequence[str],
    lag: timedelta,
    clock: datetime,
    previous: Mapping[str, datetime],
) -> tuple[pa.Table, dict[str, MergeCounts]]:
    clauses = _clauses(keys, payload)
    with scratch() as db:
        db.register("history", past)
        db.register("delivery", delivery)
        db.register("previous", _previous_table(previous))
        db.execute(_COMPARE.format(**clauses), [FAR_FUTURE, lag, clock])
        counts = {row[0]: MergeCounts(*row[1:]) for row in db.execute(_COUNT).fetchall()}
        merged = db.sql(_UNITE.format(**clauses), params=[FAR_FUTURE]).to_arrow_table()
    return merged, counts


_COMPARE = """
CREATE TEMP TABLE compared AS
WITH current AS (
    SELECT * FROM history
    QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY revision DESC) = 1
), judged AS (
    SELECT d.*, coalesce(c.revision, 0) AS _last_revision,
        c.revision IS NULL AS _is_new,
        c.revision IS NOT NULL AND ({differs} OR c.visible_to < ?) AS _is_changed,
        d.known_at + CAST(? AS INTERVAL) AS _arrival,
        p.as_of AS _previous_as_of
    FROM delivery d
    LEFT JOIN current c ON {same_key}
    LEFT JOIN previous p ON p.partition_key = d.partition_key
)
SELECT *, _is_new AND (_arrival <= _previous_as_of) IS TRUE AS _is_late,
    CASE WHEN _is_new AND (_arrival <= _previous_as_of) IS NOT TRUE THEN _arrival
         ELSE CAST(? AS TIMESTAMPTZ) END AS accepted_at
FROM judged
"""

_UNITE = """
WITH united AS (
    SELECT {columns}, accepted_at, revision, visible_to AS _until FROM history
    UNION ALL
    SELECT {columns}, accepted_at, CAST(_last_revision + 1 AS INTEGER), NULL
    FROM compared WHERE _is_new OR _is_changed
), dated AS (
    SELECT *, greatest(known_at, accepted_at) AS visible_from FROM united
)
SELECT * EXCLUDE (_until), least(min(visible_from) OVER (
    PARTITION BY {keys} ORDER BY revision ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
), _until, CAST(? AS TIMESTAMPTZ)) AS visible_to
FROM dated ORDER BY {keys}, revision
"""

_WITHDRAW = """
SELECT h.* REPLACE (
    CASE WHEN r.partition_key IS NULL OR h.visible_to < ? THEN h.visible_to
         ELSE greatest(h.visible_from, CAST(? AS TIMESTAMPTZ)) END AS visible_to)
FROM history h LEFT JOIN refused r ON {same_refused}
ORDER BY {own_keys}, h.revision
"""

_COUNT = """
SELECT partition_key, count(*) FILTER (_is_new), count(*) FILTER (_is_changed),
    count(*) FILTER (NOT _is_new AND NOT _is_changed), count(*) FILTER (_is_late)
FROM compared GROUP BY ALL ORDER BY partition_key
"""


def _clauses(keys: Sequence[str], payload: Sequence[str]) -> dict[str, str]:
    return {
        "keys": ", ".join(map(_quoted, keys)),
        "columns": ", ".join(map(_quoted, [*keys, *payload, KNOWN_AT])),
        "own_keys": ", ".join(f"h.{_quoted(n)}" for n in keys),
        "same_refused": " AND ".join(f"h.{_quoted(n)} = r.{_quoted(n)}" for n in keys),
        "same_key": " AND ".join(f"c.{_quoted(n)} = d.{_quoted(n)}" for n in keys),
        "differs": " OR ".join(f"c.{_quoted(n)} IS DISTINCT FROM d.{_quoted(n)}" for n in payload) or "false",
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _previous_table(previous: Mapping[str, datetime]) -> pa.Table:
    return pa.table(
        {
            PARTITION_KEY: pa.array(list(previous), pa.string()),
            "as_of": pa.array(list(previous.values()), INSTANT),
        }
    )


def _require_keys(delivery: pa.Table, keys: Sequence[str]) -> None:
    nulls = [n for n in keys if delivery[n].null_count]
    distinct = delivery.select(keys).group_by(keys).aggregate([]).num_rows
    if nulls or distinct < delivery.num_rows:
        what = f"null in {', '.join(nulls)}" if nulls else f"{delivery.num_rows - distinct} repeated keys"
        raise IntegrityError(
            f"the delivery cannot be merged: {what}",
            where=f"key ({', '.join(keys)})",
            fix="check the delivery against its contract first, which quarantines such rows",
        )


def _aligned(history: pa.Table | None, schema: pa.Schema, keys: Sequence[str]) -> pa.Table:
    if history is None:
        return schema.empty_table()
    lacking = [n for n in [*keys, KNOWN_AT, *_TIMES.names] if n not in history.column_names]
    try:
        if lacking:
            raise pa.ArrowInvalid(f"it has no column {', '.join(lacking)}")
        rows = history.num_rows
        columns = [
            history[f.name].cast(f.type) if f.name in history.column_names else pa.nulls(rows, f.type)
            for f in schema
        ]
    except pa.ArrowException as error:
        raise IntegrityError(
            f"accepted history does not fit the delivery: {error}",
            where="accepted history",
            fix="a contract that changes a key or a type needs a new feed name",
        ) from error
    return pa.table(columns, schema=schema)
