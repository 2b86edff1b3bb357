"""Arrow tables to Parquet bytes and back; the same table always gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ml_platform.errors import IntegrityError

_ROW_GROUP_ROWS = 1 << 20


def write_table(table: pa.Table) -> bytes:
    """The table as Parquet bytes (zstd).

    Schema and field metadata and the table's chunks leave no trace, so that equal content in equal
    order gives equal bytes and therefore one object in the lake.
    """
    plain = pa.schema([pa.field(f.name, f.type) for f in table.schema])
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks().cast(plain),
        sink,
        compression="zstd",
        row_group_size=_ROW_GROUP_ROWS,
        data_page_version="1.0",
    )
    return bytes(sink.getvalue())


def read_table(data: bytes, columns: Sequence[str] | None = None, *, where: str = "") -> pa.Table:
    """The table in Parquet bytes, or some of its columns.

    Args:
        data: What :func:`write_table` returned.
        columns: Names of the columns to read; all when None.
        where: The object or file, for the error.

    Raises:
        IntegrityError: The bytes are truncated, corrupt or no Parquet, or lack a column.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        missing = set(columns or ()) - set(file.schema_arrow.names)
        table = file.read(None if columns is None else [c for c in columns if c not in missing])
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(
            f"these {len(data)} bytes are no readable Parquet table: {error}",
            where=where,
            fix="materialise the partition again, or restore the object from a copy",
        ) from error
    if missing:
        raise IntegrityError(
            f"the table has no column {', '.join(sorted(missing))}",
            where=where,
            fix="materialise the partition again with this version of the code",
        )
    return table if columns is None else table.select(columns)
