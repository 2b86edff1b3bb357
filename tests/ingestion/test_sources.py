"""Feeds without Python: files, objects and queries; when their rows were known; what bad input gets."""

import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ml_platform.config import PartitionConfig, UseCase, load_use_case
from ml_platform.errors import FeedError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.reader import read_feed

LIBRARY = Path(__file__).parents[1] / "library_use_case" / "library_loans" / "use_case.yaml"
CSV = (
    "crate,picked at,weight,reported\n"
    "a,2024-03-01 10:00,1.5,2024-03-02 08:00\n"
    "b,2024-03-01 23:30,,2024-03-05 08:00\n"
    "c,2024-03-02 00:10,2.5,2024-03-03 08:00\n"
    "d,2024-03-03 07:00,heavy,2024-03-03 09:00\n"
)
COLUMNS = {"crate": "crate", "picked_at": "picked at", "weight": "weight", "reported": "reported"}
LATER = datetime(2025, 1, 1, tzinfo=UTC)


def use_case(folder: Path, **partitions: Any) -> UseCase:
    settings = {"timezone": "Europe/Berlin", "start": date(2024, 3, 1)} | partitions
    config = load_use_case(LIBRARY).config
    scheme = PartitionConfig.model_validate(settings)
    return UseCase(config.model_copy(update={"partitions": scheme}), folder)


def read(
    folder: Path, feed: dict[str, Any], keys: Sequence[str], as_of: datetime = LATER, **partitions: Any
) -> list[dict[str, Any]]:
    owner = use_case(folder, **partitions)
    config = FeedConfig.model_validate({"name": "crates", "event_time": "picked_at"} | feed)
    asked = [owner.feed_partition(config, k) for k in keys]
    rows: list[dict[str, Any]] = read_feed(owner, config, asked, as_of).to_pylist()
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "crates_1.csv").write_text(CSV)
    return tmp_path


FILES = {"source": {"path": "data/crates_*.csv", "columns": COLUMNS}}


def test_a_value_that_cannot_be_read_is_told_with_its_file_and_its_row_there(folder: Path) -> None:
    head, *lines = CSV.splitlines(keepends=True)
    strange = lines[2].replace("2024-03-02 00:10", "soon")
    (folder / "data" / "crates_2.csv").write_text(head + lines[1] + strange)
    source = FILES["source"] | {"not_null": ["weight"]}
    with pytest.raises(FeedError, match="1 of 4 values of 'picked_at' cannot be read") as caught:
        read(folder, {"source": source}, ["2024-03-01"])
    assert caught.value.where.endswith("data/crates_2.csv, row 2: 'soon'"), "rows left out count, too"


def test_rows_of_files_are_placed_in_the_partitions_of_their_local_day(folder: Path) -> None:
    rows = read(folder, FILES, ["2024-03-01", "2024-03-02"])
    assert [(r["crate"], r["partition_key"], r["weight"]) for r in rows] == [
        ("a", "2024-03-01", "1.5"),
        ("b", "2024-03-01", None),
        ("c", "2024-03-02", "2.5"),
    ]
    assert rows[0]["picked_at"] == datetime(2024, 3, 1, 9, tzinfo=UTC), "ten o'clock in Berlin"
    assert rows[0]["known_at"] == rows[0]["picked_at"], "nothing says when it was known"


@pytest.mark.parametrize(
    ("width", "keys"),
    [
        ({"width": "hourly", "timezone": "UTC"}, ["2024-03-01T10", "2024-03-01T23", "2024-03-02T00"]),
        ({"width": "weekly", "start": date(2024, 2, 26)}, ["2024-02-26"]),
        ({"width": "monthly"}, ["2024-03-01"]),
    ],
)
def test_rows_are_placed_by_any_width(folder: Path, width: dict[str, Any], keys: list[str]) -> None:
    rows = read(folder, FILES, keys, **width)
    assert sorted({r["partition_key"] for r in rows}) == keys
    assert {"a", "b", "c"} <= {r["crate"] for r in rows}


def test_known_at_comes_from_a_column(folder: Path) -> None:
    feed = FILES | {"known_at": {"column": "reported"}}
    as_of = datetime(2024, 3, 4, tzinfo=UTC)
    assert [r["crate"] for r in read(folder, feed, ["2024-03-01"], as_of)] == ["a"], "b is reported later"


