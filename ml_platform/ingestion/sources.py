"""Feeds without Python: files by a pattern, objects below an S3 prefix, rows of a database.

CSV is read as text, so that one strange value is quarantined by the contract and does not change the type
of a whole column.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from ml_platform.errors import FeedError
from ml_platform.feed_config import FeedConfig, SourceConfig
from ml_platform.ingestion.text_faults import require_closed, require_rows, require_utf8
from ml_platform.partitions import Partition

INSTANT = pa.timestamp("us", tz="UTC")
ARRIVED = "__arrived"
FILE, ROW = "__file", "__row"
"""Where a row stands in the source's files: the file's name, and the row from 1."""
OWN = (ARRIVED, FILE, ROW)
"""Column that holds when a row's file or object was written last."""

FileFormat = Literal["csv", "parquet"]
_ENDINGS: dict[FileFormat, tuple[str, ...]] = {
    "csv": (".csv", ".csv.gz", ".tsv", ".txt"),
    "parquet": (".parquet", ".pq"),
}
_BOUND = re.compile(r"(?<![:\w]):(start|end)\b")
_BATCH = 50_000
_LONGEST = 300


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    arrived: datetime


def read_source(folder: Path, feed: FeedConfig, partitions: Sequence[Partition]) -> pa.Table:
    """All rows of a feed's source, columns renamed, and :data:`ARRIVED` where it has files.

    Args:
        folder: Folder of the use case; relative paths begin there.
        feed: A feed with a ``source``.
        partitions: Partitions wanted; only a query that asks for :start and :end reads less.

    Raises:
        FeedError: Nothing matches, a file or query cannot be read, or a column is not there.
    """
    source = feed.source
    assert source is not None
    if source.query is not None:
        return _selected(_queried(feed, source, partitions), feed, source)
    if source.s3 is not None:
        with _objects(feed, source) as files:
            return _selected(_files(files, feed, source), feed, source)
    return _selected(_files(_matching(folder, feed, source), feed, source), feed, source)


def file_format(name: str, source: SourceConfig | None = None) -> FileFormat | None:
    """The format of a file, by declaration or by its name; None when neither says."""
    if source is not None and source.format is not None:
        return source.format
    return next((f for f, endings in _ENDINGS.items() if name.lower().endswith(endings)), None)


# --- files ------------------------------------------------------------------------------------------


def _matching(folder: Path, feed: FeedConfig, source: SourceConfig) -> list[_File]:
    pattern = str(folder / expanded(source.path or "", feed))
    if Path(pattern).is_file():
        found = [Path(pattern)]
    else:
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207  (Path.glob takes no absolute pattern)
        found = sorted(p for p in map(Path, matches) if p.is_file())
    if Path(pattern).is_dir():
        raise FeedError(
            f"feed {feed.name}: its path is a folder, not a file",
            where=pattern,
            fix=f"name the files in it by a pattern, such as `path: {source.path}/*.csv`",
        )
    if not found:
        raise FeedError(
            f"feed {feed.name}: no file matches",
            where=pattern,
            fix="correct `source: path` (relative to the use case's folder), or put the file there",
        )
    return [_File(p, str(p), datetime.fromtimestamp(p.stat().st_mtime, UTC)) for p in found]


