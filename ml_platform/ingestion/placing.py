"""Places rows in partitions and dates them: what a declared feed says in place of a reader's code."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import FeedError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.sources import ARRIVED, INSTANT, OWN, places_of
from ml_platform.partitions import STATIC_KEY, Partition, PartitionScheme

EPOCHS = {"epoch_seconds": 1, "epoch_milliseconds": 1000}
"""Formats of numbers that count from 1970, as `time_format` names them; beside those of strptime."""
_FIRST_SECOND, _LAST_SECOND = 631_152_000, 4_102_444_800
"""1990 and 2100: a count beyond them is of another unit, or none."""
_SHOWN = 3
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def place(
    table: pa.Table,
    feed: FeedConfig,
    scheme: PartitionScheme,
    partitions: Sequence[Partition],
    faults: list[FeedError] | None = None,
) -> pa.Table:
    """The rows of some partitions, with ``partition_key`` and ``known_at``.

    Args:
        table: All rows of a source.
        feed: A declared feed.
        scheme: Partitions of the use case.
        partitions: Those wanted; rows of others are left out, they land with their own.
        faults: Where given, one error for each column with times that cannot be read is put here, and the
            rows are left out: a check goes on to what else is wrong.

    Raises:
        FeedError: A row has no readable event time, or no known_at; all such columns are named.
    """
    table, known, found = _legible(table, feed, feed.timezone or scheme.timezone)
    if found and faults is None:
        raise _together(found)
    if faults is not None:
        faults += found
    events = table[feed.event_time] if feed.event_time else None
    known = _known_at(table, feed, events) if known is None else known
    keys = pa.repeat(STATIC_KEY, table.num_rows) if feed.static else _keys(events, scheme)
    table = table.append_column("partition_key", keys).append_column("known_at", known)
    table = table.drop_columns([n for n in OWN if n in table.column_names])
    wanted = pa.array([p.key for p in partitions], pa.string())
    return table.filter(pc.is_in(table["partition_key"], wanted))


def _legible(
    table: pa.Table, feed: FeedConfig, zone: str
) -> tuple[pa.Table, pa.ChunkedArray | None, list[FeedError]]:
    """The rows whose times can all be read, when they were known, and an error for each column with others.

    Raises:
        FeedError: There is no such column, or it is of a type that holds no instant.
    """
    known_at = feed.known_at.column if feed.known_at is not None else None
    required = [n for n in (feed.event_time, known_at) if n]
    columns = list(dict.fromkeys([*feed.timestamps, *required]))
    read = {n: instants(table, n, feed, zone, required=n in required) for n in columns}
    for name in (*feed.timestamps, feed.event_time):
        if name:
            table = _replaced(table, name, read[name][0])
    known = read[known_at][0] if known_at else None
    found = [error for _, _, error in read.values() if error is not None]
    if found:
        legible = pc.invert(reduce(pc.or_, (unread for _, unread, _ in read.values())))
        table, known = table.filter(legible), known.filter(legible) if known is not None else None
    return table, known, found


def _together(found: Sequence[FeedError]) -> FeedError:
    if len(found) == 1:
        return found[0]
    return FeedError(
        "; ".join(e.what for e in found), where="; ".join(e.where for e in found), fix=found[0].fix
    )


def instants(
    table: pa.Table, name: str, feed: FeedConfig, zone: str, *, required: bool = True
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, FeedError | None]:
    """A column as instants: text by the feed's format or ISO, without an offset in the feed's zone.

    Returns:
        The instants, null where a value cannot be read; where that is so, or where one is missing though
        required; and an error that says so.

    Raises:
        FeedError: There is no such column, or it is of a type that holds no instant.
    """
    if name not in table.column_names:
        there = ", ".join(n for n in table.column_names if n not in OWN)
        raise FeedError(
            f"feed {feed.name}: there is no column '{name}'", where=feed.origin, fix=f"it has: {there}"
        )
    column = table[name]
    try:
        read = read_instants(column, zone, feed.time_format)
    except pa.ArrowException as error:
        raise FeedError(
            f"feed {feed.name}: column '{name}' is {column.type}, which is no instant: {error}",
            where=feed.origin,
            fix="name a column of dates or instants",
        ) from error
    unread = read.is_null() if required else pc.and_(read.is_null(), column.is_valid())
    if not pc.any(unread, min_count=0).as_py():
        return read, unread, None
    rows = [i for i, bad in enumerate(unread.to_pylist()) if bad]
    shown = rows[:_SHOWN]
    places = zip(places_of(table, shown, feed.origin), shown, strict=True)
    how = f"the format {feed.time_format}" if feed.time_format else "ISO (2024-01-31T10:00:00)"
    return (
        read,
        unread,
        FeedError(
            f"feed {feed.name}: {len(rows)} of {len(column)} values of '{name}' cannot be read as {how}",
            where=", ".join(f"{place}: {column[i].as_py()!r}" for place, i in places),
            fix=f"{_how_to_write(column, rows, feed)}; nothing has been landed",
        ),
    )


def _how_to_write(column: pa.ChunkedArray, unread: Sequence[int], feed: FeedConfig) -> str:
    values = [column[i].as_py() for i in unread[:_SHOWN]]
    if feed.time_format and all(v is not None and _read_one(str(v).strip(), "UTC", "") for v in values):
        return (
            f"these are ISO: take `time_format: {feed.time_format}` out, or write all values in that format"
        )
    return "write all of them in one format and name it in `time_format`"


def read_instants(column: pa.ChunkedArray, zone: str, time_format: str = "") -> pa.ChunkedArray:
    """Instants in UTC; null where a text cannot be read.

    Raises:
        pyarrow.ArrowException: The column is of a type that cannot be an instant.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(INSTANT, safe=False)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _located(column.cast(pa.timestamp("us"), safe=False), zone)
    texts = pc.utf8_trim_whitespace(column.cast(pa.string())).combine_chunks().dictionary_encode()
    read = pa.array([_read_one(t, zone, time_format) for t in texts.dictionary.to_pylist()], INSTANT)
    return pa.chunked_array([read.take(texts.indices)])


