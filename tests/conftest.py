"""What all tests share: installations with the tiny library use case, empty or part of the way."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from homes import made_once
from servers import aws, aws_endpoint, inbox, ledger_url, listener, postgres_server, postgres_url, redis_port
from warm_dbt import dbt_at, warm_dbt

from ml_platform.lifecycle.homes import copy_home

if TYPE_CHECKING:
    from library import Library

__all__ = [
    "aws",
    "aws_endpoint",
    "inbox",
    "ledger_url",
    "listener",
    "postgres_server",
    "postgres_url",
    "redis_port",
]
LIBRARY = Path(__file__).parent / "library_use_case"
DBT_ADDRESS = "TESTS_DBT_ADDRESS"
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ["ML_PLATFORM_USE_CASES"] = str(LIBRARY)
# Workers with several threads each wait for one another: some tests take six times as long.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")


def pytest_configure(config: pytest.Config) -> None:
    """Starts one dbt for this process and the workers that inherit its environment."""
    if DBT_ADDRESS not in os.environ:
        running = contextlib.ExitStack()
        os.environ[DBT_ADDRESS] = running.enter_context(warm_dbt())
        running.callback(os.environ.pop, DBT_ADDRESS)
        config.add_cleanup(running.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files take turns by folder, slow ones first: workers seldom wait for one home, and end together."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    folders: dict[Path, list[Path]] = {}
    for file in sorted(files, key=lambda f: not any(i.get_closest_marker("slow") for i in files[f])):
        folders.setdefault(file.parent, []).append(file)
    items[:] = [i for turn in zip_longest(*folders.values()) for file in turn if file for i in files[file]]


@pytest.fixture(scope="session", autouse=True)
def _warm_dbt() -> Iterator[None]:
    """dbt without its imports, where this process runs it; see :mod:`warm_dbt`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_platform.features.dbt.dbt_command", lambda: dbt_at(os.environ[DBT_ADDRESS]))
        yield


@pytest.fixture
def library_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty installation that knows the library use case."""
    values = {"ML_PLATFORM_HOME": str(tmp_path / "home"), "ML_PLATFORM_USE_CASES": str(LIBRARY)}
    for name in list(os.environ):
        if name.startswith("ML_PLATFORM_"):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


# --- homes that tests copy: each is made once, by the worker that comes first ----------------------


def _next_home(factory: pytest.TempPathFactory, name: str, before: Path | None, stage: str) -> Path:
    """A home that is a copy of another one, or an empty one, on which a stage was run."""
    # Importing the stages costs 6 CPU-seconds, which tests of single modules should not pay.
    import library

    def make(home: Path) -> None:
        opened = library.open_library(copy_home(before, home) if before else home)
        with pytest.MonkeyPatch.context() as patch:
            _no_check(patch)
            getattr(library, stage)(opened)
        opened.close()

    return made_once(factory, name, make)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that hold nothing yet."""
    return _next_home(tmp_path_factory, "empty", None, "open_stores")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Path:
    """Weeks landed, accepted and built, a candidate trained and judged; no champion yet."""
    return _next_home(tmp_path_factory, "trained", empty_home, "train_first")


@pytest.fixture(scope="session")
def served_home(tmp_path_factory: pytest.TempPathFactory, trained_home: Path) -> Path:
    """Two weeks served by the first champion."""
    return _next_home(tmp_path_factory, "served", trained_home, "serve_first")


@pytest.fixture(scope="session")
def challenged_home(tmp_path_factory: pytest.TempPathFactory, served_home: Path) -> Path:
    """A week later a second candidate has been judged against the champion, and passed."""
    return _next_home(tmp_path_factory, "challenged", served_home, "train_second")


@pytest.fixture(scope="session")
def succeeded_home(tmp_path_factory: pytest.TempPathFactory, challenged_home: Path) -> Path:
    """The second candidate is the champion and serves that week."""
    return _next_home(tmp_path_factory, "succeeded", challenged_home, "promote_second")


def _copied(home: Path, folder: Path) -> "Library":
    import library

    return library.open_library(copy_home(home, folder / "home"))


@pytest.fixture
def fresh(empty_home: Path, tmp_path: Path) -> "Library":
    """A copy of :func:`empty_home`."""
    return _copied(empty_home, tmp_path)


@pytest.fixture
def trained(trained_home: Path, tmp_path: Path) -> "Library":
    """A copy of :func:`trained_home`."""
    return _copied(trained_home, tmp_path)


@pytest.fixture
def served(served_home: Path, tmp_path: Path) -> "Library":
    """A copy of :func:`served_home`."""
    return _copied(served_home, tmp_path)


@pytest.fixture
def challenged(challenged_home: Path, tmp_path: Path) -> "Library":
    """A copy of :func:`challenged_home`."""
    return _copied(challenged_home, tmp_path)


@pytest.fixture
def succeeded(succeeded_home: Path, tmp_path: Path) -> "Library":
    """A copy of :func:`succeeded_home`."""
    return _copied(succeeded_home, tmp_path)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotions without the check in a fresh process, which takes seconds and which other tests make."""
    _no_check(monkeypatch)


def _no_check(patch: pytest.MonkeyPatch) -> None:
    from ml_platform.lifecycle import promotion

    patch.setattr(promotion, "check_bundle", lambda *_: None)


@pytest.fixture
def own_use_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library use case's folder that a test may change."""
    folder = tmp_path / "use_cases" / "library_loans"
    shutil.copytree(LIBRARY / "library_loans", folder)
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(folder.parent))
    return folder