def expanded(path: str, feed: FeedConfig) -> str:
    """A path with ``${VARIABLE}`` from the environment.

    Raises:
        FeedError: The variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise FeedError(
                f"feed {feed.name}: the environment variable {name} is not set",
                where=path,
                fix=f"export {name}=…",
            )
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, path)


def _files(files: Sequence[_File], feed: FeedConfig, source: SourceConfig) -> pa.Table:
    tables = []
    for file in files:
        kind = file_format(file.name, source)
        if kind is None:
            raise FeedError(
                f"feed {feed.name}: the name does not tell a format",
                where=file.name,
                fix="declare `source: format: csv` or `parquet`",
            )
        try:
            table = read_file(file.path, kind, source.delimiter, source.missing)
        except (pa.ArrowException, OSError) as error:
            raise FeedError(
                f"feed {feed.name}: the file cannot be read as {kind}: {first_line(error)}",
                where=file.name,
                fix="mend the file, or declare `source: format` and `delimiter`",
            ) from error
        arrived = pa.repeat(pa.scalar(file.arrived, INSTANT), table.num_rows)
        named = pa.repeat(pa.scalar(file.name), table.num_rows).dictionary_encode()
        row = pa.array(np.arange(1, table.num_rows + 1))
        for name, column in zip(OWN, (arrived, named, row), strict=True):
            table = table.append_column(name, column)
        tables.append(table)
    return pa.concat_tables(tables, promote_options="permissive")


def places_of(table: pa.Table, rows: Sequence[int], origin: str) -> list[str]:
    """Where some rows of a source stand: their file, as far as there are files, and the row in it, from 1."""
    if ROW not in table.column_names:
        return [f"{origin}, row {i + 1}" for i in rows]
    return [f"{table[FILE][i].as_py()}, row {table[ROW][i].as_py()}" for i in rows]


def read_file(
    path: Path, kind: FileFormat, delimiter: str | None = None, missing: Sequence[str] = ()
) -> pa.Table:
    """One file; every column of CSV is text, and an empty cell is missing, as are the texts named.

    Raises:
        pyarrow.ArrowException, OSError: It cannot be read, is not UTF-8, has two columns of one name, or
            has a row of another length: rows that are skipped in silence are lost.
    """
    if kind == "parquet":
        table = pq.read_table(path)
        _require_names(table.column_names)
        return _without_times(table)
    parsing = csv.ParseOptions(delimiter=delimiter or _delimiter(path), newlines_in_values=True)
    try:
        with csv.open_csv(path, parse_options=parsing) as opened:
            names = opened.schema.names
        _require_names(names)
        types = dict.fromkeys(names, pa.string())
        converting = csv.ConvertOptions(
            column_types=types, null_values=["", *missing], strings_can_be_null=True
        )
        table = csv.read_csv(path, parse_options=parsing, convert_options=converting)
        if table.num_rows:
            require_closed(path, table.column(table.num_columns - 1)[-1].as_py() or "")
        return table
    except (UnicodeDecodeError, pa.ArrowInvalid):
        require_utf8(path)
        require_rows(path, parsing.delimiter)
        raise


def _require_names(names: Sequence[str]) -> None:
    """Each column has a name of its own: contracts and settings name a column by it."""
    places: dict[str, list[str]] = {}
    for place, name in enumerate(names, 1):
        places.setdefault(name, []).append(str(place))
    twice = [
        f"columns {' and '.join(at)} " + (f"share the name '{name}'" if name else "have no name")
        for name, at in places.items()
        if len(at) > 1
    ]
    if twice:
        raise pa.ArrowInvalid(f"its {'; '.join(twice)}: give each column a name of its own")


def first_line(error: Exception) -> str:
    """What a reader says, in one line without what a terminal would obey: it may quote the file."""
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in said)[:_LONGEST]


def _without_times(table: pa.Table) -> pa.Table:
    """Times of day as text: contracts know instants and dates only, and a database's come as text too."""
    for i, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if pa.types.is_time(kind):
            table = table.set_column(i, name, table[i].cast(pa.string()))
    return table


def _delimiter(path: Path) -> str:
    """The commonest of the usual delimiters in the header."""
    with pa.input_stream(path) as stream:
        header = stream.read(65_536).split(b"\n", 1)[0].decode(errors="replace")
    return max(",;\t|", key=header.count)


# --- S3 ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _objects(feed: FeedConfig, source: SourceConfig) -> Iterator[list[_File]]:
    """The objects below a prefix, as local files while this lasts."""
    from botocore.exceptions import BotoCoreError, ClientError

    from ml_platform.storage.lake import s3_client

    address = urlsplit(expanded(source.s3 or "", feed))
    bucket, prefix = address.netloc, address.path.lstrip("/")
    try:
        with tempfile.TemporaryDirectory(prefix="ml-platform-s3-") as scratch:
            client = s3_client()
            listed = _listed(client, bucket, prefix, source)
            if not listed:
                raise FeedError(
                    f"feed {feed.name}: no object is there",
                    where=source.s3 or "",
                    fix="correct `source: s3`, or its `format`",
                )
            files = []
            for number, item in enumerate(listed):
                path = Path(scratch) / f"{number}"
                client.download_file(bucket, item["Key"], str(path))
                name = f"s3://{bucket}/{item['Key']}"
                files.append(_File(path, name, item["LastModified"].astimezone(UTC)))
            yield files
    except (BotoCoreError, ClientError) as error:
        raise FeedError(
            f"feed {feed.name}: S3 does not answer: {error}",
            where=source.s3 or "",
            fix="check the bucket, AWS_ENDPOINT_URL and the credentials in the environment",
        ) from error


