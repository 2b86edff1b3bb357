"""Exports to files and to a real database."""

import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from ml_platform.errors import ConfigError, StoreError
from ml_platform.serving.export import export_csv, export_database, export_parquet

from .conftest import MODEL, predictions

ONE, TWO = "2024-05-01", "2024-05-02"
KEY = ["depot", "parcel"]


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.db"


def load(table: pa.Table, database: Path, **options: object) -> int:
    arguments: dict[str, object] = {"model_key": MODEL, "key": KEY, **options}
    return export_database(table, f"sqlite:///{database}", "predictions", **arguments)  # type: ignore[arg-type]


def test_csv_can_be_read_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "out.csv"
    assert export_csv(predictions(ONE), file) == 3
    back = pa_csv.read_csv(file)
    assert back["probability"].to_pylist() == [0.25, 0.5, 0.75]
    assert "2024-05-01 15:00:00.000000Z" in file.read_text()


def test_parquet_is_the_same_table(tmp_path: Path) -> None:
    table = predictions(ONE)
    assert export_parquet(table, tmp_path / "out.parquet") == 3
    assert pq.read_table(tmp_path / "out.parquet").equals(table)


def test_a_file_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    export_csv(predictions(ONE), file)
    before = file.read_bytes()
    nested = pa.table({"partition_key": [ONE], "list": [[1, 2]]})
    with pytest.raises(ConfigError, match="CSV"):
        export_csv(nested, file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
    with pytest.raises(StoreError, match="cannot be written"):
        export_csv(predictions(ONE), file / "below-a-file.csv")


def test_a_load_makes_the_table_and_says_how_many_rows(database: Path) -> None:
    assert load(predictions(ONE), database) == 3
    stored = rows(
        database, "select model_key, partition_key, parcel, probability, event_time from predictions"
    )
    assert stored[0] == (MODEL, ONE, "1", 0.25, "2024-05-01 15:00:00.000000")
    assert len(stored) == 3


def test_the_same_load_twice_leaves_the_same_rows(database: Path) -> None:
    load(predictions(ONE), database)
    once = rows(database, "select * from predictions order by parcel")
    load(predictions(ONE), database)
    assert rows(database, "select * from predictions order by parcel") == once


def test_a_revision_replaces_its_partition_and_no_other_partition_or_model(database: Path) -> None:
    load(predictions(ONE), database)
    load(predictions(TWO), database)
    load(predictions(ONE), database, model_key="parcels/lost")
    load(predictions(ONE, ["9"], chance=0.9), database)
    columns = "model_key, partition_key, count(*), max(probability)"
    query = f"select {columns} from predictions group by 1, 2 order by 1, 2"
    assert rows(database, query) == [
        (MODEL, ONE, 1, 0.9),
        (MODEL, TWO, 3, 0.75),
        ("parcels/lost", ONE, 3, 0.75),
    ]


def test_a_partition_without_rows_is_emptied(database: Path) -> None:
    load(predictions(ONE), database)
    assert load(predictions(ONE).slice(0, 0), database, partitions=[ONE]) == 0
    assert rows(database, "select count(*) from predictions") == [(0,)]


def test_rows_of_partitions_that_were_not_named_are_refused(database: Path) -> None:
    with pytest.raises(ConfigError, match=TWO):
        load(pa.concat_tables([predictions(ONE), predictions(TWO)]), database, partitions=[ONE])


def test_a_failure_in_the_middle_changes_nothing(database: Path) -> None:
    load(predictions(ONE), database)
    before = rows(database, "select * from predictions order by parcel")
    twice = pa.concat_tables([predictions(ONE, ["7", "8"]), predictions(ONE, ["7"])])
    with pytest.raises(StoreError, match="nothing was changed") as caught:
        load(twice, database)
    assert "INSERT" not in str(caught.value)
    assert rows(database, "select * from predictions order by parcel") == before


def test_nan_becomes_null_and_categories_become_text(database: Path) -> None:
    table = predictions(ONE).append_column("wait", pa.array([1.5, float("nan"), None]))
    kind = pa.array(["a", "b", "a"]).dictionary_encode()
    load(table.append_column("kind", kind), database)
    stored = rows(database, "select wait, kind from predictions order by parcel")
    assert stored == [(1.5, "a"), (None, "b"), (None, "a")]


def test_many_rows_go_in_several_statements(database: Path) -> None:
    assert load(predictions(ONE, [str(n) for n in range(5000)], chance=0.0), database) == 5000
    assert rows(database, "select count(distinct parcel) from predictions") == [(5000,)]


def test_an_older_table_with_other_columns_is_left_alone(database: Path) -> None:
    load(predictions(ONE), database)
    with pytest.raises(ConfigError, match="no column extra"):
        load(predictions(ONE).append_column("extra", pa.array([1, 2, 3])), database)
    assert rows(database, "select count(*) from predictions") == [(3,)]


def test_a_database_that_is_down_is_a_store_error_without_its_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no-such-folder' / 'x.db'}"
    with pytest.raises(StoreError, match="check address"):
        export_database(predictions(ONE), url, "predictions", model_key=MODEL)
    with pytest.raises(StoreError) as caught:
        export_database(predictions(ONE), "nodb://user:secret@host/x", "predictions", model_key=MODEL)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (predictions(ONE).drop_columns(["partition_key"]), "no column partition_key"),
        (predictions(ONE).drop_columns(["parcel"]), "no column parcel"),
        (predictions(ONE).append_column("list", pa.array([[1], [2], [3]])), "no SQL type"),
    ],
)
def test_a_table_that_no_database_takes_is_refused(table: pa.Table, message: str, database: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load(table, database)