def test_known_at_comes_from_a_rule(folder: Path) -> None:
    (row, _) = read(folder, FILES | {"known_at": {"delay": "P2DT1H"}}, ["2024-03-01"])
    assert row["known_at"] - row["picked_at"] == timedelta(days=2, hours=1)


def test_known_at_comes_from_the_file_s_arrival(folder: Path) -> None:
    arrived = datetime(2024, 3, 7, 12, tzinfo=UTC)
    os.utime(folder / "data" / "crates_1.csv", (arrived.timestamp(), arrived.timestamp()))
    rows = read(folder, FILES | {"known_at": {"arrival": True}}, ["2024-03-01"])
    assert {r["known_at"] for r in rows} == {arrived}
    assert read(folder, FILES | {"known_at": {"arrival": True}}, ["2024-03-01"], arrived - timedelta(1)) == []


def test_rows_that_are_not_known_yet_are_left_out(folder: Path) -> None:
    source = FILES["source"] | {"not_null": ["weight"]}
    assert [r["crate"] for r in read(folder, {"source": source}, ["2024-03-01"])] == ["a"]


def test_several_files_of_several_formats_are_one_feed(folder: Path) -> None:
    extra = pa.table(
        {
            "crate": ["e"],
            "picked at": [datetime(2024, 3, 1, 5)],
            "weight": [9.0],
            "reported": [datetime(2024, 3, 1, 6)],
        }
    )
    pq.write_table(extra, folder / "data" / "crates_2.parquet")
    (folder / "data" / "crates_1.csv").unlink()
    source = {"path": "${CRATES}/crates_*", "columns": COLUMNS}
    with pytest.raises(FeedError, match="CRATES is not set"):
        read(folder, {"source": source}, ["2024-03-01"])
    os.environ["CRATES"] = str(folder / "data")
    try:
        assert [r["crate"] for r in read(folder, {"source": source}, ["2024-03-01"])] == ["e"]
    finally:
        del os.environ["CRATES"]


def test_a_reference_feed_has_one_partition_and_was_always_known(folder: Path) -> None:
    rows = read(folder, FILES | {"static": True, "event_time": ""}, ["static"])
    assert len(rows) == 4
    assert {(r["partition_key"], r["known_at"].year) for r in rows} == {("static", 1970)}


@pytest.mark.parametrize(
    ("text", "feed", "why", "where"),
    [
        (None, {}, "no file matches", "crates_"),
        (
            CSV.replace("03-02 00:10", "13-02 00:10"),
            {},
            "1 of 4 values of 'picked_at' cannot be read",
            "row 3",
        ),
        (CSV, {"time_format": "%d.%m.%Y %H:%M"}, "4 of 4 values", "row 1: '2024-03-01 10:00'"),
        (CSV, {"known_at": {"column": "told"}}, "no column 'told'", "crates_"),
        (CSV, {"source": {"path": "data/crates_*.csv", "columns": {"crate": "box"}}}, "no column box", ""),
        (CSV, {"time_format": "epoch_seconds"}, "4 of 4 values", "row 1: '2024-03-01 10:00'"),
        (CSV + "x,2024-03-01 10:00,1,2024-03-01 10:00,5,6\n", {}, "cannot be read as csv", "crates_1.csv"),
        (CSV.replace("b,2024-03-01 23:30", "b,"), {}, "1 of 4 values", "row 2: None"),
        (CSV.replace("weight", "crate", 1), {}, "its columns 1 and 3 share the name 'crate'", "crates_1.csv"),
        (CSV, {"source": {"path": "data"}}, "its path is a folder, not a file", "data"),
    ],
)
def test_bad_files_say_what_where_and_how_to_fix_it(
    folder: Path, text: str | None, feed: dict[str, Any], why: str, where: str
) -> None:
    file = folder / "data" / "crates_1.csv"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(FeedError, match=why) as caught:
        read(folder, FILES | feed, ["2024-03-01"])
    assert "feed crates" in caught.value.what
    assert where in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (CSV, "these are ISO: take `time_format: %d.%m.%Y` out"),
        (CSV.replace("2024-03-01 23:30", "1 March"), "write all of them in one format and name it"),
    ],
)
def test_a_format_that_does_not_suit_iso_values_is_told_to_go(folder: Path, text: str, fix: str) -> None:
    (folder / "data" / "crates_1.csv").write_text(text)
    with pytest.raises(FeedError, match="4 of 4 values") as caught:
        read(folder, FILES | {"time_format": "%d.%m.%Y"}, ["2024-03-01"])
    assert caught.value.fix.startswith(fix)


