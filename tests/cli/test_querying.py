"""``ml-platform sql`` at the terminal."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from library import FOLDER, MODEL, Library
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.cli.shared import console
from ml_platform.errors import ConfigError


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(FOLDER))
    monkeypatch.setattr(console, "width", 300)


def run(*arguments: str, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, ["sql", *arguments], input=stdin)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_rows_are_told_in_each_format(served: Library, tmp_path: Path) -> None:
    text = "select model_key, version from promotions"

    assert f"{MODEL} │ 1" in " ".join(run(text).split())
    assert run(text, "--format", "csv") == f"model_key,version\n{MODEL},1\n"
    assert json.loads(run("-", "--format", "json", stdin=text)) == [{"model_key": MODEL, "version": 1}]
    assert "1 rows → " in run(text, "--out", str(tmp_path / "rows.parquet"))
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [{"model_key": MODEL, "version": 1}]


def test_the_list_shows_relations_and_columns(served: Library) -> None:
    told = run("--list")

    assert "feed.loans_accepted" in told and "branch_late_rate DOUBLE" in told and "promotions" in told


def test_a_day_before_anything_is_empty(served: Library) -> None:
    assert run("select count(*) as n from promotions", "--as-of", "2020-01-01", "--format", "csv") == "n\n0\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "there is no query"),
        (("select 1", "--format", "parquet"), "Parquet is no text"),
        (("select 1", "--out", "rows.xlsx"), "a table is for the terminal"),
    ],
)
def test_what_cannot_be_told_says_what_to_add(arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        run(*arguments)
