"""What a file's columns look like: types, ranges, categories, and values of another type than the rest."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa

from ml_platform.errors import FeedError
from ml_platform.ingestion.sources import (
    DECIMAL_COMMA,
    file_format,
    first_line,
    read_file,
    with_points,
)
from ml_platform.ingestion.text_faults import require_text
from ml_platform.scaffold.formats import ISO, time_formats
from ml_platform.storage.memory import scratch

Kind = Literal["integer", "number", "boolean", "timestamp", "string"]
ALSO_MISSING = ("unknown", "missing", "none", "none given", "not given", "not available", "tbd", "--", ".")
"""Texts, in lower case, that among numbers mostly mean nothing; a person is to say so."""
MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-", "?", "#N/A")
"""Texts that sources write where they have nothing."""
_RESERVED = {
    *("partition_key", "known_at", "accepted_at", "revision", "visible_from", "visible_to"),
    *("cutoff", "event_time", "entity_key", "as_of", "label_known_at", "probability", "prediction"),
    *("decision", "model_version", "arm", "role", "score"),
    *("on", "off", "yes", "no", "true", "false", "null", "y", "n"),
}
"""Columns of the platform's own, and words that YAML takes for something else."""
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa"})
"""Letters that are more than one with a mark; of others the mark is left out."""
_MOSTLY = 0.95


@dataclass(frozen=True)
class ColumnProfile:
    """One column of a file.

    Attributes:
        source: Its name in the file.
        name: Its name in the contract: lower case, digits and underscores.
        kind: The type that its values have.
        rows: Rows of the file.
        nulls: Rows without a value.
        distinct: Different values.
        low, high: Ends of numbers.
        values: All values where they are few, the commonest first.
        time_format: strptime format of instants; empty for ISO or typed ones.
        time_formats: Every format that reads all instants, where more than one does.
        strange: Row number (from 1) and text of some values that are of another type than the rest.
        strange_rows: How many there are.
        mixed: Whether too many values are of another type to say what the column is.
        missing_words: Texts that stand for missing.
        numbers: Rows with a number, where numbers and texts are few values of one category.
        decimal_comma: Whether its numbers are written with a decimal comma.
        unusable: Type of Parquet that is no single value, such as a list; empty for all others.
    """

    source: str
    name: str
    kind: Kind
    rows: int
    nulls: int
    distinct: int
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    time_format: str = ""
    time_formats: tuple[str, ...] = ()
    strange: tuple[tuple[int, str], ...] = ()
    strange_rows: int = 0
    mixed: bool = False
    missing_words: tuple[str, ...] = ()
    numbers: int = 0
    decimal_comma: bool = False
    unusable: str = ""

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls


@dataclass(frozen=True)
class FileProfile:
    """A file and its columns.

    Attributes:
        path: The file.
        table: Its rows under contract names; of CSV all text, missing words as null.
        columns: In the file's order.
    """

    path: Path
    table: pa.Table
    columns: tuple[ColumnProfile, ...]
    missing_words: tuple[str, ...] = field(default=())

    def column(self, name: str) -> ColumnProfile:
        """The column with this name, in the file or in the contract.

        Raises:
            FeedError: There is none.
        """
        for column in self.columns:
            if name in (column.source, column.name):
                return column
        raise FeedError(
            f"there is no column '{name}'",
            where=str(self.path),
            fix="it has: " + ", ".join(c.source for c in self.columns),
        )


