"""A table cut into partitions once, so that a reader finds the partitions it is asked for at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class PartitionedTable:
    """Rows sorted by ``partition_key``, in the source's order within a partition.

    Attributes:
        table: All rows.
        bounds: First row and number of rows, by partition key.
    """

    table: pa.Table
    bounds: Mapping[str, tuple[int, int]]

    def select(self, keys: Iterable[str]) -> pa.Table:
        """The rows of some partitions; a partition that the source does not have has none."""
        found = [self.table.slice(*self.bounds[key]) for key in keys if key in self.bounds]
        return pa.concat_tables(found) if found else self.table.slice(0, 0)


def partition_by_date(table: pa.Table, dates: npt.NDArray[np.datetime64]) -> PartitionedTable:
    """The table with ``partition_key``, cut by local date.

    Args:
        table: Any table.
        dates: datetime64[D], one for each row.
    """
    order = np.argsort(dates, kind="stable")
    days, first, counts = np.unique(dates[order], return_index=True, return_counts=True)
    keys = [str(day) for day in days]
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(np.arange(len(keys)), counts), pa.int32()), pa.array(keys, pa.string())
    )
    ordered = table.take(pa.array(order)).append_column("partition_key", column.cast(pa.string()))
    spans = zip(keys, first.tolist(), counts.tolist(), strict=True)
    return PartitionedTable(ordered.combine_chunks(), {key: (at, rows) for key, at, rows in spans})
