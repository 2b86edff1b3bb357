"""Tables kept in memory are those of the lake, and a spoilt object is told however often it was read."""

from pathlib import Path

import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError, NotFoundError
from ml_platform.storage.lake import LocalLake
from ml_platform.storage.parquet import write_table
from ml_platform.storage.recent import RecentTables


def put(lake: LocalLake, first: int, rows: int = 100) -> str:
    return lake.put(write_table(pa.table({"n": list(range(first, first + rows))})))


def test_a_table_is_read_once(tmp_path: Path) -> None:
    lake, recent = LocalLake(tmp_path), RecentTables(1 << 20)
    digest = put(lake, 7)
    one = recent.table(lake, digest)
    assert one["n"].to_pylist() == list(range(7, 107)) and recent.table(lake, digest) is one


def test_what_is_used_least_gives_way_and_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    a, b, c, large = put(lake, 0), put(lake, 1), put(lake, 2), put(lake, 0, 10_000)
    recent = RecentTables(2_000)
    first, second = recent.table(lake, a), recent.table(lake, b)
    assert recent.table(lake, a) is first
    recent.table(lake, c)
    assert recent.table(lake, a) is first and recent.table(lake, b) is not second
    assert recent.table(lake, large) is not recent.table(lake, large)
    assert recent.table(lake, b)["n"][0].as_py() == 1


def test_an_object_that_is_spoilt_or_lost_after_it_was_read_is_told(tmp_path: Path) -> None:
    lake, recent = LocalLake(tmp_path), RecentTables(1 << 20)
    digest = put(lake, 0)
    recent.table(lake, digest)
    file = lake.path(digest)
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[20] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(IntegrityError):
        recent.table(lake, digest)
    file.unlink()
    with pytest.raises(NotFoundError):
        recent.table(lake, digest)
