"""SQL over what is published, as of any day: DuckDB with views on the lake's Parquet and the ledger.

In a notebook::

    from ml_platform.lifecycle import sql
    from ml_platform.lifecycle.platform import Platform

    table = sql.query(Platform(), "select * from verdicts", as_of=date(2020, 9, 7))

It only reads: one SELECT, no other files, no settings. Only objects of the relations that a query names are
fetched.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ml_platform.errors import ConfigError, NotFoundError, NotReadyError, PlatformError
from ml_platform.features.engine import normalised
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.relations import (
    ACCEPTED,
    FEED,
    LEDGER,
    UNIONS,
    Moment,
    Relation,
    objects,
    records,
    relations,
)
from ml_platform.storage.memory import scratch

AsOf = datetime | date | None
FORMATS = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY", "parquet": "FORMAT parquet"}
"""DuckDB's options for the files that a result can be written to."""


@dataclass(frozen=True)
class Described:
    """A relation with its columns.

    Attributes:
        name: As it is written in SQL.
        source: The asset or the table of the ledger.
        about: What it holds.
        columns: Name and DuckDB type of each column.
    """

    name: str
    source: str
    about: str
    columns: tuple[tuple[str, str], ...]


@dataclass
class _Open:
    """A connection, the relations in it, and the files that they read."""

    connection: duckdb.DuckDBPyConnection
    readable: set[Relation] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)


def query(platform: Platform, text: str, as_of: AsOf = None) -> pa.Table:
    """The rows of one SELECT.

    Args:
        platform: The stores.
        text: The query.
        as_of: An instant with its offset or a local day (to its end, in each use case's own zone); what is
            in force when None.

    Raises:
        ConfigError: It is no SQL, not one SELECT, or does not run.
        NotFoundError: It names a relation that does not exist.
        NotReadyError: Nothing had been published of one that it names.
    """
    named = _named(text)
    found = relations(platform)
    asked = [r for r in found if r.full_name.lower() in named or f"main.{r.name}".lower() in named]
    with _opened(platform, Moment(platform, as_of), asked, found) as opened:
        for relation in asked:
            if relation not in opened.readable:
                raise NotReadyError(
                    f"no rows of '{relation.full_name}' had been published"
                    + (f" by {as_of}" if as_of else ""),
                    where=relation.source,
                    fix="ask for a later --as-of, or materialise it first",
                )
        try:
            _lock(opened)
            return normalised(opened.connection.sql(text).to_arrow_table())
        except duckdb.Error as error:
            raise _does_not_run(error, text) from error


