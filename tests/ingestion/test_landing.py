"""The same content lands as the same bytes, however the source ordered or encoded it."""

import pyarrow as pa

from ml_platform.ingestion.landing import canonical, delivery_bytes, split_partitions
from ml_platform.storage.parquet import read_table

ROWS = pa.table(
    {
        "partition_key": ["2024-01-02", "2024-01-02", "2024-01-02"],
        "known_at": pa.array([3, 1, 2], pa.timestamp("us", tz="UTC")),
        "name": ["c", "a", None],
        "tags": [[1], [], None],
    }
)


def test_order_of_rows_and_columns_encoding_and_chunks_do_not_matter() -> None:
    shuffled = ROWS.take([2, 0, 1]).select(["tags", "name", "known_at", "partition_key"])
    encoded = shuffled.set_column(1, "name", shuffled["name"].dictionary_encode())
    chunked = pa.concat_tables([encoded.slice(0, 1), encoded.slice(1)]).replace_schema_metadata({"at": "now"})
    assert delivery_bytes(chunked) == delivery_bytes(ROWS)


def test_another_value_is_another_delivery() -> None:
    other = ROWS.set_column(2, "name", pa.array(["c", "b", None]))
    assert delivery_bytes(other) != delivery_bytes(ROWS)


def test_nothing_is_lost() -> None:
    landed = read_table(delivery_bytes(ROWS))
    by_time = sorted(ROWS.to_pylist(), key=lambda r: r["known_at"])
    assert sorted(landed.to_pylist(), key=lambda r: r["known_at"]) == by_time


def test_equal_rows_are_kept_and_a_single_column_type_without_order_does_not_fail() -> None:
    twice = pa.concat_tables([ROWS, ROWS])
    assert canonical(twice).num_rows == 6
    assert canonical(pa.table({"tags": [[2], [1]]}))["tags"].to_pylist() == [[2], [1]]


def test_partitions_keep_their_rows_in_order_and_empty_ones_are_there() -> None:
    table = pa.table({"partition_key": ["b", "a", "b"], "x": [1, 2, 3]})
    parts = split_partitions(table, ["a", "b", "c"])
    assert {k: t["x"].to_pylist() for k, t in parts.items()} == {"a": [2], "b": [1, 3], "c": []}
    assert list(parts) == ["a", "b", "c"]
    assert parts["c"].schema == table.schema


def test_a_delivery_without_rows_has_only_the_partitions_asked_for() -> None:
    empty = ROWS.slice(0, 0)
    assert split_partitions(empty) == {}
    assert split_partitions(empty, ["2024-01-02"])["2024-01-02"].num_rows == 0
    assert delivery_bytes(empty) == delivery_bytes(ROWS.slice(1, 0))
