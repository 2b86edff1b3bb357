"""The demo where the gates refuse the first candidate: it ends in its summary, not in an error."""

import datetime as dt
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, Definitions
from library import FOLDER, NAME
from typer.testing import CliRunner

from ml_platform.cli import running
from ml_platform.cli.main import app
from ml_platform.cli.replaying import what_follows
from ml_platform.config import DemoConfig, UseCase, load_use_case
from ml_platform.definitions import build
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.demo import (
    _finished,
    _tags,
    _trained,
    acts,
    open_instance,
    planned,
    play,
    played_assets,
)
from ml_platform.orchestration.jobs import job_name
from ml_platform.registry import promotions

from .conftest import LAST_WEEK, MODEL, WEEK_TO_COME, Installation, enter, write_use_case

DEMO = {
    "promote_at": "2020-08-30T20:00:00+02:00",
    "serve_first": "2020-08-31",
    "serve_last": "2020-09-14",
    "judge_at": "2020-10-11T20:00:00+02:00",
}


def test_history_is_landed_before_what_is_built() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    late = DemoConfig.model_validate({**DEMO, "build_from": "2020-03-02"})

    models = [m.name for m in use_case.config.models]
    whole, cut = acts(use_case, DemoConfig.model_validate(DEMO), models), acts(use_case, late, models)

    assert [a.job for a in whole] == ["lifecycle", "score_day", "monitor"]
    assert [a.job for a in cut] == ["land", "lifecycle", "score_day", "monitor"]
    assert cut[0].partitions == ("2020-01-06", "2020-02-24")
    assert cut[1].partitions == ("2020-03-02", "2020-08-31") and whole[0].partitions[0] == "2020-01-06"
    assert cut[0].clock == cut[1].clock


def test_use_cases_side_by_side_open_a_fresh_instance_without_a_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock nine of ten fresh homes fail."""
    for each in range(3):
        home = tmp_path / str(each)
        enter(monkeypatch, home, FOLDER)
        stores, together = Platform(), threading.Barrier(4)

        def opened(stores: Platform = stores, together: threading.Barrier = together) -> int:
            together.wait()
            with open_instance(stores) as instance:
                return instance.get_runs_count()

        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(opened) for _ in range(4)]
            assert [f.result() for f in found] == [0] * 4


def test_the_monitors_look_once_at_the_end() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    model = use_case.config.models[0].name
    first, days, back = acts(use_case, DemoConfig.model_validate(DEMO), [model])
    drift, scored = AssetKey([NAME, model, "drift"]), AssetKey([NAME, model, "predictions"])
    feed = AssetKey(["feed", use_case.config.feeds[0].name, "landed"])

    for act in (first, days):
        played = played_assets(use_case, act)
        assert played is not None and played(scored) and played(feed) and not played(drift)
    assert played_assets(use_case, back) is None, "all of the job"


def test_a_model_that_the_demo_leaves_out_is_played_as_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = yaml.safe_load((FOLDER / NAME / "more_models.yaml").read_text())["models"]
    models = [*yaml.safe_load((FOLDER / NAME / "use_case.yaml").read_text())["models"], *more]
    demo = {**DEMO, "models": ["late_return"]}
    use_case = write_use_case(tmp_path / "use_cases" / NAME, models=models, demo=demo)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")
    stores, every = Platform(), [m["name"] for m in models]
    with DagsterInstance.ephemeral() as instance:
        fresh = planned(stores, instance, use_case, every)
        assert [a.job for a in fresh] == ["lifecycle", "score_day", "monitor"]
        assert {a.models for a in fresh} == {tuple(every)}, "`run` on an empty installation plays them all"

        for act in planned(stores, instance, use_case, ["late_return"]):
            instance.add_run(
                DagsterRun(
                    job_name=job_name(use_case, act.job),
                    status=DagsterRunStatus.SUCCESS,
                    tags=_tags(use_case, act),
                )
            )
        stores.clock(use_case).set(dt.datetime.fromisoformat(DEMO["judge_at"]))
        later = planned(stores, instance, use_case, every)
        done = [_finished(instance, use_case, act) is not None for act in later]

    assert [(a.job, a.models) for a in later[:3]] == [
        (job, ("late_return",)) for job in ("lifecycle", "score_day", "monitor")
    ]
    assert (later[3].job, later[3].models, later[3].clock) == ("lifecycle", tuple(every[1:]), None)
    assert done == [True, True, True, False]


def test_where_only_time_has_passed_nothing_is_trained(
    copied: Installation, location: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each day's `run` would promote a model that no verdict asked for and no guard let through."""
    use_case, stores, instance = copied.use_case, copied.platform, copied.instance
    assert use_case.config.demo is None
    (model,) = (m.name for m in use_case.config.models)
    stores.clock(use_case).set(use_case.scheme.partition(WEEK_TO_COME).start + dt.timedelta(days=1))
    (edited,) = planned(stores, instance, use_case, [model])
    assert edited.trains, "nobody knows of which edition the champion is"
    lifecycle = job_name(use_case, "lifecycle")
    tags = {**_tags(use_case, edited), **_trained(use_case, edited)}
    earlier = {k: v.replace(WEEK_TO_COME, LAST_WEEK) for k, v in tags.items()}
    instance.add_run(DagsterRun(job_name=lifecycle, status=DagsterRunStatus.SUCCESS, tags=earlier))
    (act,) = planned(stores, instance, use_case, [model])
    assert not act.trains and _finished(instance, use_case, act) is None

    before = [p.id for p in promotions.history(stores.ledger, MODEL)]
    played = list(play(stores, lambda: location, instance, use_case, [model], lambda *_: None))

    assert [p.before for p in played] == [False]
    steps = set(played[0].seconds)
    assert any("predictions" in s for s in steps) and any("retraining_verdict" in s for s in steps)
    assert not any("candidate_model" in s or "champion_model" in s for s in steps)
    assert [p.id for p in promotions.history(stores.ledger, MODEL)] == before
    (again,) = planned(stores, instance, use_case, [model])
    assert _finished(instance, use_case, again) is not None, "it is not done twice"
    changed = use_case.config.model_copy(update={"title": "Edited"})
    (after,) = planned(stores, instance, UseCase(changed, use_case.folder), [model])
    assert after.trains


