"""Drills on the tiny weekly use case: one clean prefix, several incidents, plug-ins, the command line."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from library import FOLDER, NAME
from typer.testing import CliRunner

from ml_platform.cli.drills import _show as shown
from ml_platform.cli.main import app
from ml_platform.config import load_use_case
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.errors import ConfigError, ConflictError, NotFoundError, NotReadyError, PartitionError
from ml_platform.lifecycle import promotion
from ml_platform.lifecycle.drills import running
from ml_platform.lifecycle.drills.judging import Result, Settings
from ml_platform.lifecycle.drills.mapping import drill_map
from ml_platform.lifecycle.drills.running import chosen, play, scenarios_of
from ml_platform.lifecycle.drills.sandbox import Prefix, make_prefix
from ml_platform.lifecycle.drills.scenario import FRESHNESS, PATIENCE, DrillContext, Scenario
from ml_platform.lifecycle.platform import Target

EXAMPLE = Path(__file__).parents[3] / "docs" / "drills_example.py"
ONSET = "2020-09-21"


def library() -> Target:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    return Target(use_case, use_case.config.models[0])


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    target = library()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "check_bundle", lambda *_: None)
        yield make_prefix(
            tmp_path_factory.mktemp("drills") / "prefix", target, drill_map(target), ONSET, 3, 1
        )


def played(prefix: Prefix, scenario: Scenario, severity: float = 2.0, horizon: int = 2) -> Result:
    return play(prefix, library(), scenario, Settings(severity=severity, horizon=horizon))


def test_the_prefix_is_served_up_to_the_onset_and_stays_as_it_is(prefix: Prefix) -> None:
    before = {f: f.stat().st_mtime_ns for f in (prefix.folder / "home").rglob("*") if f.is_file()}

    result = played(prefix, scenarios_of()["clean"]())

    assert [t.partition for t in result.told] == ["2020-09-21", "2020-09-28", "2020-10-05"]
    assert not result.error
    after = {f: f.stat().st_mtime_ns for f in (prefix.folder / "home").rglob("*") if f.is_file()}
    assert {k: v for k, v in after.items() if k.suffix != ".lock"} == {
        k: v for k, v in before.items() if k.suffix != ".lock"
    }
    assert not any("mlflow" in f.name for f in before), "nobody looks up the runs of a sandbox"


@pytest.mark.parametrize(
    ("name", "severity", "verdict"),
    [
        ("serving_skew", 40.0, "fix_serving"),
        ("null_spike", 2.0, "fix_data"),
        ("label_redefinition", 2.0, "fix_data"),
    ],
)
def test_breaks_are_found(prefix: Prefix, name: str, severity: float, verdict: str) -> None:
    result = played(prefix, scenarios_of()[name](), severity)

    assert (result.verdict, result.right, result.error) == (verdict, True, "")
    assert result.amount and result.evidence and result.seconds > 0
    json.dumps(result.to_json())


def test_a_model_that_a_person_promotes_is_drilled_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could approve the first champion of a sandbox."""
    monkeypatch.setattr(promotion, "check_bundle", lambda *_: None)
    target = library()
    asked = target.model.promotion.model_copy(update={"policy": "approval"})
    target = Target(target.use_case, target.model.model_copy(update={"promotion": asked}))
    made = make_prefix(tmp_path / "prefix", target, drill_map(target), ONSET, 0, 1)
    assert made.onset == ONSET


def test_a_wrong_verdict_is_wrong(prefix: Prefix) -> None:
    class Denied(type(scenarios_of()["null_spike"]())):  # type: ignore[misc]
        name, right, meanwhile = "denied", PATIENCE, frozenset()

    result = played(prefix, Denied())

    assert not result.right
    assert result.why == "fix_data is wrong where the truth is data:contract"


def test_who_only_waits_has_not_found_a_prior_shift(prefix: Prefix) -> None:
    result = played(prefix, scenarios_of()["prior_shift"](), horizon=3)

    assert (result.verdict, result.right) == ("wait_for_labels", False)
    assert result.why.startswith("within 4 partitions no right verdict (recalibrate) was given")


