"""The same weeks, once through ticks of schedule and sensor and their runs, once through ``replay``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import (
    DagsterInstance,
    Definitions,
    RunRequest,
    SensorDefinition,
    SensorResult,
    build_schedule_context,
    build_sensor_context,
)
from library import FOLDER, NAME, Library, open_library
from sqlalchemy import inspect, select

from ml_platform.definitions import build
from ml_platform.lifecycle import promotion
from ml_platform.lifecycle.guard.replaying import replay
from ml_platform.lifecycle.homes import copy_home
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.storage import tables

from .conftest import enter, write_use_case

FIRST, SHARED, WEEKS = "2020-08-31", "2020-09-21", ["2020-09-28", "2020-10-05"]
"""A replay's first week, the last one that both have in common, and those that are played twice."""

GUARD: dict[str, Any] = {
    "diagnosis": {
        "reference_partitions": 8,
        "covariate_partitions": 3,
        "concept_partitions": 4,
        "maximum_partitions": 8,
        "label_horizon": 0,
        "minimum_rows": 150,
        "minimum_class_rows": 20,
        "segment_minimum_rows": 30,
    },
    "retraining": {
        "freshness_partitions": 4,
        "freshness_gate": 4,
        "freshness_margin": 9.0,
        "segment_harm": 9.0,
        "cooldown_partitions": 1,
        "attempt_partitions": 1,
        "calibration_partitions": 3,
        "calibration_gate": 4,
    },
}
"""Windows that fit a few weeks, and gates that any challenger passes."""

WALL_CLOCK = {"recorded_at", "finished_at", "seconds"}
TIMED = {"compute", "value"}
"""Guards whose numbers are seconds of this machine, or their price."""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``home`` after the weeks in common, ``ticks`` and ``replay`` after the others, and ``use_cases``."""
    root = tmp_path_factory.mktemp("twice")
    models = yaml.safe_load((FOLDER / NAME / "use_case.yaml").read_text())["models"]
    models[0] |= GUARD | {"gates": {**models[0].get("gates", {}), "maximum_bias": 1.0}}
    write_use_case(root / "use_cases" / NAME, models=models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "check_bundle", lambda *_: None)
        enter(patch, root / "home", root / "use_cases")
        library = open_library(root / "home", ML_PLATFORM_USE_CASES=str(root / "use_cases"))
        list(replay(library.platform, library.target, FIRST, SHARED, ahead=False))
        library.close()
        for name in ("ticks", "replay"):
            copy_home(root / "home", root / name)
        again = opened(root, "replay")
        list(replay(again.platform, again.target, FIRST, WEEKS[-1], ahead=False))
        again.close()
        enter(patch, root / "ticks", root / "use_cases")
        (root / "runs").mkdir()
        with DagsterInstance.local_temp(str(root / "runs")) as instance:
            tick_through(build(), instance, WEEKS)
    return root


def opened(root: Path, name: str) -> Library:
    return open_library(root / name, ML_PLATFORM_USE_CASES=str(root / "use_cases"))


def tick_through(location: Definitions, instance: DagsterInstance, weeks: Sequence[str]) -> None:
    """What the daemon does: a tick of the schedule, its run, then ticks of the sensor until it rests."""
    resources = {"platform": PlatformResource()}
    schedule = next(s for s in location.schedules or () if s.name == f"{NAME}_weekly")
    sensor = next(s for s in location.sensors or () if s.name == f"{NAME}_retraining")
    assert isinstance(sensor, SensorDefinition)
    cursor: str | None = None
    for week in weeks:
        due = build_schedule_context(
            instance=instance, repository_def=location.get_repository_def(), resources=resources
        )
        with due as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []  # type: ignore[union-attr]
        assert request.partition_key == week
        run(location, instance, f"{NAME}_score_week", request)
        for _ in range(3):
            with build_sensor_context(instance=instance, cursor=cursor, resources=resources) as looking:
                found = sensor(looking)
            assert isinstance(found, SensorResult)
            cursor = found.cursor
            if not found.run_requests:
                break
            for asked in found.run_requests:
                run(location, instance, str(asked.job_name), asked)
        else:
            pytest.fail("the sensor never rests")


def run(location: Definitions, instance: DagsterInstance, job: str, request: RunRequest) -> None:
    result = location.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        tags=dict(request.tags),
        run_config=request.run_config,
    )
    assert result.success


def rows(library: Library, table: Any) -> list[dict[str, Any]]:
    """All rows of a table in the order of their making, without what a wall clock wrote."""
    columns = [c.key for c in inspect(table).columns if c.key not in WALL_CLOCK]
    with library.platform.ledger.begin() as session:
        found = session.scalars(select(table).order_by(*inspect(table).primary_key)).all()
        return [{c: getattr(row, c) for c in columns} for row in found]


def untimed(guards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in g.items() if g["name"] not in TIMED or k not in ("value", "sentence")}
        for g in guards
    ]


@pytest.fixture
def both(root: Path) -> tuple[Library, Library]:
    return opened(root, "ticks"), opened(root, "replay")


def test_something_happened(both: tuple[Library, Library]) -> None:
    _, replayed = both
    assert [p["version"] for p in rows(replayed, tables.Promotion)] == [1, 2]
    outcomes = [(a["action"], a["status"], a["outcome"][:8]) for a in rows(replayed, tables.Attempt)]
    assert ("retrain", "done", "promoted") in outcomes
    given = {v["as_of"] for v in rows(replayed, tables.Verdict)}
    assert given >= {replayed.use_case.cutoff(w) for w in WEEKS}


@pytest.mark.parametrize(
    "table",
    ["Delivery", "Acceptance", "Dataset", "Model", "Evaluation", "Promotion", "Verdict", "Incident", "Hold"],
)
def test_the_ledger_is_the_same(both: tuple[Library, Library], table: str) -> None:
    ticked, replayed = (rows(library, getattr(tables, table)) for library in both)
    assert ticked == replayed
    assert ticked or table in {"Incident", "Hold"}


def test_what_was_published_is_the_same(both: tuple[Library, Library]) -> None:
    """The same objects in force, but for the pages that the asset graph publishes for people to read."""
    heads = [
        {
            (p["asset"], p["partition"]): (p["digest"], p["rows"], p["as_of"])
            for p in rows(library, tables.Publication)
            if "/pages/" not in p["asset"]
        }
        for library in both
    ]
    assert heads[0] == heads[1]


def test_attempts_are_the_same(both: tuple[Library, Library]) -> None:
    ticked, replayed = (
        [a | {"guards": untimed(a["guards"])} for a in rows(library, tables.Attempt)] for library in both
    )
    assert ticked == replayed and ticked


def test_both_serve_the_same(both: tuple[Library, Library]) -> None:
    ticked, replayed = (
        [(g["model_digest"], g["served_partition"], g["segments"]) for g in rows(x, tables.CacheGeneration)]
        for x in both
    )
    assert ticked[-1] == replayed[-1]
