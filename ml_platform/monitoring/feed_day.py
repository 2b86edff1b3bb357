"""What one day of a feed looked like: counts, null rates, histograms, value lattices.

Histograms use the logarithmic bins of DDSketch (Masson et al. 2019): the bins are the same for all
data, so those of any days can be added and compared without having agreed on edges before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import IntegrityError
from ml_platform.monitoring.evidence import FEED_DAY_SCHEMA
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import PARTITION

GROWTH = 1.05
"""Each bin is 5 % wider than the one nearer to zero."""
SMALLEST = 1e-9
"""Absolute values up to this are in bin 0."""
MOST_VALUES = 64
"""Most frequent values that are kept with their counts."""

_STEPS = np.array([base * 10.0**power for power in range(6, -5, -1) for base in (5.0, 2.5, 2.0, 1.0)])
_ON_LATTICE = 0.99
_FEWEST = 20

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """Counts in the common bins.

    Attributes:
        bins: Bin numbers, ascending: bin k > 0 holds ``SMALLEST * (GROWTH**(k-1), GROWTH**k]``,
            bin -k the same below zero, bin 0 what is nearer to zero.
        counts: Values in each.
    """

    bins: tuple[int, ...]
    counts: tuple[int, ...]

    def __add__(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values."""
        total = dict(zip(self.bins, self.counts, strict=True))
        for number, count in zip(other.bins, other.counts, strict=True):
            total[number] = total.get(number, 0) + count
        return Histogram(tuple(sorted(total)), tuple(total[k] for k in sorted(total)))


def histogram(values: Floats) -> Histogram:
    """Count finite values in the common bins."""
    finite = values[np.isfinite(values)]
    size = np.maximum(np.abs(finite) / SMALLEST, 1.0)
    numbers = np.sign(finite) * np.ceil(np.log(size) / math.log(GROWTH))
    bins, counts = np.unique(numbers.astype(np.int64), return_counts=True)
    return Histogram(tuple(bins.tolist()), tuple(counts.tolist()))


def lattice_step(values: Floats) -> float | None:
    """The coarsest common step (1, 2, 2.5 or 5 times a power of ten) that 99 % of values lie on.

    A change of unit moves values off their lattice: whole degrees Fahrenheit are no multiples of .1
    in Celsius. None for continuous values, fewer than 20, or none but zeros.
    """
    finite = values[np.isfinite(values)]
    finite = finite[finite != 0]
    if finite.size < _FEWEST:
        return None
    distinct, counts = np.unique(finite, return_counts=True)
    # No value but 0 lies on a lattice that is more than twice as coarse as the largest one.
    steps = _STEPS[2 * np.abs(distinct).max() >= _STEPS]
    enough = _on(distinct, steps[:, None]) @ counts >= _ON_LATTICE * finite.size
    return float(steps[enough.argmax()]) if enough.any() else None


def off_lattice_share(values: Floats, step: float) -> float:
    """Share of finite values that are no multiple of ``step``; 0 without values."""
    finite = values[np.isfinite(values)]
    return 1 - float(_on(finite, step).mean()) if finite.size else 0.0