def test_a_scenario_judges_patience_by_the_evidence_of_its_days(prefix: Prefix) -> None:
    seen: list[str] = []

    class Strict(type(scenarios_of()["clean"]())):  # type: ignore[misc]
        name = "strict"

        def is_right(self, verdict: str, days: Sequence[Evidence]) -> bool:
            seen.extend(day.partition for day in days)
            return bool(super().is_right(verdict, days)) and not days[-1].findings

    result = played(prefix, Strict())

    assert len(seen) == len(result.told) == 3
    assert (result.verdict, result.right) == ("wait_for_labels", False)
    assert result.why.startswith("wait_for_labels is no answer: ") and "the truth is none" in result.why


def test_what_only_labels_can_show_is_a_false_alarm_before_they_are_mature(prefix: Prefix) -> None:
    class Guessed(type(scenarios_of()["null_spike"]())):  # type: ignore[misc]
        name, shows_in_labels = "guessed", True

    result = played(prefix, Guessed())

    assert (result.verdict, result.right, result.missed) == ("fix_data", False, False)
    assert result.why == "fix_data is a false alarm: no label of the onset or later was mature yet"
    assert scenarios_of()["prior_shift"].shows_in_labels and scenarios_of()["concept_drift"].shows_in_labels


def test_a_renewal_by_age_is_no_wrong_answer_before_anything_can_show(prefix: Prefix) -> None:
    """A champion that had been old enough before the incident began would be renewed in any case."""

    class Quiet(Scenario):
        name, cause, right, meanwhile = "quiet", "none", PATIENCE, PATIENCE

        def identifiable_after(self, context: DrillContext) -> int:
            return 3

    target = library()
    changes = {
        "retraining": target.model.retraining.model_copy(update={"freshness_partitions": 1}),
        "diagnosis": target.model.diagnosis.model_copy(
            update={"minimum_rows": 90, "minimum_class_rows": 5, "concept_partitions": 2}
        ),
    }
    old = Target(target.use_case, target.model.model_copy(update=changes))

    result = play(prefix, old, Quiet(), Settings(horizon=8))

    said = [(t.verdict, t.due) for t in result.told]
    assert said == [("wait_for_labels", False), (FRESHNESS, True), (FRESHNESS, True), (FRESHNESS, False)]
    assert result.why == "retrain (freshness) is wrong where the truth is none"


def test_a_stage_that_fails_is_a_wrong_drill(prefix: Prefix) -> None:
    class Broken(Scenario):
        name, cause, right = "broken", "none", PATIENCE

        def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
            raise RuntimeError("no such table")

    result = played(prefix, Broken())

    assert not result.right
    assert "no such table" in result.error


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_code_of_a_person_does_not_end_a_drill_as_if_all_had_gone_well(
    prefix: Prefix, tmp_path: Path, end: str
) -> None:
    class Ended(Scenario):
        name, cause, right = "ended", "none", PATIENCE

        def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
            exec(f"import os, sys; {end}")
            return table

    assert "Exit: " in (result := played(prefix, Ended())).error or "os._exit(0)" in result.error
    assert not result.right
    file = tmp_path / "ending.py"
    file.write_text(f"import os, sys\n{end}\n")
    with pytest.raises(ConfigError, match="import of the scenarios fails") as told:
        scenarios_of(file)
    assert told.value.where == f"{file}:2"


@pytest.mark.parametrize("name", list(scenarios_of()))
def test_every_severity_is_told_in_both_units(prefix: Prefix, name: str) -> None:
    target = library()
    context = DrillContext(
        target.use_case, target.model, drill_map(target), ONSET, 2.0, 1, prefix.world, prefix.visible
    )
    scenario = scenarios_of()[name]()

    assert scenario.amount(context)
    assert scenario.identifiable_after(context) >= 0
    for feed in target.use_case.config.feeds:
        if not feed.static:
            rows = prefix.world.clean(feed.name, ONSET)
            changed = scenario.feed(feed.name, rows, ONSET, context)
            assert changed.schema.equals(rows.schema)
            assert changed.equals(scenario.feed(feed.name, rows, ONSET, context))


def test_a_plug_in_runs_from_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PROCESSES", 1)
    asked = ["stuck_column", "--scenarios", str(EXAMPLE), "--use-case", NAME, "--onset", ONSET, "--json"]

    done = CliRunner().invoke(app, ["drill", *asked, "--horizon", "2"])

    (told,) = json.loads(done.stdout)["drills"]
    assert told["name"] == "stuck_column"
    assert (told["right"], told["verdict"]) == (True, "fix_data"), told
    assert done.exit_code == 0


