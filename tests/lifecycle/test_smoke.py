"""The smoke before a merge: right, wrong and what could not be played are told apart."""

from dataclasses import fields
from pathlib import Path

import pytest
from library import MODEL, Library
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.errors import NotFoundError
from ml_platform.lifecycle.drills import running
from ml_platform.lifecycle.drills.judging import Result, Settings
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.smoke import Smoked, markdown, smoke


@pytest.mark.slow
def test_drills_of_a_use_case_without_a_map_are_played_and_judged(own_use_case: Path) -> None:
    (own_use_case / "drills.py").unlink()
    bare = Platform({"ML_PLATFORM_HOME": str(own_use_case / "home")}).target(MODEL)

    found = {s.what: s for s in smoke([bare], ["null_spike", "benign_shift"], Settings(horizon=1))}

    assert set(found) == {"null_spike", "benign_shift"}
    assert found["null_spike"].state == "PASS" and found["null_spike"].seconds > 0
    assert found["null_spike"].said == "fix_data: fix_data is right"
    assert found["benign_shift"].state == "UNKNOWN" and "matters little" in found["benign_shift"].said


def test_what_proves_nothing_is_unknown(fresh: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {f.name: None for f in fields(Result)} | {"name": "clean", "right": False, "seconds": 1.0}
    told |= {"error": "", "verdict": "none", "why": "too little history"}
    results = [Result(**told | {"missed": missed}) for missed in (True, False)]  # type: ignore[arg-type]
    monkeypatch.setattr(running, "drill", lambda *_: iter(results))

    assert [s.state for s in smoke([fresh.target], ["clean"], Settings())] == ["UNKNOWN", "FAIL"]


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
