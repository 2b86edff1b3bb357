"""A reader is held to what it promised, and whatever goes wrong in it names feed and reader."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml_platform.config import UseCase, UseCaseConfig
from ml_platform.errors import FeedError
from ml_platform.ingestion.reader import load_reader, read_feed

READERS = """
from datetime import UTC, datetime, timedelta
import pyarrow as pa
from ml_platform.errors import FeedError
from .helper import NAMES

def table(**changes):
    at = datetime(2024, 1, 2, 12, tzinfo=UTC)
    columns = {
        "partition_key": pa.array(["2024-01-02"] * 3),
        "known_at": pa.array([at + timedelta(hours=i) for i in range(3)], pa.timestamp("us", "UTC")),
        "name": pa.array(NAMES),
    }
    columns.update(changes)
    return pa.table({k: v for k, v in columns.items() if v is not None})

def good(request): return table()
def batches(request): return iter(table().to_batches())
def nothing(request): return []
def settings(request): return table(name=pa.array([request.settings["word"]] * 3))
def raises(request): raise ValueError("the moon is full")
def not_utf8(request): return open(request.settings["path"], encoding="utf-8").read()
def knows_better(request): raise FeedError("no such file", where="orders.csv", fix="download it")
def no_table(request): return 5
def no_key(request): return table(partition_key=None)
def number_key(request): return table(partition_key=pa.array([1, 2, 3]))
def null_key(request): return table(partition_key=pa.array(["2024-01-02", None, "2024-01-02"]))
def naive(request): return table(known_at=pa.array([1, 2, 3], pa.timestamp("us")))
def unknown_time(request): return table(known_at=pa.array([1, None, 3], pa.timestamp("us", "UTC")))
def foreign(request): return table(partition_key=pa.array(["2024-01-02", "2024-01-09", "2024-01-02"]))
def repeated_name(request): return pa.table([pa.array(["2024-01-02"])] * 2, names=["partition_key"] * 2)
def nanoseconds(request): return table(
    partition_key=pa.array(["2024-01-02"] * 3).dictionary_encode(),
    known_at=table()["known_at"].cast(pa.timestamp("ns", "America/Lima")),
)
"""
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "feeds.py").write_text(READERS)
    (tmp_path / "helper.py").write_text("NAMES = ['a', 'b', 'c']\n")
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    return tmp_path


def read(folder: Path, function: str, as_of: datetime = NOON + timedelta(days=1), **feed: Any) -> pa.Table:
    use_case = _use_case(folder, {"name": "orders", "reader": f"feeds:{function}", **feed})
    return read_feed(use_case, use_case.feed("orders"), [use_case.scheme.partition("2024-01-02")], as_of)


def _use_case(folder: Path, feed: dict[str, Any]) -> UseCase:
    model = {
        "name": "m",
        "label": {"maturity_partitions": 1},
        "features": [{"name": "f"}],
        "windows": {"train": 2, "gate": 2},
    }
    config = {
        "schema_version": 1,
        "name": "shop",
        "title": "Shop",
        "description": "?",
        "owner": {"team": "t", "email": "t@example.org"},
        "timeline": {"name": "t"},
        "partitions": {"start": date(2024, 1, 1)},
        "cutoff": {},
        "feeds": [feed],
        "views": {"entities": "e", "features": "f", "labels": "l", "key": ["k"]},
        "models": [model],
    }
    return UseCase(UseCaseConfig.model_validate(config), folder)


@pytest.mark.parametrize("function", ["good", "batches"])
def test_a_reader_returns_a_table_or_batches(folder: Path, function: str) -> None:
    assert read(folder, function)["name"].to_pylist() == ["a", "b", "c"]


def test_a_reader_sees_its_settings(folder: Path) -> None:
    assert read(folder, "settings", settings={"word": "tea"})["name"].to_pylist() == ["tea"] * 3


def test_a_reader_may_have_nothing(folder: Path) -> None:
    assert read(folder, "nothing").num_rows == 0


def test_what_could_not_have_landed_yet_is_dropped(folder: Path) -> None:
    assert read(folder, "good", NOON + timedelta(hours=1))["name"].to_pylist() == ["a", "b"]
    late = read(folder, "good", NOON + timedelta(hours=1), landing_lag="PT1M")
    assert late["name"].to_pylist() == ["a"]
    exact = read(folder, "good", NOON + timedelta(hours=1), landing_lag="PT1H")
    assert exact["name"].to_pylist() == ["a"]


def test_units_zones_and_dictionaries_become_the_promised_types(folder: Path) -> None:
    table = read(folder, "nanoseconds")
    assert table.schema.field("known_at").type == pa.timestamp("us", "UTC")
    assert table.schema.field("partition_key").type == pa.string()
    assert table["known_at"][0].as_py() == NOON


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("raises", "ValueError: the moon is full"),
        ("no_table", "its reader returns int, not a pyarrow.Table"),
        ("no_key", "no column partition_key"),
        ("number_key", "partition_key is int64"),
        ("null_key", "no partition_key or known_at"),
        ("naive", "not an instant"),
        ("unknown_time", "no partition_key or known_at"),
        ("foreign", "not asked for: 2024-01-09"),
        ("repeated_name", "named twice: partition_key"),
    ],
)
def test_a_broken_promise_names_feed_reader_and_reason(folder: Path, function: str, why: str) -> None:
    with pytest.raises(FeedError, match=why) as caught:
        read(folder, function)
    assert "feed orders" in caught.value.what
    assert f"feeds:{function}" in caught.value.where
    assert caught.value.fix


def test_a_wrong_encoding_is_a_feed_error(folder: Path) -> None:
    (folder / "latin.csv").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(FeedError, match="UnicodeDecodeError"):
        read(folder, "not_utf8", settings={"path": str(folder / "latin.csv")})


def test_a_reader_that_knows_better_is_heard(folder: Path) -> None:
    with pytest.raises(FeedError, match="feed orders: no such file") as caught:
        read(folder, "knows_better")
    assert (caught.value.where, caught.value.fix) == ("orders.csv", "download it")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("feeds", "does not name a reader"),
        ("../feeds:good", "does not name a reader"),
        ("absent:good", "no module"),
        ("broken:good", "no_such_library"),
        ("feeds:absent", "no function 'absent'"),
        ("helper:NAMES", "no function 'NAMES'"),
    ],
)
def test_a_reader_that_is_not_there_says_what_to_correct(folder: Path, spec: str, why: str) -> None:
    with pytest.raises(FeedError, match=why) as caught:
        load_reader(folder, spec)
    assert caught.value.where and caught.value.fix


def test_two_use_cases_with_modules_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "feeds.py").write_text(f"def read(request): return '{name}'\n")
    answers = [load_reader(tmp_path / n, "feeds:read")(None) for n in ("one", "two")]  # type: ignore[arg-type]
    assert answers == ["one", "two"]
