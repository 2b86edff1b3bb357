"""Stores and use cases are found from the environment."""

import resource
from pathlib import Path

import pytest
from library import MODEL, NAME, Library, open_library

from ml_platform.errors import NotFoundError, StoreError
from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.lake import LocalLake, S3Lake


def test_everything_lies_under_home_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    platform = Platform({"ML_PLATFORM_HOME": str(tmp_path / "h")})
    assert isinstance(platform.lake, LocalLake) and platform.lake.root == tmp_path / "h" / "lake"
    assert platform.ledger.url == f"sqlite:///{tmp_path / 'h' / 'ledger.db'}"
    assert str(tmp_path / "h" / "serving.lmdb") in platform.cache.where
    other = Platform({"ML_PLATFORM_HOME": str(tmp_path), "ML_PLATFORM_LAKE": "s3://bucket/prefix"})
    assert isinstance(other.lake, S3Lake) and other.lake.bucket == "bucket"


def test_a_model_is_found_by_its_key_or_by_its_only_use_case(fresh: Library) -> None:
    assert fresh.platform.target(MODEL).key == fresh.platform.target(NAME).key == MODEL
    assert fresh.target.asset("predictions") == f"{MODEL}/predictions"
    assert MODEL in [t.key for t in fresh.platform.targets()]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(fresh: Library) -> None:
    with pytest.raises(NotFoundError, match=NAME):
        fresh.platform.use_case("nothing")
    with pytest.raises(NotFoundError, match="late_return"):
        fresh.platform.target(f"{NAME}/nothing")
    with pytest.raises(NotFoundError, match="library_2020"):
        fresh.platform.timeline("nothing")


def test_a_ledger_that_is_down_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path / 'file' / 'ledger.db'}"
    library = open_library(tmp_path, ML_PLATFORM_LEDGER_URL=url)
    with pytest.raises(StoreError, match="ML_PLATFORM_LEDGER_URL"):
        library.deliver("loans", ["2020-01-06"])


def test_a_lake_that_cannot_be_written_is_a_store_error_and_lands_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    library = open_library(tmp_path, ML_PLATFORM_LAKE=str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot be written"):
        library.deliver("loans", ["2020-01-06"])
    assert library.platform.ledger.heads("feed/loans/landed") == {}
    assert library.platform.ledger.requested() == []


def test_a_full_disk_keeps_the_last_good_state(served: Library) -> None:
    assert served.build("features", ["2020-08-31"])[0].status == "unchanged", "stores are open"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written: File too large"):
            served.build("features", ["2020-09-07"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert served.platform.ledger.head(f"{NAME}/features", "2020-09-07") is None
    assert served.platform.ledger.requested() == []
    assert served.platform.lake.sweep() == 0, "nothing half-written is left"
    assert served.build("features", ["2020-09-07"])[0].status == "new"
