"""Formats in which a file writes its instants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml_platform.ingestion.placing import EPOCHS, read_instants

TIME_FORMATS = (
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y%m%d",
    *(f"{day} {hour} %p" for day in ("%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d") for hour in ("%I:%M", "%I:%M:%S")),
)
ISO = "ISO"
_MOSTLY = 0.95
_SAMPLE = 2000
_DAY_DIGITS = 8


@dataclass(frozen=True)
class Written:
    """Rows of a column that one format reads.

    Attributes:
        name: The format; empty for rows that no known format reads.
        rows: How many there are.
        first: Number, from 1, of the first one.
        example: Its text.
    """

    name: str
    rows: int
    first: int
    example: str

    def __str__(self) -> str:
        name = self.name or "no known format"
        return f"{name} ({self.rows:,} rows, such as row {self.first}: '{self.example}')"


def time_formats(column: pa.ChunkedArray) -> tuple[list[str], list[str]] | None:
    """Formats that read all values, and all formats that read some; None where hardly any is an instant."""
    texts = column.drop_null().unique()
    if not any(_read(texts[:20], name).is_valid().to_pylist().count(True) for name in (ISO, *TIME_FORMATS)):
        return None
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    covered = np.zeros(len(sample), bool)
    counts: dict[str, int] = {}
    for name in (ISO, *TIME_FORMATS):
        there = _read(sample, name).is_valid().to_numpy(zero_copy_only=False)
        covered |= there
        counts[name] = int(there.sum())
        if name == ISO and there.all():
            return [ISO], [ISO]
    if covered.mean() < _MOSTLY:
        return None
    whole = [name for name, count in counts.items() if count == len(sample)]
    return whole, [name for name, count in counts.items() if count]


def _read(texts: pa.Array, name: str) -> pa.Array:
    return read_instants(pa.chunked_array([texts]), "UTC", "" if name == ISO else name).combine_chunks()


def format_of_numbers(column: pa.ChunkedArray) -> str | None:
    """The format in which whole numbers are instants: counts from 1970, or 20240131; else None."""
    texts = column.cast(pa.string()).drop_null().unique()
    days = all(len(text) == _DAY_DIGITS for text in texts.to_pylist())
    names = [ISO] if days else list(EPOCHS)
    return next((n for n in names if len(texts) and _read(texts, n).null_count == 0), None)


def reads(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Which of the different values a format reads, shape (values,)."""
    found = _read(column.drop_null().unique(), name).is_valid()
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)


def formats_of(column: pa.ChunkedArray, said: str = "") -> list[Written]:
    """The fewest formats that together read all rows, the commonest first; what is left is in none.

    Args:
        column: Texts.
        said: One more format that may read them.
    """
    texts = column.drop_null().unique()
    names = (ISO, *TIME_FORMATS, *EPOCHS, *([said] if said else []))
    reads = {name: _read(texts, name).is_valid().to_numpy(zero_copy_only=False) for name in names}
    place = {text: i for i, text in enumerate(texts.to_pylist())}
    rows = [(number, place[text]) for number, text in enumerate(column.to_pylist(), 1) if text is not None]
    found: list[Written] = []
    while rows:
        name = max(reads, key=lambda n: sum(reads[n][i] for _, i in rows))
        there = [row for row in rows if reads[name][row[1]]]
        first, text = (there or rows)[0]
        found.append(Written(name if there else "", len(there or rows), first, texts[text].as_py()))
        rows = [row for row in rows if not reads[name][row[1]]] if there else []
    return found
