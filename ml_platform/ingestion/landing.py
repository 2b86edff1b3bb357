"""The canonical bytes of a delivery: what makes "the same again" recognisable by its digest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.ingestion.reader import PARTITION_KEY
from ml_platform.storage.parquet import write_table


def canonical(table: pa.Table) -> pa.Table:
    """The same rows in one fixed form, whatever order and encoding the source chose.

    Columns stand in order of their names, rows in order of their values (nulls last), text as plain
    ``string``, without metadata. Columns that have no order, such as lists, do not sort.
    """
    names = sorted(table.column_names)
    table = pa.table([_plain(table[n]) for n in names], names=names)
    # The row position makes the order of otherwise equal rows the source's, in each Arrow version.
    order = [PARTITION_KEY] if PARTITION_KEY in names else []
    order += [n for n in names if n != PARTITION_KEY and _sortable(table[n].type)]
    if not order or table.num_rows < 2:
        return table.combine_chunks()
    numbered = table.append_column("__row", pa.array(np.arange(table.num_rows)))
    keys = [(n, "ascending") for n in [*order, "__row"]]
    return table.take(pc.sort_indices(numbered, sort_keys=keys)).combine_chunks()


def delivery_bytes(table: pa.Table) -> bytes:
    """One partition's delivery as canonical Parquet bytes: same content, same bytes.

    Args:
        table: The raw rows of one partition, for example an item of :func:`split_partitions`.
    """
    return write_table(canonical(table))


def split_partitions(table: pa.Table, keys: Iterable[str] = ()) -> dict[str, pa.Table]:
    """The rows of each partition, in the table's order.

    Args:
        table: Any table with a ``partition_key``.
        keys: Partitions to return even where they have no row: an empty delivery is an event too.

    Returns:
        Tables by partition key, in order of the keys.
    """
    found = table[PARTITION_KEY].combine_chunks().dictionary_encode()
    codes = found.indices.to_numpy(zero_copy_only=False)
    ordered = table.take(pa.array(np.argsort(codes, kind="stable")))
    counts = np.bincount(codes, minlength=len(found.dictionary))
    starts = np.concatenate([[0], np.cumsum(counts)])
    parts = {
        key: ordered.slice(int(starts[i]), int(counts[i]))
        for i, key in enumerate(found.dictionary.to_pylist())
    }
    return {key: parts.get(key, table.slice(0, 0)) for key in sorted({*parts, *keys})}


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def _sortable(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_large_binary(kind))
