"""All use cases are checked, also beside one that is broken."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from library import FOLDER, NAME
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.config import use_case_files
from ml_platform.lifecycle.platform import Platform


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library_environment: dict[str, str]) -> Path:
    """A second search path, beside that of the library."""
    folder = tmp_path / "cases"
    folder.mkdir()
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", os.pathsep.join([str(FOLDER), str(folder)]))
    return folder


def test_a_broken_one_stops_no_other_from_being_checked(folder: Path) -> None:
    for name in ("a_broken_one", "twin"):
        shutil.copytree(FOLDER / NAME, folder / name)
    file = folder / "a_broken_one" / "use_case.yaml"
    file.write_text(file.read_text().replace(f"name: {NAME}", "name: other\nnonsense: 1"))

    result = CliRunner().invoke(app, ["use-case", "check", "--no-data"])

    assert isinstance(result.exception, SystemExit) and result.exit_code == 1
    told = " ".join(result.output.split())
    assert "broken: a_broken_one, twin" in told
    assert "nonsense: there is no setting 'nonsense' here; there are: schema_version" in told
    assert f"another use case is named '{NAME}'" in told
    good = {p.parent.name for p in use_case_files()} - {"a_broken_one", "twin"}
    assert NAME in good and len(good) > 1
    assert all(f"nothing is wrong with {name}" in told for name in good)


@pytest.mark.parametrize("command", ["use-case check --no-data", "run"])
def test_a_feed_that_another_use_case_tells_otherwise_is_told(folder: Path, command: str) -> None:
    """Nothing of such a use case is loaded, so Dagster would say only that it has no such job."""
    other = shutil.copytree(FOLDER / NAME, folder / "other_loans")
    file = other / "use_case.yaml"
    text = file.read_text().replace(f"name: {NAME}\n", "name: other_loans\n")
    file.write_text(text.replace("landing_lag: PT1H", "landing_lag: PT2H"))

    result = CliRunner().invoke(app, [*command.split(), "other_loans"])

    assert result.exit_code == 1
    told = " ".join(f"{result.output} {result.exception}".split())
    assert f"feed 'loans' is another one in use case '{NAME}'" in told
    assert "declaration in use_case.yaml (landing_lag) differs" in told
    assert "rename the feed" in told
    assert "nothing is wrong" not in told


def test_a_run_begins_nothing_where_a_check_without_data_has_an_error(
    library_environment: dict[str, str], own_use_case: Path, inbox: list[dict[str, Any]]
) -> None:
    """It would have landed and accepted all feeds first; in cron its owner hears of it as of a failed run."""
    features = own_use_case / "dbt" / "models" / "library_loans_features.sql"
    features.write_text(features.read_text().replace("cast(e.pages as double)", "cast(e.pagez as double)"))

    checked = CliRunner().invoke(app, ["use-case", "check", "--no-data", NAME])
    ran = CliRunner().invoke(app, ["run", NAME])

    assert (checked.exit_code, ran.exit_code) == (1, 1)
    (what,) = [line for line in checked.output.splitlines() if line.startswith("error")]
    assert what.removeprefix("error").strip() in ran.output
    assert f"where: {features}:14" in checked.output and f"where: {features}:14" in ran.output
    assert "nothing was begun" in ran.output
    assert not Platform().ledger.heads("feed/loans/landed")
    (message,) = inbox
    assert message["title"] == f"{NAME} was not run" and "pagez" in message["message"]