def test_the_demo_of_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"demo\.models that are not declared: nobody"):
        write_use_case(tmp_path / NAME, demo={**DEMO, "models": ["nobody"]})


def test_use_cases_are_played_side_by_side_and_one_that_fails_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Clocks that stand before the first cutoff: there is nothing to play, and each process says so."""
    names = [f"{NAME}_one", f"{NAME}_two", f"{NAME}_three"]
    for name in names:
        timeline = {"name": name, "clock": "replay", "start": "2019-06-01T20:00:00+02:00"}
        write_use_case(tmp_path / "use_cases" / name, name=name, timeline=timeline)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")

    with pytest.raises(typer.Exit):
        running._play_all(Platform(), {n: ["late_return"] for n in names})

    said = capfd.readouterr().out
    at = [said.index(f"no partition of {n} has been reached yet") for n in names]
    assert at == sorted(at)


def test_a_use_case_without_a_demo_says_so_and_what_plays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_use_case(tmp_path / "use_cases" / NAME)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")
    with pytest.raises(ConfigError, match="there is no demo to play"):
        running.demo(NAME)


def test_what_has_been_played_says_how_it_goes_on_and_nothing_beyond_the_end_of_the_data() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    last = use_case.scheme.last_key
    assert last is not None
    for key, told in (
        ("2020-09-21", f"`ml-platform replay {NAME}/late_return --from 2020-09-21 --to {last}`"),
        (last, f"--from {last} --to {last}`"),
        (use_case.scheme.shift(last, 1), f"the data end with {last}"),
    ):
        assert told in what_follows(use_case, "late_return", key)


def test_a_process_that_is_ended_from_outside_is_told() -> None:
    with running._processes(1) as pool:
        ok, said = running._ended(NAME, pool.submit(os._exit, 1))
    assert not ok and f"{NAME}: its process was ended from outside" in said


@pytest.fixture
def strict_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose gate no candidate passes."""
    models: list[dict[str, Any]] = yaml.safe_load((FOLDER / NAME / "use_case.yaml").read_text())["models"]
    models[0]["gates"]["minimum_auc"] = 0.999
    write_use_case(tmp_path / "use_cases" / NAME, models=models, demo=DEMO)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")
    # Another test of this process may have loaded the location where it found other use cases.
    monkeypatch.setattr(running, "_definitions", build)
    return tmp_path / "home"


@pytest.mark.slow
def test_a_refused_first_candidate_ends_in_the_summary_and_is_not_trained_again(strict_home: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(app, ["demo", NAME])

        assert result.exit_code == 1, result.output
        assert "No champion: auc FAIL" in result.output
        assert "change what is learned" in result.output
        assert "verdict show" not in result.output, "there is none"
        assert "FAIL" in result.output
        with DagsterInstance.get() as instance:
            (run,) = instance.get_runs()
        assert run.status == DagsterRunStatus.SUCCESS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("import os; os._exit(0)", 1, "reader fails: EndedProcess: os._exit(0)\n  where: {file}:{line} ("),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -11, 'File "{file}", line {line} in'),
    ],
)
def test_feed_code_that_ends_a_run_is_told_with_its_line_and_never_reads_as_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: int, told: str
) -> None:
    folder = tmp_path / "use_cases" / NAME
    write_use_case(folder)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")
    feeds = folder / "feeds.py"
    text, function = feeds.read_text(), "def read_loans(request):"
    assert function in text
    feeds.write_text(text.replace(function, f"{function}\n    {code}"))
    line = feeds.read_text().splitlines().index(f"    {code}") + 1

    command = [sys.executable, "-c", "from ml_platform.cli import main; main()", "run", NAME]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert ended.returncode == status
    assert told.format(file=feeds, line=line) in ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_run_that_fails_says_what_where_and_how_to_mend_it_and_tells_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[dict[str, Any]]]
) -> None:
    """The sensor tells while a daemon runs; a command, in cron for example, tells by itself."""
    folder = tmp_path / "use_cases" / NAME
    use_case = write_use_case(folder)
    enter(monkeypatch, tmp_path / "home", tmp_path / "use_cases")
    address, received = listener
    monkeypatch.setenv("ML_PLATFORM_ALERT_URLS", f"json://{address}/")
    monkeypatch.setattr(running, "_definitions", build)
    features = folder / "dbt" / "models" / f"{use_case.config.views.features}.sql"
    text, number = features.read_text(), "cast(e.pages as double)"
    assert number in text
    features.write_text(text.replace(number, "cast(e.genre as integer)"))

    result = CliRunner().invoke(app, ["run", NAME])

    assert result.exit_code == 1
    failed = (
        f"the run of {NAME}_lifecycle failed: dbt build failed: {features.stem}: Conversion Error: Could not"
    )
    assert failed in result.output
    assert f"  where: {features}\n  fix:   correct the model" in result.output
    assert "the same command goes on from there" in result.output
    assert "told:  alert to address 1 of 1 sent" in result.output
    (message,) = received
    assert (message["title"], message["type"]) == (f"{NAME}_lifecycle failed", "failure")
    assert f"where: {features}" in message["message"]
    assert f"owner: {use_case.config.owner.team}" in message["message"]
    assert "\x1b" not in result.output and "dbt.log" not in result.output and "LINE" not in result.output