def test_a_folder_is_answered_with_a_pattern(folder: Path) -> None:
    with pytest.raises(FeedError) as caught:
        read(folder, {"source": {"path": "data"}}, ["2024-03-01"])
    assert "`path: data/*.csv`" in caught.value.fix


def test_numbers_with_a_decimal_comma_are_read_where_they_are_declared(folder: Path) -> None:
    text = CSV.replace("1.5", '"1.234,5"').replace("2.5", '"-7,25"')
    (folder / "data" / "crates_1.csv").write_text(text)
    source = FILES["source"] | {"decimal_comma": ["weight"]}
    rows = read(folder, {"source": source}, ["2024-03-01", "2024-03-02", "2024-03-03"])
    assert [r["weight"] for r in rows] == ["1234.5", None, "-7.25", "heavy"]
    as_it_is = read(folder, FILES, ["2024-03-01"])
    assert as_it_is[0]["weight"] == "1.234,5"
    with pytest.raises(FeedError, match="no column heaviness"):
        read(folder, {"source": source | {"decimal_comma": ["heaviness"]}}, ["2024-03-01"])


@pytest.mark.parametrize("line", [1, 3])
def test_a_file_that_is_not_utf_8_says_where_and_how_to_convert_it(folder: Path, line: int) -> None:
    lines = CSV.splitlines()
    lines[line - 1] = lines[line - 1].replace("crate", "kr\u00e4te").replace("b,", "b\u00e4,")
    (folder / "data" / "crates_1.csv").write_text("\n".join(lines), encoding="cp1252")
    with pytest.raises(FeedError, match=rf"not UTF-8 \(line {line}: b'\\xe4'\).*iconv") as caught:
        read(folder, FILES, ["2024-03-01"])
    assert "crates_1.csv" in caught.value.where


# --- a database -------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "orchard.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE crates (crate TEXT, picked_at TEXT, weight REAL)")
        rows = [("a", "2024-03-01 10:00:00", 1.5), ("b", "2024-03-02 10:00:00", None)]
        connection.executemany("INSERT INTO crates VALUES (?, ?, ?)", rows)
    monkeypatch.setenv("FARM_DATABASE", f"sqlite:///{file}")
    return file


def query(text: str) -> dict[str, Any]:
    return {"source": {"query": text, "url_from": "FARM_DATABASE"}, "timezone": "UTC"}


def test_a_query_is_a_feed_whose_address_only_the_environment_knows(folder: Path, database: Path) -> None:
    rows = read(folder, query("SELECT * FROM crates"), ["2024-03-01", "2024-03-02"])
    assert [(r["crate"], r["weight"]) for r in rows] == [("a", 1.5), ("b", None)]
    bounded = query("SELECT * FROM crates WHERE picked_at >= :start AND picked_at < :end")
    assert [r["crate"] for r in read(folder, bounded, ["2024-03-02"])] == ["b"]
    assert read(folder, bounded, ["2024-03-03"]) == []


def test_a_query_that_fails_does_not_tell_the_address(
    folder: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FeedError, match="its columns 1 and 2 share the name 'crate'"):
        read(folder, query("SELECT crate, weight AS crate FROM crates"), ["2024-03-01"])
    with pytest.raises(FeedError, match="no such table: boxes") as caught:
        read(folder, query("SELECT * FROM boxes"), ["2024-03-01"])
    assert str(database) not in str(caught.value)
    monkeypatch.delenv("FARM_DATABASE")
    with pytest.raises(FeedError, match="FARM_DATABASE is not set"):
        read(folder, query("SELECT 1"), ["2024-03-01"])


# --- S3 ---------------------------------------------------------------------------------------------