def test_a_wrong_verdict_ends_non_zero_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same incident by somebody who holds it for harmless."""
    monkeypatch.setattr(running, "PROCESSES", 1)
    file = tmp_path / "harmless.py"
    text = EXAMPLE.read_text().replace('right = frozenset({"fix_data"})', 'right = frozenset({"none"})')
    file.write_text(text.replace('name = "stuck_column"', 'name = "harmless"'))
    asked = ["harmless", "--scenarios", str(file), "--use-case", NAME, "--onset", ONSET, "--json"]

    done = CliRunner().invoke(app, ["drill", *asked, "--horizon", "1"])

    (told,) = json.loads(done.stdout)["drills"]
    assert done.exit_code == 1 and not told["right"]
    assert told["why"] == "fix_data is wrong where the truth is data:contract"


def test_a_drill_that_ends_before_its_cause_can_be_known_says_so(prefix: Prefix) -> None:
    result = played(prefix, scenarios_of()["concept_drift"](), horizon=0)

    assert not result.right
    assert f"the cause can be identified after {result.identifiable_after}" in result.why


def test_what_is_too_small_to_be_seen_is_neither_right_nor_wrong(
    prefix: Prefix, capsys: pytest.CaptureFixture[str]
) -> None:
    result = played(prefix, scenarios_of()["null_spike"](), severity=0.1)

    assert (result.missed, result.right) == (True, False) and result.visible == pytest.approx(0.6)
    assert result.why.startswith("not found") and "0.6 of the smallest that can be seen" in result.why
    shown(result)
    said = capsys.readouterr().out
    assert "NOT SEEN" in said and "WRONG" not in said and "the real one" not in said
    shown(replace(result, missed=False, calendar=True))
    said = capsys.readouterr().out
    assert "WRONG" in said and "the real one" in said


def test_names_files_and_onsets_that_cannot_be(tmp_path: Path, prefix: Prefix) -> None:
    with pytest.raises(NotFoundError, match="no drill 'flood'"):
        chosen(["flood"])
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(ConfigError, match="defines no scenario"):
        scenarios_of(empty)
    empty.write_text("import nothing_of_the_kind\n")
    with pytest.raises(ConfigError, match="import of the scenarios fails"):
        scenarios_of(empty)
    target = library()
    with pytest.raises(NotReadyError, match="first partition served"):
        make_prefix(tmp_path, target, drill_map(target), "2020-08-31", 2, 1)
    for onset, why in (("yesterday", "not a partition key"), ("2020-09-22", "not the first day")):
        with pytest.raises(PartitionError, match=why):
            next(running.drill(target, ["clean"], Settings(onset=onset)))


def test_a_use_case_that_is_edited_while_its_drills_are_played_is_told(
    tmp_path: Path, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / NAME
    shutil.copytree(FOLDER / NAME, folder)
    use_case = load_use_case(folder / "use_case.yaml")

    def edited(*_: object, **__: object) -> Prefix:
        (folder / "use_case.yaml").write_text((folder / "use_case.yaml").read_text() + "# in mid-edit\n")
        return prefix

    monkeypatch.setattr(running, "make_prefix", edited)
    target = Target(use_case, use_case.config.models[0])
    with pytest.raises(ConflictError, match="was changed while its drills were played") as told:
        list(running.drill(target, ["clean"], Settings(onset=ONSET, horizon=0)))
    assert told.value.where == str(folder)


def test_incidents_that_do_not_apply_are_named_and_not_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = library()
    assert running.inapplicable(target, chosen([])) == {}
    bare = drill_map(target).model_copy(update={"flip": None, "segment": None})
    monkeypatch.setattr(running, "drill_map", lambda _: bare)

    left_out = running.inapplicable(target, chosen([]))

    assert set(left_out) == {"prior_shift", "concept_drift"}
    assert "flip, segment" in left_out["concept_drift"]
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(FOLDER))
    result = CliRunner().invoke(app, ["drill", "prior_shift", "--use-case", NAME])
    assert result.exit_code and isinstance(result.exception, NotFoundError)
    assert "does not apply" in str(result.exception)
