"""The disposable warehouse: feeds as bitemporal views, cut off at as-of, split by partition."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.features.dbt import CompiledViews, View
from ml_platform.features.engine import (
    INSTANT,
    Cutoff,
    FeedFiles,
    build_view,
    history_schema,
    normalised,
    read_view,
    split,
    warehouse,
)
from ml_platform.storage.parquet import write_table

DAY = datetime(2024, 3, 1, tzinfo=UTC)
FAR = datetime(9999, 12, 31, tzinfo=UTC)
CONTRACT = pa.schema([("parcel", pa.string()), ("grams", pa.int64())])


def view(name: str, sql: str) -> View:
    return View(name, sql, {}, "v")


VIEWS = CompiledViews(
    entities=view("parcels", "select c.partition_key, f.parcel, c.cutoff from cutoffs c join feed_parcels f "
    "on f.partition_key = c.partition_key and f.visible_from <= c.cutoff and c.cutoff < f.visible_to"),
    features=view("parcel_features", "select e.*, f.grams from parcels e join feed_parcels f using (parcel) "
    "where f.visible_from <= e.cutoff and e.cutoff < f.visible_to"),
    labels=view("parcel_labels", "select partition_key, parcel, 1 as late from parcels"),
)  # fmt: skip


def cutoff(days: int) -> Cutoff:
    start = DAY + timedelta(days=days)
    return Cutoff(start.date().isoformat(), start, start + timedelta(days=1), start - timedelta(hours=2))


def feed(folder: Path, rows: list[tuple[str, str, int, datetime, datetime]]) -> FeedFiles:
    """Rows of (partition, parcel, grams, visible from, visible to), each in a file of its own."""
    schema, files = history_schema(CONTRACT), []
    for number, (partition, parcel, grams, start, end) in enumerate(rows):
        row = {
            "parcel": parcel, "grams": grams, "partition_key": partition, "known_at": start,
            "accepted_at": start, "revision": 1, "visible_from": start, "visible_to": end,
        }  # fmt: skip
        file = folder / f"{number}.parquet"
        file.write_bytes(write_table(pa.Table.from_pylist([row], schema=schema)))
        files.append(file)
    return FeedFiles("parcels", files, schema)


def early(hours: int) -> datetime:
    return DAY - timedelta(hours=hours)


@pytest.fixture
def parcels(tmp_path: Path) -> FeedFiles:
    """One parcel that is weighed again after the cutoff, and one that nobody knew of before it."""
    return feed(
        tmp_path,
        [
            ("2024-03-01", "a", 100, early(9), early(1)),
            ("2024-03-01", "a", 900, early(1), FAR),
            ("2024-03-01", "b", 200, early(1), FAR),
        ],
    )


def test_a_view_sees_what_was_visible_at_each_rows_own_cutoff(parcels: FeedFiles) -> None:
    with warehouse([parcels], [cutoff(0)], DAY) as connection:
        rows = build_view(connection, VIEWS, VIEWS.features).to_pylist()
    assert [(r["parcel"], r["grams"]) for r in rows] == [("a", 100)]


def test_rows_that_became_visible_after_as_of_are_hidden(parcels: FeedFiles) -> None:
    def seen(as_of: datetime) -> list[int]:
        with warehouse([parcels], [cutoff(0)], as_of) as connection:
            return sorted(r[0] for r in connection.sql("select grams from feed_parcels").fetchall())

    assert seen(early(9)) == [100] and seen(early(10)) == [] and seen(DAY) == [100, 200, 900]


def test_a_feed_without_files_is_an_empty_relation(tmp_path: Path) -> None:
    with warehouse([feed(tmp_path, [])], [cutoff(0)], DAY) as connection:
        table = build_view(connection, VIEWS, VIEWS.features)
    assert table.num_rows == 0 and table.column_names[:2] == ["partition_key", "parcel"]


def test_the_cutoffs_are_instants_in_utc(parcels: FeedFiles) -> None:
    with warehouse([parcels], [cutoff(0), cutoff(1)], DAY) as connection:
        rows = read_view(connection, "cutoffs")
    assert rows.schema.field("cutoff").type == INSTANT
    assert rows["cutoff"].to_pylist() == [early(2), DAY + timedelta(hours=22)]
    assert set(rows["as_of"].to_pylist()) == {DAY} and rows["partition_key"][1].as_py() == "2024-03-02"


def test_a_file_of_the_warehouse_can_be_read_by_others(parcels: FeedFiles, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    with warehouse([parcels], [cutoff(0)], DAY, file=file):
        pass
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.sql("select count(*) from warehouse.main.feed_parcels").fetchall() == [(3,)]


def test_sql_that_does_not_run_names_its_model(parcels: FeedFiles) -> None:
    broken = view("parcel_features", "select no_such_column from parcels")
    with warehouse([parcels], [cutoff(0)], DAY) as connection, pytest.raises(ConfigError) as caught:
        build_view(connection, VIEWS, broken)
    assert "no_such_column" in caught.value.what and caught.value.where == "dbt model parcel_features"


def table(*rows: tuple[str, str]) -> pa.Table:
    keys, parcels = zip(*rows, strict=True)
    return pa.table({"partition_key": list(keys), "parcel": list(parcels)})


def test_partitions_come_sorted_by_key_and_empty_where_there_is_nothing() -> None:
    parts = split(table(("d2", "b"), ("d1", "c"), ("d2", "a")), ["parcel"], ["d1", "d2", "d3"], "v")
    assert {k: t["parcel"].to_pylist() for k, t in parts.items()} == {"d1": ["c"], "d2": ["a", "b"], "d3": []}


def test_a_key_that_repeats_or_is_missing_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"1 row\(s\) repeat a key \(parcel\)"):
        split(table(("d1", "a"), ("d1", "a"), ("d2", "a")), ["parcel"], ["d1"], "v")
    with pytest.raises(IntegrityError, match=r"lacks the column\(s\) depot"):
        split(table(("d1", "a")), ["parcel", "depot"], ["d1"], "v")


def test_types_are_the_same_whatever_duckdb_returns() -> None:
    zone = pa.timestamp("ns", tz="Europe/Berlin")
    given = pa.table(
        {
            "at": pa.array([DAY], zone),
            "name": pa.array(["x"]).dictionary_encode(),
            "share": pa.array([Decimal("0.50")]),
            "count": pa.array([1], pa.int32()),
        }
    )
    assert normalised(given).schema.types == [INSTANT, pa.string(), pa.float64(), pa.int32()]
    assert normalised(given)["at"].to_pylist() == [DAY]