def test_a_prefix_of_s3_is_a_feed(
    folder: Path, aws_endpoint: str, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_platform.storage.lake import s3_client

    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = s3_client()
    client.create_bucket(Bucket="orchard")
    client.put_object(Bucket="orchard", Key="in/2024/crates_1.csv", Body=CSV.encode())
    client.put_object(Bucket="orchard", Key="in/2024/readme", Body=b"not a feed")
    feed = {"source": {"s3": "s3://orchard/in/", "columns": COLUMNS}, "known_at": {"arrival": True}}
    soon = datetime.now(UTC) + timedelta(hours=1)
    rows = read(folder, feed, ["2024-03-01"], soon)
    assert [r["crate"] for r in rows] == ["a", "b"]
    written = client.head_object(Bucket="orchard", Key="in/2024/crates_1.csv")["LastModified"]
    assert {r["known_at"] for r in rows} == {written}
    pattern = {"source": {"s3": "s3://orchard/in/*/boxes_*.csv"}}
    with pytest.raises(FeedError, match="no object is there"):
        read(folder, pattern, ["2024-03-01"])
    with pytest.raises(FeedError, match="S3 does not answer"):
        read(folder, {"source": {"s3": "s3://no-such-bucket/in/"}}, ["2024-03-01"])


# --- Python that need not place its rows ------------------------------------------------------------


def test_a_function_may_yield_batches_and_leave_the_rest_to_the_platform(folder: Path) -> None:
    (folder / "feeds.py").write_text(
        "import datetime as dt\nimport pyarrow as pa\n"
        "def crates(request):\n"
        "    for day in (1, 2):\n"
        "        moment = dt.datetime(2024, 3, day, 12)\n"
        "        yield pa.RecordBatch.from_pydict({'crate': [f'n{day}'], 'picked_at': [moment]})\n"
    )
    feed = {"reader": "feeds:crates", "known_at": {"delay": "PT3H"}}
    (row,) = read(folder, feed, ["2024-03-02"])
    assert (row["crate"], row["partition_key"]) == ("n2", "2024-03-02")
    assert row["known_at"] - row["picked_at"] == timedelta(hours=3)


@pytest.mark.parametrize(
    ("feed", "why"),
    [
        ({}, "either 'reader' or 'source'"),
        ({"reader": "feeds:x", "source": {"path": "x.csv"}}, "either 'reader' or 'source'"),
        (
            {"source": {"path": "x.csv", "s3": "s3://b/x"}},
            "exactly one of path, query and s3, not path and s3",
        ),
        ({"source": {"path": "x.csv"}, "event_time": ""}, "needs 'event_time'"),
        ({"source": {"query": "SELECT 1"}}, "go together"),
        ({"source": {"query": "SELECT 1", "url_from": "sqlite:///x"}}, "name of an environment variable"),
        (query("SELECT 1") | {"known_at": {"arrival": True}}, "needs files or objects"),
        (
            FILES | {"known_at": {"arrival": True, "column": "x"}},
            "exactly one of column, arrival: true and delay",
        ),
        (FILES | {"timezone": "Mars/North"}, "no IANA zone"),
        (FILES | {"time_format": "%d.%Q"}, "no strptime format such as .* 'Q' is a bad directive"),
        ({"reader": "feeds:x", "event_time": "", "known_at": {"delay": "PT1H"}}, "needs 'event_time'"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(feed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        FeedConfig.model_validate({"name": "crates", "event_time": "picked_at"} | feed)


UNREAD = CSV.replace("2024-03-01 23:30", "1 March").replace("2024-03-03 09:00", "soon")


def test_every_column_with_times_that_cannot_be_read_is_named_at_once(folder: Path) -> None:
    (folder / "data" / "crates_1.csv").write_text(UNREAD)
    with pytest.raises(FeedError) as caught:
        read(folder, FILES | {"known_at": {"column": "reported"}}, ["2024-03-01"])
    assert "1 of 4 values of 'picked_at'" in caught.value.what and "'reported'" in caught.value.what
    assert "row 2: '1 March'" in caught.value.where and "row 4: 'soon'" in caught.value.where


def test_a_check_goes_on_without_the_rows_whose_times_cannot_be_read(folder: Path) -> None:
    (folder / "data" / "crates_1.csv").write_text(UNREAD)
    owner, faults = use_case(folder), list[FeedError]()
    feed = FeedConfig.model_validate(
        {"name": "crates", "event_time": "picked_at", "known_at": {"column": "reported"}} | FILES
    )
    asked = [owner.feed_partition(feed, k) for k in ("2024-03-01", "2024-03-02", "2024-03-03")]
    rows = read_feed(owner, feed, asked, LATER, faults).to_pylist()
    assert [r["crate"] for r in rows] == ["a", "c"]
    assert rows[0]["known_at"] == datetime(2024, 3, 2, 7, tzinfo=UTC), "08:00 in Berlin"
    assert ["picked_at" in f.what for f in faults] == [True, False] and len(faults) == 2
