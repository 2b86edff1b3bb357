"""A use case with several models, of which one has no champion: it is left out, and the others go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, DagsterEventType, DagsterInstance, Definitions, ExecuteInProcessResult
from library import FOLDER, NAME

from ml_platform.config import load_use_case
from ml_platform.orchestration.run_context import ADVANCE_TAG
from ml_platform.registry.promotions import champion

from .conftest import WEEK_TO_COME, Installation, enter, write_use_case
from .test_schedules import asked, of, tick

WITHOUT, WITH = "days_late", "late_return"


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of use cases: the library with a second model, whose gates no candidate passes."""
    folder = tmp_path_factory.mktemp("two") / "use_cases" / NAME
    models = [
        model
        for file in ("use_case.yaml", "more_models.yaml")
        for model in yaml.safe_load((FOLDER / NAME / file).read_text(encoding="utf-8"))["models"]
        if model["name"] in (WITH, WITHOUT)
    ]
    models[1]["gates"]["minimum_r2"] = 0.999
    write_use_case(folder, models=models)
    return folder.parent


@pytest.fixture(scope="module")
def graph(two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, tmp_path_factory.mktemp("none"), two_models)
        return of(load_use_case(two_models / NAME / "use_case.yaml"))


@pytest.fixture
def there(copied: Installation, two_models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The played installation, into which a second model has come."""
    enter(monkeypatch, copied.home, two_models)
    use_case = load_use_case(two_models / NAME / "use_case.yaml")
    yield Installation(copied.home, use_case, copied.instance)


def play(graph: Definitions, there: Installation, job: str, **more: Any) -> ExecuteInProcessResult:
    definition = graph.resolve_job_def(f"{NAME}_{job}")
    assets = more.pop("assets", None)
    if assets is not None:
        definition = definition.get_subset(asset_selection={AssetKey([NAME, *a]) for a in assets})
    return definition.execute_in_process(
        instance=there.instance, partition_key=WEEK_TO_COME, raise_on_error=False, **more
    )


def told(result: ExecuteInProcessResult) -> dict[str, tuple[str | None, str]]:
    """Observations by asset: the partition, and why it was left out."""
    found = {}
    for event in result.all_events:
        if event.event_type == DagsterEventType.ASSET_OBSERVATION:
            seen = event.asset_observation_data.asset_observation
            found["/".join(seen.asset_key.path[1:])] = (
                seen.partition,
                str(seen.metadata["left_out"].value),
            )
    return found


def test_a_day_is_scored_without_the_model_that_has_no_champion(
    there: Installation, graph: Definitions
) -> None:
    request = asked(tick(graph, there.instance))
    assert request.partition_key == WEEK_TO_COME and ADVANCE_TAG in request.tags

    result = play(graph, there, "score_week", tags=request.tags)

    assert result.success
    assert there.materialised(NAME, WITH, "predictions") >= {WEEK_TO_COME}
    assert there.materialised(NAME, WITHOUT, "predictions") == set()
    partition, reason = told(result)[f"{WITHOUT}/predictions"]
    assert partition == WEEK_TO_COME and f"{NAME}/{WITHOUT} has no champion yet" in reason
    later = ("serving_cache", "live_performance", "skew", "diagnosis", "retraining_verdict")
    for stage in later:
        assert there.instance.get_latest_materialization_event(AssetKey([NAME, WITHOUT, stage])) is None
        assert there.instance.get_latest_materialization_event(AssetKey([NAME, WITH, stage])) is not None
    assert asked(tick(graph, there.instance)).partition_key == "2020-09-14", "the schedule goes on"


def test_the_monitors_look_at_the_models_that_serve(there: Installation, graph: Definitions) -> None:
    stages = ("live_performance", "drift", "skew", "diagnosis")
    result = play(graph, there, "monitor", assets=[(m, s) for m in (WITH, WITHOUT) for s in stages])

    assert result.success
    assert set(told(result)) == {f"{WITHOUT}/{s}" for s in stages[:3]}
    unknown = [
        c for c in result.get_asset_check_evaluations() if c.asset_key.path[1] == WITHOUT and not c.passed
    ]
    assert {c.check_name for c in unknown} == {"no_harm", "no_drift", "served_equals_rebuilt"}


def test_a_lifecycle_in_which_the_gates_refuse_one_model_is_green_to_the_catalogue(
    there: Installation, graph: Definitions
) -> None:
    training = ("training_dataset", "candidate_model", "evaluation", "champion_model")
    scoring = ("predictions", "export", "serving_cache")
    assets = [(WITHOUT, s) for s in (*training, *scoring)] + [(WITH, s) for s in scoring] + [("catalogue",)]

    result = play(graph, there, "lifecycle", assets=assets)

    assert result.success
    assert champion(there.platform.ledger, f"{NAME}/{WITHOUT}") is None
    order = [e.step_key for e in result.all_events if e.event_type == DagsterEventType.STEP_START]
    assert order[-1] == f"{NAME}__catalogue" and f"{NAME}__{WITHOUT}__predictions" not in order
    page = there.instance.get_latest_materialization_event(AssetKey([NAME, "catalogue"]))
    assert page is not None


def test_where_no_model_has_a_champion_a_person_is_told_so(
    two_models: Path, graph: Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, tmp_path / "home", two_models)
    use_case = load_use_case(two_models / NAME / "use_case.yaml")
    with DagsterInstance.ephemeral() as instance:
        empty = Installation(tmp_path / "home", use_case, instance)
        result = play(graph, empty, "score_week", assets=[(m, "predictions") for m in (WITH, WITHOUT)])
    assert not result.success and told(result) == {}
    failures = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    assert len(failures) == 2 and all("has no champion" in str(f) for f in failures)
