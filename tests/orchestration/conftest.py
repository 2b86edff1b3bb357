"""One lifecycle, played as a real run on a real Dagster instance, that the tests of this folder share."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRun, Definitions
from filelock import FileLock
from homes import made_once
from library import FIRST_WEEK, FOLDER, NAME

from ml_platform.config import UseCase, load_use_case
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.platform import Platform

HELD_WEEK, SPOILT_WEEK, LAST_WEEK, WEEK_TO_COME = "2020-03-02", "2020-03-09", "2020-08-31", "2020-09-07"
MODEL = f"{NAME}/late_return"


def write_use_case(folder: Path, **changes: Any) -> UseCase:
    """Copy the library's folder to ``folder`` and change top-level keys of its YAML."""
    shutil.copytree(FOLDER / NAME, folder)
    file = folder / "use_case.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes, sort_keys=False))
    return load_use_case(file)


@dataclass(frozen=True)
class Installation:
    """A home, the use case that lives there, and the environment in which both are found."""

    home: Path
    use_case: UseCase
    instance: DagsterInstance

    @property
    def platform(self) -> Platform:
        return Platform()

    def materialised(self, *key: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(AssetKey(key)))


def enter(patch: pytest.MonkeyPatch, home: Path, use_cases: Path) -> None:
    """Make an installation the one that the process's environment names."""
    for name in [n for n in os.environ if n.startswith("ML_PLATFORM_")]:
        patch.delenv(name)
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    patch.setenv("ML_PLATFORM_HOME", str(home))
    patch.setenv("ML_PLATFORM_USE_CASES", str(use_cases))
    patch.setenv("ML_PLATFORM_DAGSTER_DIR", str(home / "dagster"))
    patch.setenv("DAGSTER_HOME", str(Path(__file__).parents[2]))


def feeds_with_bad_weeks() -> list[dict[str, Any]]:
    """The library's feeds, with a week that is far too small and one with an impossible cell."""
    feeds: list[dict[str, Any]] = yaml.safe_load((FOLDER / NAME / "use_case.yaml").read_text())["feeds"]
    loans = next(f for f in feeds if f["name"] == "loans")
    loans["settings"] = {"rows": {HELD_WEEK: 9}, "edits": {SPOILT_WEEK: {"pages": {3: 9000}}}}
    return feeds


@pytest.fixture(scope="session")
def played_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the played installation: ``home`` and ``use_cases``; made by the worker that comes first."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "played"
    with FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            shutil.rmtree(root, ignore_errors=True)
            write_use_case(root / "use_cases" / NAME, feeds=feeds_with_bad_weeks())
            play_lifecycle(root)
            (root / "done").touch()
    return root


def play_lifecycle(root: Path) -> None:
    """One run of the lifecycle job over the weeks up to the first that is still to come."""
    from ml_platform.definitions import build
    from ml_platform.orchestration.local_runs import run_job

    with pytest.MonkeyPatch.context() as patch:
        enter(patch, root / "home", root / "use_cases")
        with DagsterInstance.get() as instance:
            run_job(build(), instance, f"{NAME}_lifecycle", partitions=(FIRST_WEEK, WEEK_TO_COME))


@pytest.fixture(scope="session")
def location(played_root: Path) -> Definitions:
    """The code location as it is composed where the played installation's use case is found."""
    from ml_platform.definitions import build

    with pytest.MonkeyPatch.context() as patch:
        enter(patch, played_root / "home", played_root / "use_cases")
        return build()


@pytest.fixture
def played(played_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The played installation itself: for reading only."""
    enter(monkeypatch, played_root / "home", played_root / "use_cases")
    with DagsterInstance.get() as instance:
        yield Installation(played_root / "home", _use_case(played_root), instance)


@pytest.fixture(scope="session")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The databases of a Dagster instance in which nothing has run: to make them takes longer than a test."""

    def make(folder: Path) -> None:
        folder.mkdir()
        with DagsterInstance.local_temp(str(folder)) as instance:
            assert not (instance.get_runs() or instance.get_asset_keys() or instance.all_instigator_state())

    return made_once(tmp_path_factory, "dagster", make)


@pytest.fixture
def copied(
    played_root: Path, empty_instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """A copy of the played installation with a Dagster instance of its own, for changing."""
    home = copy_home(played_root / "home", tmp_path / "home")
    enter(monkeypatch, home, played_root / "use_cases")
    shutil.copytree(empty_instance, tmp_path / "runs")
    with DagsterInstance.local_temp(str(tmp_path / "runs")) as instance:
        yield Installation(home, _use_case(played_root), instance)


@pytest.fixture
def lifecycle_run(played: Installation) -> DagsterRun:
    """The run that played the lifecycle."""
    return played.instance.get_runs()[0]


def _use_case(root: Path) -> UseCase:
    return load_use_case(root / "use_cases" / NAME / "use_case.yaml")