def _listed(client: Any, bucket: str, prefix: str, source: SourceConfig) -> list[dict[str, Any]]:
    """Objects of a prefix in order of their keys; the prefix may end in a pattern with ``*``."""
    fixed = re.split(r"[*?\[]", prefix, maxsplit=1)[0]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=fixed)
    items = [item for page in pages for item in page.get("Contents", ())]
    if fixed != prefix:
        items = [i for i in items if fnmatch.fnmatchcase(i["Key"], prefix)]
    return [i for i in items if i["Size"] and (source.format or file_format(i["Key"]))]


# --- databases --------------------------------------------------------------------------------------


def _queried(feed: FeedConfig, source: SourceConfig, partitions: Sequence[Partition]) -> pa.Table:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    name, query = str(source.url_from), str(source.query)
    address = os.environ.get(name)
    if not address:
        raise FeedError(
            f"feed {feed.name}: the environment variable {name} is not set",
            where="source: url_from",
            fix=f"export {name}=<an SQLAlchemy URL>; it is kept in no file",
        )
    bounds = {
        "start": min(p.start for p in partitions).astimezone(UTC),
        "end": max(p.end for p in partitions).astimezone(UTC),
    }
    used = {b: bounds[b] for b in set(_BOUND.findall(query))}
    try:
        engine = create_engine(address)
        with engine.connect().execution_options(stream_results=True) as connection:
            if connection.dialect.name == "sqlite":
                # SQLite has no instants: its own text form sorts like them.
                used = {b: v.strftime("%Y-%m-%d %H:%M:%S") for b, v in used.items()}  # type: ignore[misc]
            result = connection.execute(text(query), used)
            names = list(result.keys())
            rows = [row for part in result.partitions(_BATCH) for row in part]
        engine.dispose()
        _require_names(names)
    except (SQLAlchemyError, ImportError, pa.ArrowInvalid) as error:
        # The driver's own words may repeat the address, which may hold a password.
        said = str(getattr(error, "orig", None) or error).splitlines()[0].replace(address, f"${name}")
        raise FeedError(
            f"feed {feed.name}: the query fails: {said}",
            where=f"query on ${name}",
            fix="correct the query, or the address in the environment",
        ) from None
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table({n: _column(list(values)) for n, values in zip(names, columns, strict=True)})


def _column(values: list[Any]) -> pa.Array:
    """Values of a database driver; where they are of several types, as text for the contract to judge."""
    plain = [float(v) if isinstance(v, Decimal) else v for v in values]
    plain = [v.isoformat() if isinstance(v, time) else v for v in plain]
    kinds = {type(v) for v in plain if v is not None}
    if kinds <= {int, float} or len(kinds) < 2:
        with contextlib.suppress(pa.ArrowException):
            return pa.array(plain)
    return pa.array([_text(v) for v in plain], pa.string())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


# --- columns ----------------------------------------------------------------------------------------


def _selected(table: pa.Table, feed: FeedConfig, source: SourceConfig) -> pa.Table:
    """Columns under their contract names, without the rows that are not known yet."""
    if source.columns:
        _require(table, source.columns.values(), feed)
        kept = [n for n in OWN if n in table.column_names]
        names = [*source.columns, *kept]
        table = table.select([*source.columns.values(), *kept]).rename_columns(names)
    _require(table, source.decimal_comma, feed)
    for name in source.decimal_comma:
        table = table.set_column(table.column_names.index(name), name, with_points(table[name]))
    _require(table, source.not_null, feed)
    for name in source.not_null:
        table = table.filter(present(table[name]))
    return table


DECIMAL_COMMA = r"^\s*[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*$"
"""A number with a decimal comma, its thousands with points or without."""


def with_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with a decimal comma as others write them; what is none stays as it is."""
    if not pa.types.is_string(column.type):
        return column
    written = pc.replace_substring(pc.replace_substring(column, ".", ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(column, DECIMAL_COMMA), written, column)


def present(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where a column has a value: not null, and no empty text."""
    there = column.is_valid()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        there = pc.and_(there, pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False))
    return there


def _require(table: pa.Table, names: Iterable[str], feed: FeedConfig) -> None:
    names = list(names)
    twice = [n for n in names if table.column_names.count(n) > 1]
    if twice:
        raise FeedError(
            f"feed {feed.name}: the source has several columns named {', '.join(twice)}",
            where=feed.origin,
            fix="give each column a name of its own in the source",
        )
    missing = [n for n in names if n not in table.column_names]
    if missing:
        there = ", ".join(n for n in table.column_names if n not in OWN)
        raise FeedError(
            f"feed {feed.name}: the source has no column {', '.join(missing)}",
            where=feed.origin,
            fix="correct the names under the feed's `source: columns` in use_case.yaml, or in the source; it "
            f"has: {there}",
        )
