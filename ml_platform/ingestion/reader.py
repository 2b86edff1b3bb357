"""Calling a use case's feed reader and holding it to its promise.

A reader is the only code that knows a source. It is a function
``read(request: FeedRequest) -> pyarrow.Table`` (or an iterable of ``RecordBatch``), which returns the raw
columns of the partitions asked for and two columns of its own:

- ``partition_key`` (string): the partition that a row belongs to,
- ``known_at`` (timestamp with a zone): when the world could first have told us this row.

It returns all it has; the platform drops what could not have landed by the as-of instant. A feed that
declares its ``event_time`` in ``use_case.yaml`` need return neither: the platform places and dates the rows.
A feed with a ``source`` needs no reader at all; see :mod:`ml_platform.ingestion.sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.errors import FeedError, PlatformError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.code import defined_at, load_code, place_of
from ml_platform.ingestion.placing import place
from ml_platform.ingestion.sources import read_source
from ml_platform.ingestion.unending import kept_running
from ml_platform.partitions import Partition

INSTANT = pa.timestamp("us", tz="UTC")
PARTITION_KEY, KNOWN_AT = "partition_key", "known_at"
PROMISED = pa.schema([(PARTITION_KEY, pa.string()), (KNOWN_AT, INSTANT)])
"""The columns that every reader adds to the raw ones."""


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What a reader is asked for.

    Attributes:
        feed: Name of the feed.
        partitions: Partitions wanted, in order.
        settings: The feed's ``settings`` from ``use_case.yaml``.
    """

    feed: str
    partitions: tuple[Partition, ...]
    settings: Mapping[str, Any]


Delivery: TypeAlias = "pa.Table | Iterable[pa.RecordBatch]"
FeedReader = Callable[[FeedRequest], Delivery]


def load_reader(folder: Path, spec: str) -> FeedReader:
    """The reader function that ``spec`` names; errors as :func:`ml_platform.ingestion.code.load_code`."""
    return load_code(folder, spec)


def read_feed(
    use_case: UseCase,
    feed: FeedConfig,
    partitions: Sequence[Partition],
    as_of: datetime,
    faults: list[FeedError] | None = None,
    seen: Callable[[pa.Table], object] = lambda _: None,
) -> pa.Table:
    """What had landed of some partitions by ``as_of``, from the feed's source or its reader.

    Args:
        use_case: The use case whose folder holds the reader.
        feed: The feed.
        partitions: Partitions to read.
        as_of: Instant (aware); rows with ``known_at + landing_lag`` after it are dropped.
        faults: As for :func:`ml_platform.ingestion.placing.place`.
        seen: Shown all rows that were read before those of other partitions are left out: a file is read as
            a whole, and a check looks at more of it than it lands.

    Returns:
        Raw columns as the reader gave them, ``partition_key`` string and ``known_at`` timestamp[us, UTC].

    Raises:
        FeedError: The reader fails, or returns something other than it promised.
    """
    where = f"{use_case.folder} ({feed.origin})"
    request = FeedRequest(feed.name, tuple(partitions), feed.settings)
    if feed.source is not None:
        table = read_source(use_case.folder, feed, partitions)
    else:
        reader = load_reader(use_case.folder, feed.reader)
        where = f"{defined_at(reader)} ({feed.reader})"
        table = _call(reader, request, use_case.folder, feed.reader)
    seen(table)
    if feed.declared and table.num_rows:
        table = place(table, feed, use_case.scheme, partitions, faults)
    elif feed.declared:
        table = PROMISED.empty_table()
    table = _checked(table, request, where)
    return table.filter(pc.less_equal(table[KNOWN_AT], pa.scalar(as_of - feed.landing_lag, INSTANT)))


def _call(reader: FeedReader, request: FeedRequest, folder: Path, spec: str) -> pa.Table:
    try:
        with kept_running():
            delivery = reader(request)
            return delivery if isinstance(delivery, pa.Table) else _assembled(delivery)
    except PlatformError as error:
        raise FeedError(
            f"feed {request.feed}: {error.what}",
            where=error.where or f"{defined_at(reader)} ({spec})",
            fix=error.fix or "correct the source or the reader",
        ) from error
    except (Exception, SystemExit) as error:  # code that ends its process would end a run without a word
        raise FeedError(
            f"feed {request.feed}: its reader fails: {type(error).__name__}: {error}",
            where=f"{place_of(error, folder) or defined_at(reader)} ({spec})",
            fix="correct the source or the reader, then land the partition again",
        ) from error


def _assembled(delivery: object) -> pa.Table:
    batches = list(delivery) if isinstance(delivery, Iterable) else [delivery]
    if not all(isinstance(b, pa.RecordBatch) for b in batches):
        raise FeedError(
            f"its reader returns {type(delivery).__name__}, not a pyarrow.Table or record batches",
            fix="return a table; of a pandas data frame pa.Table.from_pandas(frame, preserve_index=False)",
        )
    return pa.Table.from_batches(batches) if batches else PROMISED.empty_table()


def _checked(table: pa.Table, request: FeedRequest, where: str) -> pa.Table:
    def broken(what: str, fix: str) -> FeedError:
        return FeedError(f"feed {request.feed}: {what}", where=where, fix=fix)

    twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if twice:
        raise broken(f"columns named twice: {', '.join(twice)}", "give each column its own name")
    missing = [n for n in PROMISED.names if n not in table.column_names]
    if missing:
        raise broken(f"the reader returns no column {' and '.join(missing)}", "add it to every row")
    keys, known_at = table[PARTITION_KEY], table[KNOWN_AT]
    if not _is_string(keys.type):
        raise broken(f"partition_key is {keys.type}, not string", "return the partition's key as text")
    if not (pa.types.is_timestamp(known_at.type) and known_at.type.tz):
        raise broken(f"known_at is {known_at.type}, not an instant", "return a timestamp with tz='UTC'")
    if keys.null_count or known_at.null_count:
        raise broken("some rows have no partition_key or known_at", "set both in every row")
    table = _with(_with(table, PARTITION_KEY, keys.cast(pa.string())), KNOWN_AT, _instants(known_at))
    asked = {p.key for p in request.partitions}
    foreign = sorted(set(pc.unique(table[PARTITION_KEY]).to_pylist()) - asked)
    if foreign:
        raise broken(
            f"rows of partitions that were not asked for: {', '.join(foreign[:5])}",
            "return only request.partitions",
        )
    return table


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(INSTANT, safe=False)


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)