def feed_evidence(table: pa.Table, *, feed: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Evidence of a feed, one row per partition and column.

    Numbers and instants (seconds since 1970, UTC) have minimum, maximum, mean, standard deviation
    and histogram; numbers have a lattice; all but instants have their most frequent values.

    Args:
        table: Accepted rows with ``partition_key``; one visible revision per key.
        feed: Name of the feed.
        columns: Columns to describe; all but ``partition_key`` when None.

    Returns:
        A table of :data:`~ml_platform.monitoring.evidence.FEED_DAY_SCHEMA`, sorted by partition,
        then in the order of the columns.

    Raises:
        IntegrityError: A column is missing.
    """
    names = [c for c in columns or table.column_names if c != PARTITION]
    missing = [c for c in (PARTITION, *names) if c not in table.column_names]
    if missing:
        raise IntegrityError(
            f"the feed lacks the column(s) {', '.join(missing)}",
            where=f"feed {feed}",
            fix="describe columns that its contract has",
        )
    ordered = table.select([PARTITION, *names]).sort_by(PARTITION).combine_chunks()
    keys = ordered.column(PARTITION).to_numpy()
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.array([], int)
    described = {name: _describe(ordered.column(name), starts) for name in names}
    rows = [
        {"feed": feed, "partition_key": keys[start], "column": name, **described[name][day]}
        for day, start in enumerate(starts)
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=FEED_DAY_SCHEMA)


def _describe(column: pa.ChunkedArray, starts: Integers) -> list[dict[str, object]]:
    """One description per day of a column that is sorted by day."""
    if pa.types.is_floating(column.type):  # NaN is a missing value, as in a data frame
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    ends = [*starts, len(column)][1:]
    kind = _kind(column.type)
    numbers = _numbers(column, kind)
    codes, words, rank = _codes(column) if kind != "instant" else (None, [], None)
    days = []
    for start, end in zip(starts, ends, strict=True):
        day = column.slice(start, end - start)
        found: dict[str, object] = {
            "kind": kind,
            "rows": len(day),
            "nulls": day.null_count,
            "null_rate": day.null_count / len(day),
        }
        if codes is None or rank is None:
            found |= _instants(day)
        else:
            found |= _frequent(codes[start:end], words, rank)
        found |= _moments(numbers[start:end], kind) if numbers is not None else _no_moments()
        days.append(found)
    return days


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_time(kind):
        return "instant"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "numeric" if numeric else "categorical"


def _numbers(column: pa.ChunkedArray, kind: str) -> Floats | None:
    if kind == "categorical":
        return None
    if kind == "instant":
        column = pc.divide(column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _codes(column: pa.ChunkedArray) -> tuple[Integers, list[str], Integers]:
    """Codes of the values (-1 for null), the values as text, and the place of each in their order."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    words = [str(v) for v in encoded.dictionary.to_pylist()]
    rank = np.empty(len(words), dtype=np.int64)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    return codes, words, rank


def _frequent(codes: Integers, words: list[str], rank: Integers) -> dict[str, object]:
    """Distinct values, and the most frequent ones; ties in the order of their text."""
    found, counts = np.unique(codes[codes >= 0], return_counts=True)
    order = np.lexsort((rank[found], -counts))[:MOST_VALUES]
    return {
        "distinct": len(found),
        "values": [words[code] for code in found[order]],
        "value_counts": counts[order].tolist(),
    }


def _instants(day: pa.ChunkedArray) -> dict[str, object]:
    return {
        "distinct": pc.count_distinct(day, mode="only_valid").as_py(),
        "values": [],
        "value_counts": [],
    }


def _moments(values: Floats, kind: str) -> dict[str, object]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return _no_moments()
    counted = histogram(finite)
    return {
        "minimum": float(finite.min()),
        "maximum": float(finite.max()),
        "mean": float(finite.mean()),
        "standard_deviation": float(finite.std()),
        "histogram_bins": list(counted.bins),
        "histogram_counts": list(counted.counts),
        "lattice_step": lattice_step(finite) if kind == "numeric" else None,
    }


def _no_moments() -> dict[str, object]:
    return {
        **dict.fromkeys(("minimum", "maximum", "mean", "standard_deviation", "lattice_step")),
        "histogram_bins": [],
        "histogram_counts": [],
    }


def _on(values: Floats, step: float | Floats) -> npt.NDArray[np.bool_]:
    """Which values lie within a relative 1e-9 of a multiple of ``step``."""
    multiples = values / step
    tolerance = np.maximum(np.abs(multiples), 1.0) * 1e-9
    near: npt.NDArray[np.bool_] = np.abs(multiples - np.round(multiples)) <= tolerance
    return near
