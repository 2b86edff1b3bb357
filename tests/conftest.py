"""What all tests share: a platform of its own per test, with the tiny library use case."""

import os
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent / "library_use_case"
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
