"""Predictions for other systems: CSV, Parquet, or a table of any SQL database."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ml_platform.errors import ConfigError, StoreError
from ml_platform.storage.parquet import write_table

_CHUNK_ROWS = 2000
_KEY_CHARACTERS = 190
"""Longest text in a key column: what every database can index."""

_MODEL, _PARTITION = "model_key", "partition_key"


def export_csv(table: pa.Table, path: Path) -> int:
    """Write a CSV file with a header, UTF-8, instants as ``2024-05-01 15:30:00.000000Z``.

    The file appears whole or not at all, and replaces an older one.

    Returns:
        Rows written.

    Raises:
        ConfigError: The format has no place for a column.
        StoreError: The file cannot be written.
    """
    return _write_file(table, path, lambda file: pa_csv.write_csv(_plain(table), file))


def export_parquet(table: pa.Table, path: Path) -> int:
    """Write a Parquet file; otherwise as :func:`export_csv`."""
    return _write_file(table, path, lambda file: file.write_bytes(write_table(table)))


def export_database(
    table: pa.Table,
    url: str,
    name: str,
    *,
    model_key: str,
    partitions: Sequence[str] | None = None,
    key: Sequence[str] = (),
) -> int:
    """Replace a model's predictions of some partitions in a database's table, in one transaction.

    The same export twice leaves the same rows. The table is made where it is missing, with the columns of
    ``table`` and ``model_key``, and a primary key of ``model_key``, ``partition_key`` and ``key``.
    Instants are UTC; NaN becomes NULL.

    Args:
        table: Predictions with a ``partition_key`` column.
        url: SQLAlchemy URL of the database.
        name: The table's name, ``schema.name`` where it needs one.
        model_key: The model that made them.
        partitions: Partitions to replace, where one may have no rows; those in ``table`` by default.
        key: Other columns that make a row unique; without them the table gets no primary key.

    Returns:
        Rows written.

    Raises:
        ConfigError: A column is missing or has no SQL type, or the table has other columns.
        StoreError: The database is down, or refuses; nothing changed.
    """
    rows = _with_model(_plain(table), model_key, key)
    wanted = list(rows[_PARTITION].unique().to_pylist() if partitions is None else partitions)
    if stray := set(rows[_PARTITION].unique().to_pylist()) - set(wanted):
        raise ConfigError(
            f"the predictions hold partitions that are not to be replaced: {', '.join(sorted(stray))}",
            where=name,
            fix="name these partitions too, or leave their rows out",
        )
    with _database(url, name) as connection:
        target = _target(connection, name, rows.schema, key)
        same = (target.c[_MODEL] == model_key) & target.c[_PARTITION].in_(wanted)
        connection.execute(sa.delete(target).where(same))
        for batch in rows.to_batches(max_chunksize=_CHUNK_ROWS):
            connection.execute(sa.insert(target), batch.to_pylist())
    return int(rows.num_rows)


def _write_file(table: pa.Table, path: Path, write: Callable[[Path], object]) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        aside = Path(name)
        try:
            write(aside)
            aside.chmod(0o644)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except pa.ArrowException as error:
        raise ConfigError(
            f"these columns do not fit into a {path.suffix.lstrip('.').upper()} file: {error}",
            where=str(path),
            fix="leave nested columns out, or export Parquet",
        ) from error
    except OSError as error:
        raise StoreError(
            f"the export cannot be written: {error}", where=str(path), fix="check the folder, rights and room"
        ) from error
    return int(table.num_rows)


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries decoded and instants in UTC."""
    for index, column in enumerate(table.schema):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            kind = pa.timestamp("us", tz="UTC")
        if kind != column.type:
            table = table.set_column(index, column.name, table[column.name].cast(kind))
    return table


def _with_model(table: pa.Table, model_key: str, key: Sequence[str]) -> pa.Table:
    missing = [column for column in (_PARTITION, *key) if column not in table.column_names]
    if missing:
        raise ConfigError(
            f"the predictions have no column {', '.join(missing)}",
            where=model_key,
            fix=f"choose among {', '.join(table.column_names)}",
        )
    if _MODEL in table.column_names:
        table = table.drop_columns([_MODEL])
    table = table.add_column(0, _MODEL, pa.repeat(pa.scalar(model_key), table.num_rows))
    for index, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table[column.name].cast(pa.float64())
            empty = pa.scalar(None, pa.float64())
            table = table.set_column(index, column.name, pc.if_else(pc.is_nan(values), empty, values))
    return table


@contextlib.contextmanager
def _database(url: str, name: str) -> Iterator[sa.Connection]:
    where = "the database"
    try:
        engine = sa.create_engine(url)
        where = f"{engine.url.render_as_string(hide_password=True)}, table {name}"
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        # Only the driver's own words: SQLAlchemy's would quote the rows.
        reason = getattr(error, "orig", None) or error
        raise StoreError(
            f"the export failed and nothing was changed: {reason}",
            where=where,
            fix="check address, credentials, driver and rights, and that an older table has the same types",
        ) from error


def _target(connection: sa.Connection, name: str, schema: pa.Schema, key: Sequence[str]) -> sa.Table:
    namespace, _, plain = name.rpartition(".")
    metadata = sa.MetaData(schema=namespace or None)
    primary = (_MODEL, _PARTITION, *key) if key else ()
    columns = [
        sa.Column(f.name, _sql_type(f, f.name in {_MODEL, _PARTITION, *key}), primary_key=f.name in primary)
        for f in schema
    ]
    target = sa.Table(plain, metadata, *columns)
    inspector = sa.inspect(connection)
    if not inspector.has_table(plain, schema=namespace or None):
        target.create(connection)
        return target
    there = {column["name"] for column in inspector.get_columns(plain, schema=namespace or None)}
    if lacking := [column.name for column in target.columns if column.name not in there]:
        raise ConfigError(
            f"the table {name} has no column {', '.join(lacking)}",
            where=connection.engine.url.render_as_string(hide_password=True),
            fix="export to another table, or add the columns to this one",
        )
    return target


def _sql_type(column: pa.Field, indexed: bool) -> Any:
    text = sa.String(_KEY_CHARACTERS) if indexed else sa.Text()
    kinds: list[tuple[Callable[[pa.DataType], bool], Any]] = [
        (pa.types.is_boolean, sa.Boolean()),
        (pa.types.is_integer, sa.BigInteger()),
        (pa.types.is_floating, sa.Double()),
        (pa.types.is_string, text),
        (pa.types.is_large_string, text),
        (pa.types.is_timestamp, sa.DateTime(timezone=True)),
        (pa.types.is_date, sa.Date()),
    ]
    for matches, sql_type in kinds:
        if matches(column.type):
            return sql_type
    raise ConfigError(
        f"column {column.name} of type {column.type} has no SQL type",
        where="export",
        fix="leave it out or cast it",
    )
