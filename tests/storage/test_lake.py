"""Objects are immutable, verified, and never half written."""

import os
from pathlib import Path

import pytest

from ml_platform.errors import IntegrityError, NotFoundError, StoreError
from ml_platform.storage.lake import LocalLake, digest_of, open_lake


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


def test_what_was_put_is_got_by_its_digest(lake: LocalLake) -> None:
    digest = lake.put(b"parcel")
    assert digest == digest_of(b"parcel")
    assert lake.get(digest) == b"parcel"
    assert lake.path(digest).read_bytes() == b"parcel"


def test_the_same_bytes_are_kept_once(lake: LocalLake) -> None:
    first, second = lake.put_many([b"same", b"same"])
    assert first == second
    assert list(lake.digests()) == [first]


def test_changed_bytes_are_found_out(lake: LocalLake) -> None:
    digest = lake.put(b"good")
    file = lake.path(digest)
    file.chmod(0o644)
    file.write_bytes(b"evil")
    with pytest.raises(IntegrityError, match="other bytes") as error:
        lake.get(digest)
    assert str(file) in str(error.value) and error.value.fix


def test_a_missing_object_is_named(lake: LocalLake) -> None:
    with pytest.raises(NotFoundError, match="0000"):
        lake.get("0" * 64)


def test_a_killed_writer_leaves_no_object_and_is_swept(lake: LocalLake) -> None:
    digest = lake.put(b"whole")
    leftover = lake.path(digest).parent / ".writing-abc"
    leftover.write_bytes(b"ha")
    assert list(lake.digests()) == [digest]
    assert lake.sweep() == 1
    assert not leftover.exists()
    assert lake.get(digest) == b"whole"


def test_an_unwritable_lake_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    # A file where the folder should be fails for every user, root included.
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "objects").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written") as error:
        LocalLake(tmp_path / "lake").put(b"x")
    assert "disk space" in error.value.fix
    assert (tmp_path / "lake" / "objects").read_text() == "in the way"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_says_so_and_leaves_no_half_object(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = lake.put(b"kept")
    opened = os.fdopen
    # The kernel's own full device stands in for the disk: the write really fails with ENOSPC.
    monkeypatch.setattr(
        os,
        "fdopen",
        lambda handle, mode: (os.close(handle), opened(os.open("/dev/full", os.O_WRONLY), mode))[1],
    )
    with pytest.raises(StoreError, match="No space left"):
        lake.put(b"lost" * 100_000)
    monkeypatch.undo()
    assert list(lake.digests()) == [kept]
    assert not list((lake.root / "objects").glob("*/.writing-*"))


def test_an_address_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no address"):
        open_lake("ftp://somewhere", tmp_path)
