"""How use cases are: broken in any way, or removed while they have predictions."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from library import FOLDER, Library
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.config import load_use_case
from ml_platform.errors import FeedError
from ml_platform.lifecycle.doctor import examine as doctor
from ml_platform.lifecycle.health import Health, examine, require_importable
from ml_platform.lifecycle.platform import Platform

NAME = "library_loans"


def append(file: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(path.read_text() + text)

    return change


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def declared(folder: Path) -> Health:
    """What is told of one without running its code."""
    (found,) = [h for h in examine(Platform(), run_code=False) if h.where == str(folder)]
    return found


BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "without_dbt": (lambda f: shutil.rmtree(f / "dbt"), "no dbt project", "dbt"),
    "no_python": (append("feeds.py", "\ndef ("), "not Python", "feeds.py:100"),
    "missing": (append("feeds.py", "\nimport no_such_package_anywhere\n"), "not installed", "feeds.py:100"),
    "renamed": (
        replace("feeds.py", "def read_loans", "def red_loans"),
        "no function 'read_loans'",
        "feeds.py",
    ),
    "raising": (
        append("feeds.py", "\nraise ValueError('the moon is full')\n"),
        "the moon is full",
        "feeds.py:100",
    ),
    "ending": (
        append("feeds.py", "\nimport os\nos._exit(9)\n"),
        "fails to import: EndedProcess: os._exit(9)",
        "feeds.py:101",
    ),
    "ending_well": (
        append("feeds.py", "\nimport sys\nsys.exit(0)\n"),
        "fails to import: SystemExit: 0",
        "feeds.py:101",
    ),
    "ending_at_once": (
        append("feeds.py", "\nimport ctypes\nctypes.CDLL(None)._exit(9)\n"),
        "its process: exit code 9",
        "feeds:read_loans",
    ),
    "ending_at_once_and_well": (
        append("feeds.py", "\nimport ctypes\nctypes.CDLL(None)._exit(0)\n"),
        "its process: exit code 0",
        "feeds:read_loans",
    ),
    "crashing": (
        append("feeds.py", "\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"),
        "ended its process: killed by SIGSEGV (Segmentation fault)",
        "feeds.py:101",
    ),
    "bare": (lambda f: (f / "contracts" / "loans.yaml").unlink(), "no contract", "contracts"),
}
"""What is changed in a use case's folder, why it is then broken, and where it says so."""


def test_what_is_broken_is_told_and_the_others_are_ok(
    library_environment: dict[str, str], own_use_case: Path
) -> None:
    for name, (change, _, _) in BROKEN.items():
        other = own_use_case.parent / name
        shutil.copytree(own_use_case, other)
        replace("use_case.yaml", "name: library_loans\n", f"name: {name}\n")(other)
        change(other)
    seen = {h.where: h for h in examine(Platform())}
    for name, (_, why, where) in BROKEN.items():
        found = seen.pop(str(own_use_case.parent / name))
        assert found.state == "broken", name
        assert found.error is not None
        assert why in found.error.what
        assert where in str(found.error)
        assert found.error.fix
    assert str(own_use_case) in seen and len(seen) > 1
    assert all(h.state == "ok" for h in seen.values())


def test_all_that_is_wrong_is_told_at_once(library_environment: dict[str, str], own_use_case: Path) -> None:
    append("feeds.py", "\ndef (")(own_use_case)
    shutil.rmtree(own_use_case / "dbt")
    error = declared(own_use_case).error
    assert error is not None
    assert "no dbt project" in str(error) and "not Python" in str(error)


def test_code_that_loops_at_import_is_ended(own_use_case: Path) -> None:
    append("feeds.py", "\nwhile True: pass\n")(own_use_case)
    with pytest.raises(FeedError, match="did not end within 2 s"):
        require_importable(load_use_case(own_use_case / "use_case.yaml"), seconds=2)


def test_a_feed_of_two_use_cases_must_be_the_same(
    library_environment: dict[str, str], own_use_case: Path
) -> None:
    other = own_use_case.parent / "other"
    shutil.copytree(own_use_case, other)
    replace("use_case.yaml", "name: library_loans\n", "name: other_loans\n")(other)
    assert declared(other).state == "ok"
    replace("use_case.yaml", "landing_lag: PT1H", "landing_lag: PT2H")(other)
    replace("contracts/returns.yaml", "version: 1.0.0", "version: 2.0.0")(other)
    error = declared(other).error
    assert error is not None
    assert "feed 'loans' is another one in use case 'library_loans'" in str(error)
    assert "declaration in use_case.yaml" in str(error) and "contract" in str(error)


def test_one_that_was_removed_while_it_has_predictions_is_told(
    served: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(tmp_path / "nowhere"))
    stores = Platform({"ML_PLATFORM_HOME": str(served.platform.home)})
    (gone,) = [h for h in examine(stores, run_code=False) if h.state == "removed"]
    assert gone.name == NAME
    assert gone.error is not None
    assert f"{NAME}/late_return" in gone.error.what
    assert any(f.state == "broken" and NAME in f.what for f in doctor(stores))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(FOLDER))
    back = Platform({"ML_PLATFORM_HOME": str(served.platform.home)})
    assert all(h.state == "ok" for h in examine(back, run_code=False))


def test_the_list_says_what_is_broken(library_environment: dict[str, str], own_use_case: Path) -> None:
    (own_use_case.parent / "broken").mkdir()
    (own_use_case.parent / "broken" / "use_case.yaml").write_text("schema_version: 9\n")
    invoke = CliRunner().invoke
    result = invoke(app, ["use-case", "list", "--no-run-code"])
    assert result.exit_code == 1
    assert "schema_version 9" in result.output and NAME in result.output
