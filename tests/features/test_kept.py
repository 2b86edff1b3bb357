"""Feeds kept in memory answer as their files do, whatever was asked for before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ml_platform.features.dbt import CompiledViews, View
from ml_platform.features.engine import Cutoff, FeedFiles, build_view, history_schema, warehouse
from ml_platform.features.kept import KeptFeeds
from ml_platform.storage.parquet import write_table

DAY = datetime(2024, 3, 1, tzinfo=UTC)
FAR = datetime(9999, 12, 31, tzinfo=UTC)
SCHEMA = history_schema(pa.schema([("parcel", pa.string()), ("grams", pa.int64())]))
NOTHING = View("nothing", "select 1 as one", {}, "v")
ALL = View("parcels", "select * from feed_parcels order by all", {}, "v")
VIEWS = CompiledViews(NOTHING, ALL, NOTHING)


def write(file: Path, day: int, parcels: str, grams: int, schema: pa.Schema = SCHEMA) -> Path:
    start = DAY + timedelta(days=day)
    rows = [
        {"parcel": p, "grams": grams, "partition_key": start.date().isoformat(), "known_at": start,
         "accepted_at": start, "revision": 1, "visible_from": start, "visible_to": FAR, "wet": True}
        for p in parcels
    ]  # fmt: skip
    file.write_bytes(write_table(pa.Table.from_pylist(rows, schema=schema)))
    return file


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{d}.parquet", d, "abc"[: 1 + d % 3], d) for d in range(8)]


def asked(files: Sequence[Path], kept: KeptFeeds | None, days: int = 30) -> pa.Table:
    """All rows that a view sees."""
    feed, as_of = FeedFiles("parcels", files, SCHEMA), DAY + timedelta(days=days)
    cutoffs = [Cutoff("2024-03-01", DAY, DAY + timedelta(days=1), DAY)]
    with warehouse([feed], cutoffs, as_of, kept=kept) as connection:
        return build_view(connection, VIEWS, VIEWS.features)


def test_each_answer_is_that_of_the_files(files: list[Path], tmp_path: Path) -> None:
    kept = KeptFeeds()
    revised = write(tmp_path / "again.parquet", 3, "abcd", 300)
    asks: list[tuple[list[Path], int]] = [
        (files[:4], 30),
        (files[2:6], 30),
        (files, 4),
        ([*files[:3], revised, *files[4:]], 30),
        (files[3:4], 30),
        ([], 30),
    ]
    for chosen, days in asks:
        assert asked(chosen, kept, days).equals(asked(chosen, None, days))
    assert asked([*files[:3], revised], kept).num_rows == asked(files[:4], kept).num_rows + 3
    kept.close()


def test_what_was_loaded_is_not_read_again(files: list[Path]) -> None:
    kept = KeptFeeds()
    before = asked(files, kept)
    for file in files:
        file.write_bytes(b"x" * file.stat().st_size)
    assert asked(files, kept).equals(before)
    kept.close()


def test_files_of_other_columns_and_large_ones_are_read_each_time(files: list[Path], tmp_path: Path) -> None:
    wider = write(tmp_path / "wide.parquet", 9, "z", 9, pa.schema([*SCHEMA, ("wet", pa.bool_())]))
    kept, small = KeptFeeds(), KeptFeeds(most_bytes=10)
    asked(files, kept)
    for held in (kept, small, KeptFeeds()):
        mixed = asked([*files, wider], held)
        assert mixed.equals(asked([*files, wider], None)) and "wet" in mixed.column_names
        assert asked(files, held).equals(asked(files, None))
        held.close()


def test_a_table_full_of_revisions_is_made_anew(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_platform.features.kept._SPARE", 4)
    kept = KeptFeeds()
    for number in range(30):
        file = write(tmp_path / f"r{number}.parquet", 1, "ab", number)
        assert asked([file, files[5]], kept).equals(asked([file, files[5]], None))
    (rows,) = kept._connection.execute('SELECT count(*) FROM "parcels"').fetchall()[0]
    assert rows < 45, "not those of all thirty"
    kept.close()


def test_a_second_use_at_once_reads_the_files(files: list[Path]) -> None:
    kept = KeptFeeds()
    with kept.connected("warehouse") as first:
        assert first is not None
        assert asked(files, kept).equals(asked(files, None))
    assert asked(files, kept).equals(asked(files, None))
    kept.close()
