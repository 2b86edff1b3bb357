"""The smoke before a merge: right, wrong and what could not be played are told apart."""

from pathlib import Path

import pytest
from library import MODEL, Library
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.errors import NotFoundError
from ml_platform.lifecycle.drills.running import Settings
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.smoke import Smoked, markdown, smoke


@pytest.mark.slow
def test_drills_are_played_and_judged(fresh: Library) -> None:
    found = list(smoke([fresh.target], ["clean"], Settings(horizon=1)))

    assert [(s.model_key, s.what) for s in found] == [(MODEL, "clean")]
    assert found[0].state == "PASS" and found[0].said and found[0].seconds > 0


def test_a_use_case_without_drills_is_unknown(fresh: Library, own_use_case: Path) -> None:
    (own_use_case / "drills.py").unlink()
    bare = Platform({"ML_PLATFORM_HOME": str(own_use_case / "home")}).target(MODEL)

    (only,) = smoke([bare], ["clean"], Settings())

    assert only.state == "UNKNOWN" and "no map for drills" in only.said


def test_a_drill_that_does_not_apply_is_unknown_and_not_played(fresh: Library, own_use_case: Path) -> None:
    file = own_use_case / "drills.py"
    file.write_text(file.read_text() + "\nDRILLS.pop('nulls')\n")
    own = Platform({"ML_PLATFORM_HOME": str(own_use_case / "home")}).target(MODEL)

    (only,) = smoke([own], ["null_spike"], Settings())

    assert only.state == "UNKNOWN" and only.said.startswith("not played: ") and "no nulls" in only.said


def test_an_unknown_drill_is_named(fresh: Library) -> None:
    with pytest.raises(NotFoundError, match="earthquake"):
        list(smoke([fresh.target], ["earthquake"], Settings()))


def test_the_comment_counts_and_escapes() -> None:
    found = [
        Smoked("a/b", "clean", "PASS", "none: quiet"),
        Smoked("a/b", "null_spike", "FAIL", "none | missed\nit"),
        Smoked("c/d", "clean", "UNKNOWN", "no drills.py"),
    ]

    text = markdown(found)

    assert "3 check(s): 1 failed, 1 could not be judged" in text
    assert "none \\| missed it" in text and text.count("\n| ") == 4


@pytest.mark.parametrize(
    ("asked", "horizon"), [([], 7), (["--drill", "late_labels"], None), (["--horizon", "3"], 3)]
)
def test_a_fast_look_is_short_unless_a_drill_is_named(
    fresh: Library, monkeypatch: pytest.MonkeyPatch, asked: list[str], horizon: int | None
) -> None:
    seen: list[Settings] = []

    def played(targets: object, names: object, settings: Settings, progress: object) -> list[Smoked]:
        seen.append(settings)
        return []

    monkeypatch.setattr("ml_platform.lifecycle.smoke.smoke", played)
    assert CliRunner().invoke(app, ["smoke", MODEL, *asked]).exit_code == 0
    assert [s.horizon for s in seen] == [horizon]