def profile_file(path: Path, delimiter: str | None = None) -> FileProfile:
    """Read a file and describe its columns.

    Raises:
        FeedError: It is not there, is neither CSV nor Parquet, cannot be read, or has no rows.
    """
    kind = file_format(path.name)
    if not path.is_file() or kind is None:
        raise _no_file(path)
    if not path.stat().st_size:
        raise FeedError("the file is empty", where=str(path), fix="give a file with a header and rows")
    try:
        if kind == "csv":
            require_text(path)
        table = read_file(path, kind, delimiter)
    except (pa.ArrowException, OSError) as error:
        raise FeedError(
            f"the file cannot be read as {kind}: {first_line(error)}",
            where=str(path),
            fix="mend what is named, or write the file again with one header and one delimiter",
        ) from error
    if not table.num_rows:
        raise FeedError(
            f"the file has no rows, only a header: {', '.join(table.column_names)}",
            where=str(path),
            fix="give a file with some history",
        )
    names = identifiers(table.column_names)
    plain = [_plain(column) for column in table.columns]
    profiles = [_profile(c, s, n) for c, s, n in zip(plain, table.column_names, names, strict=True)]
    profiles = [
        replace(p, unusable="" if _is_plain(c.type) else str(c.type))
        for p, c in zip(profiles, table.columns, strict=True)
    ]
    words = tuple(sorted({w for p in profiles for w in p.missing_words}))
    columns = [_without(c, p.missing_words) for c, p in zip(plain, profiles, strict=True)]
    columns = [with_points(c) if p.decimal_comma else c for c, p in zip(columns, profiles, strict=True)]
    return FileProfile(path, pa.table(columns, names=names), tuple(profiles), words)


def _no_file(path: Path) -> FeedError:
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file() and file_format(p.name))
        named = f", such as {path / inside[0]}" if inside else ""
        return FeedError("this is a folder", where=str(path), fix=f"give one CSV or Parquet file{named}")
    what = "this is no CSV or Parquet file" if path.exists() else "there is no such file"
    return FeedError(what, where=str(path), fix="give a file whose name ends in .csv or .parquet")


def in_percent(share: float) -> str:
    """A share in percent, which is 0 or 100 only where it is exactly that: ``0.03%``."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return f"{percent:.1g}%" if percent >= 0.001 else "<0.001%"
    return f"{min(percent, 99.9) if share < 1 else percent:.1f}%"


def identifiers(names: Sequence[str]) -> list[str]:
    """Names as a contract allows them, each once."""
    found: list[str] = []
    for name in names:
        latin = unicodedata.normalize("NFKD", name.strip().lower().translate(_SPELLED))
        plain = re.sub(r"[^a-z0-9]+", "_", latin.encode("ascii", "ignore").decode()).strip("_") or "column"
        plain = plain if plain[0].isalpha() else f"c_{plain}"
        plain = (f"{plain}_given" if plain in _RESERVED else plain)[:56]
        candidate, number = plain, 2
        while candidate in found:
            candidate, number = f"{plain}_{number}", number + 1
        found.append(candidate)
    return found


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a cell holds a single value that a contract knows."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_text or is_number or pa.types.is_boolean(kind) or pa.types.is_temporal(kind)) and not (
        pa.types.is_duration(kind) or pa.types.is_interval(kind)
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of a type that the kernels know; nulls where a cell holds no single value."""
    kind = column.type
    if not _is_plain(kind):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return column.cast(pa.string()) if is_text else column


def _profile(column: pa.ChunkedArray, source: str, name: str) -> ColumnProfile:
    kind = column.type
    if pa.types.is_string(kind):
        return _text_profile(column, source, name)
    found: Kind = "string"
    if pa.types.is_boolean(kind):
        found = "boolean"
    elif pa.types.is_integer(kind):
        found = "integer"
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = "number"
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found = "timestamp"
    return _described(column, source, name, found, nulls=column.null_count)


def _text_profile(column: pa.ChunkedArray, source: str, name: str) -> ColumnProfile:
    words = _missing_words(column)
    column = _without(column, words)
    nulls, rows = column.null_count, len(column)
    known = rows - nulls
    if not known:
        return ColumnProfile(source, name, "string", rows, nulls, 0, missing_words=words)
    if _has_decimal_commas(column):
        written = _text_profile(with_points(column), source, name)
        return replace(written, decimal_comma=True, missing_words=words)
    numeric = _numbers(column)
    readable = numeric.is_valid()
    share = (rows - numeric.null_count) / known
    if share >= _MOSTLY:
        kind: Kind = "integer" if _all_whole(column, numeric) else "number"
        strange = _strange(column, readable)
        found = _described(column, source, name, kind, nulls, numbers=numeric)
        return _marked(found, strange, known, words, mixed=False)
    times = time_formats(column)
    if times:
        found = _described(column, source, name, "timestamp", nulls)
        return _timed(found, times, words)
    if _is_boolean(column):
        return _marked(_described(column, source, name, "boolean", nulls), [], known, words, mixed=False)
    found = _described(column, source, name, "string", nulls)
    # Some numbers among texts are codes; many are two kinds of value in one column.
    mixed = 1 - _MOSTLY < share < _MOSTLY and found.distinct > 20
    few = 1 - _MOSTLY < share < _MOSTLY and not mixed
    strange = _strange(column, readable) if mixed or few else []
    marked = _marked(found, strange, known, words, mixed=mixed)
    return replace(marked, numbers=known - len(strange), strange_rows=0) if few else marked


