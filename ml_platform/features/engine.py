"""Runs the compiled views in a disposable DuckDB whose feeds are views on accepted Parquet.

A feed is bitemporal: each row is visible from ``visible_from`` until ``visible_to``. The views see the
rows visible at or before ``as_of``; what each row of ``entities`` may use is cut by its own cutoff.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.features.dbt import CompiledViews, View
from ml_platform.features.kept import KeptFeeds
from ml_platform.features.relations import CUTOFF_COLUMNS, CUTOFFS, history_names, relation_of
from ml_platform.features.sql_lines import said
from ml_platform.storage.memory import database

DATABASE = "warehouse"
INSTANT = pa.timestamp("us", tz="UTC")
_HISTORY_TYPES = {"partition_key": pa.string(), "revision": pa.int32()}


@dataclass(frozen=True)
class Cutoff:
    """One partition asked for: its span and the instant after which nothing counts (all UTC)."""

    partition_key: str
    start: datetime
    end: datetime
    cutoff: datetime


@dataclass(frozen=True)
class FeedFiles:
    """A feed's accepted Parquet files, and its schema for when there are none."""

    name: str
    files: Sequence[Path]
    schema: pa.Schema


def history_schema(contract: pa.Schema) -> pa.Schema:
    """Schema of a feed's accepted history: the contract's columns, then when they were known and visible."""
    added = history_names(contract.names)[len(contract.names) :]
    return pa.schema([*contract, *(pa.field(name, _HISTORY_TYPES.get(name, INSTANT)) for name in added)])


