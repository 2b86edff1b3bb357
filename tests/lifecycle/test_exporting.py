"""Export of predictions to files and databases."""

from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from library import SERVED, Library
from sqlalchemy import create_engine, text

from ml_platform.errors import ConfigError, NotReadyError, PartitionError, StoreError
from ml_platform.lifecycle.exporting import export_partitions, export_predictions


def test_files_hold_all_predictions_or_a_range(served: Library, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "p.csv", tmp_path / "p.parquet"
    assert export_predictions(served.platform, served.target, str(csv)).rows == 180
    one = export_predictions(served.platform, served.target, str(parquet), SERVED[1], SERVED[1])
    assert (one.rows, one.partitions) == (90, 1)
    table = pq.read_table(parquet)
    assert set(table["partition_key"].to_pylist()) == {SERVED[1]}
    read = pyarrow.csv.read_csv(csv)
    assert read.num_rows == 180 and {"probability", "model_version", "pages"} <= set(read.column_names)


def test_a_database_table_is_loaded_again_without_doubling(served: Library, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'target.db'}"
    for _ in range(2):
        assert export_predictions(served.platform, served.target, url, table="scores").rows == 180
    with create_engine(url).connect() as connection:
        assert connection.execute(text("select count(*) from scores")).scalar() == 180


def test_each_partition_becomes_a_file_of_its_own(served: Library) -> None:
    written = export_partitions(served.platform, served.target, SERVED)
    assert {k: pq.read_table(p).num_rows for k, p in written.items()} == dict.fromkeys(SERVED, 90)


def test_what_cannot_be_exported_says_why(served: Library, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        export_predictions(served.platform, served.target, str(tmp_path / "p.xlsx"))
    with pytest.raises(NotReadyError, match="no predictions to export"):
        export_predictions(served.platform, served.target, str(tmp_path / "p.csv"), "2020-12-01")
    with pytest.raises(NotReadyError) as caught:
        export_predictions(served.platform, served.target, str(tmp_path / "p.csv"), "2020-12-01")
    assert f"there are some of {SERVED[0]} to {SERVED[1]}" in caught.value.fix
    with pytest.raises(PartitionError, match="'nonsense' is not a partition key") as unread:
        export_predictions(served.platform, served.target, str(tmp_path / "p.csv"), "nonsense")
    assert "partitions are weekly: write one as 20" in unread.value.fix
    with pytest.raises(PartitionError, match=f"{SERVED[1]}, is after the last, {SERVED[0]}"):
        export_predictions(served.platform, served.target, str(tmp_path / "p.csv"), SERVED[1], SERVED[0])
    kept = tmp_path / "file"
    kept.write_text("kept")
    with pytest.raises(StoreError):
        export_predictions(served.platform, served.target, str(kept / "p.csv"))
    assert kept.read_text() == "kept"
