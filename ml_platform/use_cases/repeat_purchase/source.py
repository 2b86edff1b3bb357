"""``CDNOW_master.txt`` inside the ``lifetimes`` wheel, read as a file: the package is never imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml_platform.errors import FeedError

PACKAGE, FILE = "lifetimes", "CDNOW_master.txt"
HEADER = ("customer_id", "date", "number_of_cds", "dollar_value")
SCHEMA = pa.schema(
    [
        ("line_number", pa.int64()),
        ("customer_id", pa.string()),
        ("purchased_on", pa.date32()),
        ("cds", pa.int64()),
        ("value_usd", pa.float64()),
    ]
)
"""What :func:`read_source` returns; ``line_number`` counts the lines after the header, from 1."""

_EPOCH = date(1970, 1, 1).toordinal()


def data_file(settings: Mapping[str, Any]) -> Path:
    """Where the file is: the setting ``path`` (relative to this folder), or inside the installed wheel.

    Raises:
        FeedError: The wheel is not installed, or the file is missing.
    """
    if settings.get("path"):
        file = (Path(__file__).parent / str(settings["path"])).resolve()
    else:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise FeedError(
                f"the package {PACKAGE}, which holds the data, is not installed",
                where=__name__,
                fix="run `make test` or `make demo`, which install the lock, or set the feed's 'path'",
            )
        file = Path(next(iter(spec.submodule_search_locations))) / "datasets" / FILE
    if not file.is_file():
        raise FeedError(
            f"the file {file.name} is missing",
            where=str(file),
            fix="install the lock again, or correct the feed's 'path'",
        )
    return file


def read_source(file: Path) -> pa.Table:
    """The file as a table of :data:`SCHEMA`, parsed once per process and state of the file.

    The file has a header and four columns, set apart by spaces: customer, date (YYYYMMDD), number of CDs and
    dollars.

    Raises:
        FeedError: It is no text, is empty, lacks its header, or a line cannot be parsed; the line is named.
    """
    status = file.stat()
    return _parsed(file, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)
def _parsed(file: Path, _state: tuple[int, int]) -> pa.Table:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(
            f"{file.name} cannot be read: {error}", where=str(file), fix="fetch the file again"
        ) from error
    header = tuple(lines[0].split()) if lines else ()
    if header != HEADER:
        raise FeedError(
            f"{file.name} does not begin with its header",
            where=f"{file}, line 1",
            fix=f"the first line must name {', '.join(HEADER)}",
        )
    numbers, customers, days, cds, values = [], [], [], [], []
    for number, line in enumerate(lines[1:], start=1):
        cells = line.split()
        if not cells:
            continue
        try:
            customer, day, count, value = cells
            parsed = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).toordinal() - _EPOCH
            row = (parsed, int(count), float(value))
        except ValueError as error:
            raise FeedError(
                f"{file.name} cannot be parsed: {error}",
                where=f"{file}, line {number + 1}",
                fix="correct the line, or fetch the file again: it may be truncated",
            ) from error
        numbers.append(number)
        customers.append(customer)
        days.append(row[0])
        cds.append(row[1])
        values.append(row[2])
    columns = (
        pa.array(numbers, pa.int64()),
        pa.array(customers, pa.string()),
        pa.array(days, pa.int32()).cast(pa.date32()),
        pa.array(cds, pa.int64()),
        pa.array(values, pa.float64()),
    )
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)