@contextlib.contextmanager
def connect(platform: Platform, as_of: AsOf = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with every relation, for a notebook; nothing in it is kept.

    Unlike :func:`query` it fetches all published objects, which on S3 can be many.
    """
    found = relations(platform)
    with _opened(platform, Moment(platform, as_of), found, found) as opened:
        yield opened.connection


def describe(platform: Platform, as_of: AsOf = None) -> list[Described]:
    """Every relation that can be read then, with its columns."""
    found = relations(platform)
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    with _opened(platform, Moment(platform, as_of), found, found) as opened:
        rows = opened.connection.execute(
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
            "ORDER BY table_schema, table_name, ordinal_position"
        ).fetchall()
    for schema, table, column, kind in rows:
        columns.setdefault((schema, table), []).append((column, kind))
    return [
        Described(r.full_name, r.source, r.about, tuple(columns[r.schema, r.name]))
        for r in found
        if r in opened.readable
    ]


def write(table: pa.Table, kind: str, out: Path) -> None:
    """Write rows to a file.

    Args:
        table: The rows.
        kind: ``csv``, ``json`` (a list of records) or ``parquet``.
        out: The file.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        with scratch() as connection:
            connection.register("result", table)
            connection.execute(f"COPY result TO {_literal(out)} ({FORMATS[kind]})")
    except duckdb.Error as error:
        raise ConfigError(
            f"the result cannot be written: {str(error).splitlines()[0]}",
            where=str(out),
            fix="name a file in a folder that exists and that you may write to",
        ) from error


def _named(text: str) -> set[str]:
    """Relations that a query names, in lower case.

    Raises:
        ConfigError: It is no SQL, or anything but one SELECT.
    """
    with scratch() as connection:
        try:
            row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchone()
        except duckdb.Error as error:
            raise _does_not_run(error, text) from error
    assert row is not None
    tree = json.loads(row[0])
    if tree["error"] or len(tree["statements"]) != 1:
        why = tree.get("error_message") or f"this is {len(tree['statements'])} statements"
        raise ConfigError(
            f"only one SELECT is run: {why}",
            where=text.strip()[:120],
            fix="write one query that reads; what it returns can be written with --out",
        )
    return {name.lower() for name in _tables(tree)}


def _tables(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            schema = node.get("schema_name") or ""
            yield f"{schema}.{node['table_name']}" if schema else node["table_name"]
        for value in node.values():
            yield from _tables(value)
    elif isinstance(node, list):
        for value in node:
            yield from _tables(value)


@contextlib.contextmanager
def _opened(
    platform: Platform, moment: Moment, asked: Sequence[Relation], known: Sequence[Relation]
) -> Iterator[_Open]:
    """A connection with the relations asked for, and those that these are made of."""
    opened = _Open(duckdb.connect(":memory:"))
    try:
        opened.connection.execute("SET TimeZone='UTC'")
        needed = {UNIONS[r.name][0] for r in asked if r.schema == "main" and r.name in UNIONS}
        parts = [r for r in known if _last(r) in needed]
        for relation in dict.fromkeys([*parts, *(r for r in asked if r.schema != "main")]):
            _show_asset(opened, platform, relation, moment)
        for relation in (r for r in asked if r.schema == "main"):
            if relation.name in LEDGER:
                _show_records(opened, relation, records(platform, relation.name, moment))
            else:
                wanted = UNIONS[relation.name][0]
                _unite(opened, relation, [p for p in parts if p in opened.readable and _last(p) == wanted])
        yield opened
    finally:
        opened.connection.close()


def _last(relation: Relation) -> str | None:
    """The last part of a use case's asset."""
    schema, _, rest = relation.source.partition("/")
    return rest.rpartition("/")[2] if rest and schema not in (FEED, "*") else None


def _show_asset(opened: _Open, platform: Platform, relation: Relation, moment: Moment) -> None:
    published = objects(platform, relation.source, moment)
    if not published:
        return
    files = platform.lake.paths(p.digest for p in published)
    opened.files += files
    opened.readable.add(relation)
    opened.connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{relation.schema}"')
    opened.connection.execute(
        f'CREATE VIEW "{relation.schema}"."{relation.name}" AS '
        f"SELECT * FROM read_parquet([{', '.join(map(_literal, files))}], union_by_name=true)"
        + _visible(relation, moment.of(relation.source))
    )


def _show_records(opened: _Open, relation: Relation, rows: pa.Table) -> None:
    opened.connection.register("_rows", rows)
    opened.connection.execute(f'CREATE TABLE "{relation.name}" AS FROM _rows')
    opened.connection.unregister("_rows")
    opened.readable.add(relation)


def _unite(opened: _Open, union: Relation, parts: Sequence[Relation]) -> None:
    if not parts:
        return
    opened.connection.execute(
        f'CREATE VIEW "{union.name}" AS ' + " UNION ALL BY NAME ".join(map(_part, parts))
    )
    opened.readable.add(union)


def _part(part: Relation) -> str:
    owner, _, _ = part.source.rpartition("/")
    column = "model_key" if "/" in owner else "use_case"
    return f'SELECT {_literal(owner)} AS {column}, * FROM "{part.schema}"."{part.name}"'


def _visible(relation: Relation, instant: datetime | None) -> str:
    """The rows of an accepted history that a relation shows."""
    if relation.schema != FEED or not relation.source.endswith(f"/{ACCEPTED}"):
        return ""
    current = not relation.name.endswith(f"_{ACCEPTED}")
    if instant is None:
        return " WHERE visible_to >= TIMESTAMPTZ '9999-01-01'" if current else ""
    then = f"TIMESTAMPTZ '{instant.isoformat()}'"
    return f" WHERE visible_from <= {then}" + (f" AND {then} < visible_to" if current else "")


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _lock(opened: _Open) -> None:
    """From here on nothing but the relations' own files can be opened."""
    files = ", ".join(map(_literal, opened.files))
    opened.connection.execute(f"SET allowed_paths=[{files}]")
    opened.connection.execute("SET enable_external_access=false")
    opened.connection.execute("SET lock_configuration=true")


def _does_not_run(error: duckdb.Error, text: str) -> PlatformError:
    said = str(error).splitlines()[0]
    where = " ".join(text.split())[:120]
    if isinstance(error, duckdb.CatalogException) and "Table with name" in said:
        return NotFoundError(said, where=where, fix="`ml-platform sql --list` shows what there is")
    return ConfigError(
        f"the query does not run: {said}",
        where=where,
        fix="correct it; `ml-platform sql --list` shows relations and columns",
    )