def _missing_words(column: pa.ChunkedArray) -> tuple[str, ...]:
    import pyarrow.compute as pc

    present = pc.unique(column.filter(pc.is_in(column, pa.array(MISSING_WORDS, column.type))))
    return tuple(sorted(present.to_pylist()))


def _without(column: pa.ChunkedArray, words: Sequence[str]) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    if not words:
        return column
    return pc.if_else(pc.is_in(column, pa.array(words, column.type)), pa.scalar(None, column.type), column)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    with scratch() as connection:
        connection.register("given", pa.table({"v": column}))
        return connection.sql("SELECT TRY_CAST(trim(v) AS DOUBLE) AS v FROM given").to_arrow_table()["v"]


def is_number(text: str) -> bool:
    """Whether a text is a number as a contract reads it."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _has_decimal_commas(column: pa.ChunkedArray) -> bool:
    """Nearly all values are numbers with a decimal comma, and at least one has it."""
    import pyarrow.compute as pc

    fits = pc.match_substring_regex(column, DECIMAL_COMMA)
    if not pc.any(pc.and_(fits, pc.match_substring(column, ","))).as_py():
        return False
    return bool(pc.mean(fits).as_py() >= _MOSTLY)


def _all_whole(column: pa.ChunkedArray, numbers: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    texts = column.filter(numbers.is_valid())
    return bool(pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"^[+-]?\d{1,18}$")).as_py())


def _is_boolean(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    found = {t.lower() for t in pc.unique(column.drop_null()).to_pylist()[:10]}
    return bool(found) and found <= {"true", "false"}


def _strange(column: pa.ChunkedArray, readable: pa.ChunkedArray) -> list[tuple[int, str]]:
    pairs = enumerate(zip(column.to_pylist(), readable.to_pylist(), strict=True), 1)
    return [(i, text) for i, (text, fine) in pairs if text is not None and not fine]


def _timed(
    found: ColumnProfile, formats: tuple[list[str], list[str]], words: tuple[str, ...]
) -> ColumnProfile:
    whole, some = formats
    chosen = "" if not whole or whole[0] == ISO else whole[0]
    return replace(
        found,
        time_format=chosen,
        time_formats=tuple(whole if len(whole) > 1 else () if whole else some),
        mixed=not whole,
        missing_words=words,
    )


def _marked(
    found: ColumnProfile,
    strange: list[tuple[int, str]],
    known: int,
    words: tuple[str, ...],
    *,
    mixed: bool,
) -> ColumnProfile:
    return replace(
        found,
        strange=tuple(strange[:5]),
        strange_rows=len(strange),
        mixed=mixed,
        missing_words=words,
    )


def _described(
    column: pa.ChunkedArray,
    source: str,
    name: str,
    kind: Kind,
    nulls: int,
    numbers: pa.ChunkedArray | None = None,
) -> ColumnProfile:
    import pyarrow.compute as pc

    counted = column.drop_null().value_counts()
    distinct = len(counted)
    values: tuple[str, ...] = ()
    if distinct <= 100 and kind in ("string", "integer", "boolean"):
        pairs = sorted(counted.to_pylist(), key=lambda p: (-p["counts"], str(p["values"])))
        values = tuple(_as_text(p["values"]) for p in pairs)
    low = high = None
    if kind in ("integer", "number"):
        measured = numbers if numbers is not None else column.cast(pa.float64(), safe=False)
        ends = pc.min_max(measured)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        low, high = (v if v is not None and math.isfinite(v) else None for v in (low, high))
    return ColumnProfile(source, name, kind, len(column), nulls, distinct, low, high, values)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
