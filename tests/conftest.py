"""What all tests share: installations with the tiny library use case, empty or part of the way."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from library import (
    FOLDER,
    Library,
    copy_home,
    open_library,
    promote_second,
    serve_first,
    train_first,
    train_second,
)

LIBRARY = FOLDER
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ["ML_PLATFORM_USE_CASES"] = str(LIBRARY)


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


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    root = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    home, done = root / f"library-{name}", root / f"library-{name}.done"
    with FileLock(root / f"library-{name}.lock"):
        if not done.exists():
            shutil.rmtree(home, ignore_errors=True)
            make(home)
            done.touch()
    return home


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weeks landed, accepted and built, a candidate trained and judged; no champion yet."""
    return _made_once(tmp_path_factory, "trained", lambda home: train_first(open_library(home)))


@pytest.fixture(scope="session")
def served_home(tmp_path_factory: pytest.TempPathFactory, trained_home: Path) -> Path:
    """Two weeks served by the first champion."""
    return _made_once(
        tmp_path_factory, "served", lambda home: serve_first(open_library(copy_home(trained_home, home)))
    )


@pytest.fixture(scope="session")
def challenged_home(tmp_path_factory: pytest.TempPathFactory, served_home: Path) -> Path:
    """A week later a second candidate has been judged against the champion, and passed."""
    return _made_once(
        tmp_path_factory, "challenged", lambda home: train_second(open_library(copy_home(served_home, home)))
    )


@pytest.fixture(scope="session")
def succeeded_home(tmp_path_factory: pytest.TempPathFactory, challenged_home: Path) -> Path:
    """The second candidate is the champion and serves that week."""
    return _made_once(
        tmp_path_factory,
        "succeeded",
        lambda home: promote_second(open_library(copy_home(challenged_home, home))),
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Library:
    """An empty installation."""
    return open_library(tmp_path / "home")


@pytest.fixture
def trained(trained_home: Path, tmp_path: Path) -> Library:
    """A copy of :func:`trained_home`."""
    return open_library(copy_home(trained_home, tmp_path / "home"))


@pytest.fixture
def served(served_home: Path, tmp_path: Path) -> Library:
    """A copy of :func:`served_home`."""
    return open_library(copy_home(served_home, tmp_path / "home"))


@pytest.fixture
def challenged(challenged_home: Path, tmp_path: Path) -> Library:
    """A copy of :func:`challenged_home`."""
    return open_library(copy_home(challenged_home, tmp_path / "home"))


@pytest.fixture
def succeeded(succeeded_home: Path, tmp_path: Path) -> Library:
    """A copy of :func:`succeeded_home`."""
    return open_library(copy_home(succeeded_home, tmp_path / "home"))


@pytest.fixture
def own_use_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library use case's folder that a test may change."""
    folder = tmp_path / "use_cases" / "library_loans"
    shutil.copytree(FOLDER / "library_loans", folder)
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(folder.parent))
    return folder