@contextlib.contextmanager
def warehouse(
    feeds: Sequence[FeedFiles],
    cutoffs: Sequence[Cutoff],
    as_of: datetime,
    *,
    file: Path | None = None,
    kept: KeptFeeds | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with the relations ``feed_<name>`` and ``cutoffs``.

    Args:
        feeds: Feeds to show.
        cutoffs: Partitions to build.
        as_of: Rows that became visible later are hidden.
        file: Where the database is left for dbt; in memory when ``None``.
        kept: Rows that this process keeps; each file is read when ``None``.
    """
    if kept is not None and file is None:
        with kept.connected(DATABASE) as held:
            if held is not None:
                for feed in feeds:
                    _create_feed(held, feed, as_of, kept.source(feed.name, feed.files))
                _create_cutoffs(held, cutoffs, as_of)
                yield held
                return
    with duckdb.connect(str(file)) if file else database(DATABASE) as connection:
        connection.execute("SET TimeZone='UTC'")
        for feed in feeds:
            _create_feed(connection, feed, as_of)
        _create_cutoffs(connection, cutoffs, as_of)
        yield connection


def build_view(connection: duckdb.DuckDBPyConnection, views: CompiledViews, view: View) -> pa.Table:
    """Build the entities, then one view over them; returns its rows.

    Raises:
        ConfigError: The SQL does not run on these feeds.
    """
    for each in (views.entities, view):
        try:
            connection.execute(f'CREATE OR REPLACE TABLE "{each.name}" AS {each.sql}')
        except duckdb.Error as error:
            what, line = said(error)
            raise ConfigError(
                f"the view '{each.name}' does not run: {what}",
                where=each.where(line),
                fix="correct its SQL, or the contract of the feed that it reads",
            ) from error
    return read_view(connection, view.name)


def read_view(connection: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    """All rows of a built view, instants as UTC microseconds."""
    return normalised(connection.sql(f'SELECT * FROM "{name}"').to_arrow_table())


def split(table: pa.Table, key: Sequence[str], partitions: Sequence[str], view: str) -> dict[str, pa.Table]:
    """A view's rows by partition, sorted by key; a partition without rows has an empty table.

    Raises:
        IntegrityError: Two rows have one key, or the view lacks a key column.
    """
    missing = [c for c in ("partition_key", *key) if c not in table.column_names]
    if missing:
        raise IntegrityError(
            f"the view lacks the column(s) {', '.join(missing)}", where=view, fix="select them in its SQL"
        )
    order = [("partition_key", "ascending"), *((k, "ascending") for k in key)]
    table = table.sort_by(order).combine_chunks()
    repeated = _repeated(table, ["partition_key", *key])
    if repeated:
        raise IntegrityError(
            f"{repeated} row(s) repeat a key ({', '.join(key)})",
            where=view,
            fix="make the entities' SQL return each key once per partition",
        )
    return _slices(table, partitions)


def normalised(table: pa.Table) -> pa.Table:
    """The table with every instant as ``timestamp[us, UTC]`` and every text as ``string``."""
    fields = []
    for column in table.schema:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            kind = INSTANT
        elif pa.types.is_large_string(kind) or pa.types.is_dictionary(kind) or str(kind) == "string_view":
            kind = pa.string()
        elif pa.types.is_decimal(kind):
            kind = pa.float64()
        fields.append(pa.field(column.name, kind))
    return table.cast(pa.schema(fields))


def _repeated(table: pa.Table, columns: Sequence[str]) -> int:
    """Rows of a sorted table that equal the row before them in some columns; null equals null."""
    if table.num_rows < 2:
        return 0
    same = np.ones(table.num_rows - 1, dtype=bool)
    for name in columns:
        before, after = table[name].slice(0, table.num_rows - 1), table[name].slice(1)
        equal = pc.or_kleene(pc.equal(before, after), pc.and_(pc.is_null(before), pc.is_null(after)))
        same &= pc.fill_null(equal, False).to_numpy()
    return int(same.sum())


def _slices(table: pa.Table, partitions: Sequence[str]) -> dict[str, pa.Table]:
    """Slices of a table that is sorted by partition."""
    runs = pc.run_end_encode(table["partition_key"].combine_chunks(), run_end_type=pa.int64())
    ends = runs.run_ends.to_pylist()
    names = runs.values.to_pylist()
    bounds = dict(zip(names, zip([0, *ends[:-1]], ends, strict=True), strict=True)) if names else {}
    empty = table.slice(0, 0)
    return {
        p: table.slice(bounds[p][0], bounds[p][1] - bounds[p][0]) if p in bounds else empty
        for p in partitions
    }


def _create_feed(
    connection: duckdb.DuckDBPyConnection, feed: FeedFiles, as_of: datetime, kept: str | None = None
) -> None:
    source = kept or _source(connection, feed)
    connection.execute(
        f'CREATE OR REPLACE VIEW "{relation_of(feed.name)}" AS SELECT * FROM {source} '
        f"WHERE visible_from <= TIMESTAMPTZ '{as_of.isoformat()}'"
    )


def _source(connection: duckdb.DuckDBPyConnection, feed: FeedFiles) -> str:
    """SQL that reads a feed's files; an empty table's name where there are none."""
    if feed.files:
        names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in feed.files)
        return f"read_parquet([{names}], union_by_name=true)"
    connection.register(f"_empty_{feed.name}", feed.schema.empty_table())
    connection.execute(f'CREATE OR REPLACE TABLE "_no_{feed.name}" AS SELECT * FROM "_empty_{feed.name}"')
    return f'"_no_{feed.name}"'


def _create_cutoffs(
    connection: duckdb.DuckDBPyConnection, cutoffs: Sequence[Cutoff], as_of: datetime
) -> None:
    rows = [(c.partition_key, c.start, c.end, c.cutoff, as_of) for c in cutoffs]
    types = [pa.string(), *[INSTANT] * (len(CUTOFF_COLUMNS) - 1)]
    arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(types)]
    connection.register("_cutoffs", pa.table(arrays, names=CUTOFF_COLUMNS))
    connection.execute(f"CREATE OR REPLACE TABLE {CUTOFFS} AS SELECT * FROM _cutoffs")
    connection.unregister("_cutoffs")
