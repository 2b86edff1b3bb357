"""Equal tables are equal bytes, and damaged bytes are never read as a table."""

import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.storage.parquet import read_table, write_table

TABLE = pa.table({"a": pa.array([1, None, 3], pa.int32()), "b": ["x", "y", None]})


def test_a_table_comes_back_as_it_was() -> None:
    assert read_table(write_table(TABLE)).equals(TABLE)
    assert read_table(write_table(TABLE), ["b"]).column_names == ["b"]


def test_chunks_and_metadata_leave_no_trace_in_the_bytes() -> None:
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]).replace_schema_metadata({"made": "now"})
    required = pa.schema([pa.field("a", pa.int32(), metadata={"k": "v"}), pa.field("b", pa.string())])
    assert write_table(chunked) == write_table(TABLE) == write_table(TABLE.cast(required))


def test_other_content_is_other_bytes() -> None:
    assert write_table(TABLE.slice(0, 2)) != write_table(TABLE)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PAR1" + b[:40]])
def test_damaged_bytes_say_so(damage) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(IntegrityError, match="where: object 12"):
        read_table(damage(write_table(TABLE)), where="object 12")


def test_a_lacking_column_says_so() -> None:
    with pytest.raises(IntegrityError, match="no column c"):
        read_table(write_table(TABLE), ["a", "c"])
