"""The instants of a file: whether they can be read in one format, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.ingestion.placing import read_instants
from ml_platform.remarks import Remark
from ml_platform.scaffold.columns import ColumnProfile, FileProfile
from ml_platform.scaffold.formats import ISO, format_of_numbers, formats_of, reads
from ml_platform.scaffold.roles import Wishes, is_time


def retimed(profile: FileProfile, wishes: Wishes) -> FileProfile:
    """With more columns as instants: numbers that are named so and are, and texts in the format that is said.

    Of a column that is said to be a time some texts are enough: those that cannot be read are told later.
    """
    said = {profile.column(n).name for n in (wishes.time, wishes.known_at, wishes.row_known_at) if n}

    def one(column: ColumnProfile) -> ColumnProfile:
        name: str | None = None
        if column.kind == "string" and wishes.time_format:
            read = reads(profile.table[column.name], wishes.time_format)
            name = wishes.time_format if read.all() or (read.any() and column.name in said) else None
        elif column.kind in ("integer", "number") and (column.name in said or is_time(column)):
            name = format_of_numbers(profile.table[column.name])
        if name is None:
            return column
        written = "" if name == ISO else name
        return replace(column, kind="timestamp", time_format=written, low=None, high=None, values=())

    return replace(profile, columns=tuple(map(one, profile.columns)))


def with_format(wishes: Wishes, time: ColumnProfile) -> Wishes:
    """With the format of the event times, where nobody said one and only one fits."""
    if wishes.time_format or not time.time_format or time.time_formats:
        return wishes
    return replace(wishes, time_format=time.time_format)


def about_time(
    profile: FileProfile, column: ColumnProfile, time: ColumnProfile, wishes: Wishes
) -> Iterator[Remark]:
    """Why a column cannot be read as instants; those of the event times say in which format."""
    where = f"column '{column.source}'"
    settled = bool(wishes.time_format) or not (time.mixed or time.time_formats)
    if column.kind != "timestamp":
        some = profile.table[column.name].drop_null().slice(0, 3).to_pylist()
        shown = ", ".join(str(v) for v in some)
        fix = (
            "name another column, or write ISO (2024-01-31 or 2024-01-31T10:00:00); numbers are read where "
            "all count seconds, or all milliseconds from 1970, and lie between 1990 and 2100"
        )
        what = f"its values are no dates or instants ({column.kind}: {shown} …)"
        if column.kind == "string" and wishes.time_format:
            what += f", and --time-format '{wishes.time_format}' reads none of them"
            fix = f"correct the format, in the letters of strptime, or {fix}"
        elif column.kind == "string":
            fix = f"say how they are written with --time-format, such as '%d-%b-%Y %I:%M %p', or {fix}"
        yield Remark("error", what, where, fix)
    elif settled:
        yield from _misread(profile, column, time, wishes)
    elif column.mixed:
        names = "; ".join(map(str, formats_of(profile.table[column.name])))
        yield Remark(
            "error",
            f"it has dates in several formats: {names}; none of them reads all rows",
            where,
            "write all rows in one format, best ISO (2024-01-31)",
        )
    elif column.time_formats:
        yield Remark(
            "error",
            f"its dates can be read in several formats ({', '.join(column.time_formats)})",
            where,
            _which(profile, column, time),
        )


def _which(profile: FileProfile, column: ColumnProfile, time: ColumnProfile) -> str:
    """How to say in which of several formats times are written; a feed reads all of them in one."""
    if column is not time:
        if set(column.time_formats) & set(time.time_formats):
            return f"the --time-format that is said for '{time.source}' is read here too"
        return f"write it as '{time.source}' is written, best both in ISO: a feed reads one format"
    texts = [str(v).strip() for v in profile.table[column.name].drop_null().unique().to_pylist()]
    read = {name: [datetime.strptime(t, name).date() for t in texts] for name in column.time_formats}  # noqa: DTZ007
    # 01/01 is one day in every format, and tells nothing.
    telling = next((i for i in range(len(texts)) if len({days[i] for days in read.values()}) > 1), 0)
    ways = (f"--time-format '{n}' (then '{texts[telling]}' is {days[telling]})" for n, days in read.items())
    return f"say which: {' or '.join(ways)}"


def _misread(
    profile: FileProfile, column: ColumnProfile, time: ColumnProfile, wishes: Wishes
) -> Iterator[Remark]:
    """Values that the format does not read."""
    unread = misread(profile, column, wishes)
    if not unread.any():
        return
    rows = first_rows(unread)
    written = formats_of(profile.table[column.name], wishes.time_format)
    if len(written) > 1:
        fix = "write all rows in one format, best ISO; there are " + "; ".join(map(str, written))
    elif column is not time:
        these = " or ".join(column.time_formats) or written[0].name
        fix = f"write it as '{time.source}' is written: a feed reads one format; these are {these}"
    elif written[0].name == ISO:
        fix = "leave --time-format out: these are ISO, which needs none"
    else:
        fix = " or ".join(f"--time-format '{name}'" for name in column.time_formats or (column.time_format,))
        fix = f"say {fix}, which reads all rows"
    yield Remark(
        "error",
        f"{int(unread.sum()):,} of {column.known:,} value(s) cannot be read as {wishes.time_format or ISO}, "
        f"for example '{profile.table[column.name][rows[0] - 1].as_py()}'",
        f"column '{column.source}', rows {rows}",
        fix,
    )


def misread(profile: FileProfile, column: ColumnProfile, wishes: Wishes) -> np.ndarray:
    """Which rows have a value that the format does not read, shape (rows,)."""
    given = profile.table[column.name]
    unread = pc.and_(_read(profile, column, wishes).is_null(), given.is_valid())
    return np.asarray(unread.to_numpy(), bool)


def instants(profile: FileProfile, column: ColumnProfile, wishes: Wishes) -> pd.Series:
    """A column's instants in UTC, as the feed will read them; missing where a value cannot be read."""
    found: pd.Series = _read(profile, column, wishes).to_pandas()
    return found


def _read(profile: FileProfile, column: ColumnProfile, wishes: Wishes) -> pa.ChunkedArray:
    return read_instants(profile.table[column.name], wishes.timezone, wishes.time_format)


def first_rows(wrong: np.ndarray) -> list[int]:
    """Numbers, from 1, of the first rows that are wrong."""
    return [int(i) + 1 for i in np.flatnonzero(wrong)[:3]]