def _read_one(text: str, zone: str, time_format: str) -> datetime | None:
    from zoneinfo import ZoneInfo

    try:
        if time_format in EPOCHS:
            seconds = float(text) / EPOCHS[time_format]
            if not _FIRST_SECOND <= seconds < _LAST_SECOND:
                return None
            return datetime.fromtimestamp(seconds, UTC)
        moment = datetime.strptime(text, time_format) if time_format else datetime.fromisoformat(text)  # noqa: DTZ007
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def _located(column: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    # A local time that occurs twice is its earlier instant, as everywhere on the platform.
    located = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
    return located.cast(INSTANT)


def _known_at(table: pa.Table, feed: FeedConfig, events: pa.ChunkedArray | None) -> pa.ChunkedArray:
    rule = feed.known_at
    if rule is not None and rule.arrival:
        return table[ARRIVED]
    if events is None:
        return pa.chunked_array([pa.repeat(pa.scalar(_LONG_AGO, INSTANT), table.num_rows)])
    if rule is not None and rule.delay is not None:
        return pc.add(events, pa.scalar(rule.delay, pa.duration("us")))
    return events


def _keys(events: pa.ChunkedArray | None, scheme: PartitionScheme) -> pa.Array:
    """Partition keys; each distinct local day or hour is looked up once."""
    assert events is not None
    local = pc.local_timestamp(events.combine_chunks().cast(pa.timestamp("us", tz=scheme.timezone)))
    unit = "hour" if scheme.width == "hourly" else "day"
    encoded = pc.floor_temporal(local, unit=unit).dictionary_encode()
    moments = encoded.dictionary.to_pylist()
    names = [m.strftime("%Y-%m-%dT%H") if unit == "hour" else scheme.key_of_day(m.date()) for m in moments]
    return pa.array(names, pa.string()).take(encoded.indices)


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)
