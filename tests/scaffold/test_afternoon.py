"""From a file that nobody here has seen to a served prediction, without an edit outside one folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.config import load_use_case, use_case_files
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.checking import check_files
from ml_platform.lifecycle.data_check import look
from ml_platform.lifecycle.drills.running import chosen, inapplicable
from ml_platform.lifecycle.scoring import predictions

from .boilers import Row, rows, write
from .living import live

TAKEN = next(file.parent.name for file in use_case_files())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation whose only search path is an empty folder."""
    for name in [n for n in os.environ if n.startswith("ML_PLATFORM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "cases").mkdir()
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(tmp_path / "cases"))
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def new(file: Path, *more: str, name: str = "boilers") -> str:
    return run("use-case", "new", name, "--from", str(file), "--label", "failed", *more)


def _hours(number: int, row: Row) -> None:
    """Instead of whether a boiler failed, the hours of its repair."""
    noise = np.random.default_rng(number).gamma(2, 0.5)
    row["failed"] = round(max(0.0, 0.3 * row["age years"] + 2 * (row["strain (bar)"] - 4)) + noise, 1)
    row["verdict code"] = "A1"


def _state(number: int, row: Row) -> None:
    """Instead of whether it failed, in which state it is."""
    _hours(number, row)
    row["failed"] = ("sound", "worn", "broken")[np.searchsorted((8, 13), row["failed"])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "change", "said", "not_played"),
    [
        ("regression", _hours, "in four cases of five between", {"benign_shift", "concept_drift"}),
        # Its key is a text, so that a case which comes twice has no number to be given.
        ("multiclass", _state, "% probable", {"benign_shift", "prior_shift"}),
    ],
)
def test_a_number_and_a_class_come_as_far_as_a_yes_or_no(
    home: Path,
    unchecked: None,
    kind: str,
    change: Callable[[int, Row], None],
    said: str,
    not_played: set[str],
) -> None:
    """Stage by stage, in this process; the tutorial's test plays the third kind through `ml-platform run`.

    Bundles of every kind are checked in ``lifecycle/test_kinds.py``.
    """
    file = write(home / "inspections.csv", rows(days=45, per_day=25, boilers=80), change)
    new(file, "--kind", kind, "--known-at", "failure known at")
    folder = home / "cases" / "boilers"
    assert not list(folder.rglob("*.py")), "no Python is needed"
    (model,) = load_use_case(folder / "use_case.yaml").config.models
    assert model.kind == kind
    use_case, remarks = check_files(folder / "use_case.yaml")
    assert use_case is not None
    (note,) = [*remarks, *look({"ML_PLATFORM_HOME": str(home / "check")}, use_case)]
    assert note.level == "note" and "12 of 45 days were looked at" in note.what

    platform, target, (day,) = live(folder, home / "home", 1)

    assert day.diagnosed is not None
    served = predictions(platform, target, [day.partition])
    assert served is not None
    assert said in " ".join(run("get", "boilers", str(served["entity_key"][0])).split())
    assert set(inapplicable(target, chosen([]))) == not_played
    listed = " ".join(run("drill", "--use-case", "boilers").split())
    assert all(f"{name} is not played: " in listed for name in not_played)


def test_the_folder_says_what_was_assumed_and_is_valid(home: Path) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25, boilers=80))
    new(file, "--into", str(home / "other"))
    folder = home / "other" / "boilers"
    use_case = load_use_case(folder / "use_case.yaml")
    assert use_case.dbt_dir == folder / "dbt"
    assert use_case.config.cutoff.of == "end"
    outcomes = use_case.feed("boilers_outcomes")
    assert outcomes.known_at is not None and outcomes.known_at.column == "failure_known_at"
    assert outcomes.source is not None and outcomes.source.path == "../../inspections.csv"
    text = (folder / "use_case.yaml").read_text()
    assert "# verdict code: LEAK" in text
    assert "$schema=./use_case.schema.json" in text
    assert json.loads((folder / "use_case.schema.json").read_text())["title"] == "UseCaseConfig"
    readme = (folder / "README.md").read_text()
    assert "known before the cutoff" not in readme
    assert "| report no | ID" in readme
    with pytest.raises(ConfigError, match="something already"):
        new(file, "--into", str(home / "other"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (TAKEN, f"there is a use case '{TAKEN}' already"),
        ("main", "SQL keeps for itself"),
        ("feed", "the platform keeps"),
    ],
)
def test_a_name_that_is_taken_is_refused(home: Path, name: str, why: str) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25))
    with pytest.raises(ConfigError, match=why) as caught:
        new(file, name=name)
    assert caught.value.fix == "choose another name"
    assert list((home / "cases").iterdir()) == []


def test_an_owner_without_an_address_is_refused_before_anything_is_written(home: Path) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25))
    with pytest.raises(ConfigError, match="'me' is no mail address") as caught:
        run("use-case", "new", "boilers", "--from", str(file), "--label", "failed", "--email", "me")
    assert caught.value.where == "--email" and caught.value.fix
    assert list((home / "cases").iterdir()) == []


def test_an_unknown_time_zone_names_one_that_is_meant(home: Path) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25))
    with pytest.raises(ConfigError, match="no time zone 'Europa/Berlin'") as caught:
        new(file, "--timezone", "Europa/Berlin")
    assert "Europe/Berlin" in caught.value.fix


def test_a_refusal_writes_nothing(home: Path) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25), lambda _i, r: r.update(failed="no"))
    with pytest.raises(ConfigError, match="constant"):
        new(file)
    assert list((home / "cases").iterdir()) == []


def test_with_a_terminal_it_asks_and_offers_what_it_guesses(home: Path) -> None:
    file = write(home / "inspections.csv", rows(days=50, per_day=25, boilers=80))
    arguments = ["use-case", "new", "boilers", "--from", str(file), "--ask"]
    result = CliRunner().invoke(app, arguments, input="\nfailed\n\n\nweekly\n")
    assert "When did a row happen? (column) [inspected at]" in result.output
    assert (
        "When did the label become known? (column, or a wait such as P7D) [failure known at]" in result.output
    )
    assert "share their key (Boiler ID, and the partition)" in str(result.exception), "a week has several"


def test_answers_from_a_pipe_leave_what_is_said_next_on_a_line_of_its_own(home: Path) -> None:
    """No terminal echoes them, nor the end of their line."""
    file = write(home / "inspections.csv", rows(days=50, per_day=25, boilers=80))
    command = [sys.executable, "-c", "from ml_platform.cli import main; main()"]
    arguments = ["use-case", "new", "boilers", "--from", str(file), "--ask"]
    ended = subprocess.run(
        [*command, *arguments],
        input="\nfailed\n\n\nweekly\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    lines = ended.stdout.splitlines()
    assert any(line.startswith(("Refusal: ", "ConfigError: ")) for line in lines), ended.stdout
    asked = [line for line in lines if "(column" in line or "How wide" in line]
    assert len(asked) >= 4 and all(line.rstrip().endswith(("]:", "):")) for line in asked), asked
