"""The code location: complete, described, and in one piece when a use case is broken."""

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    Definitions,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from library import FOLDER, NAME

from ml_platform.config import PartitionConfig, UseCase, load_use_case
from ml_platform.definitions import build
from ml_platform.orchestration.keys import owners, partitions_of
from ml_platform.orchestration.resources import PlatformResource

MODEL_STAGES = (
    "training_dataset",
    "candidate_model",
    "evaluation",
    "champion_model",
    "predictions",
    "export",
    "serving_cache",
    "label_maturity",
    "live_performance",
    "drift",
    "skew",
    "diagnosis",
    "retraining_verdict",
)
PERSONS_JOBS = ("rollback", "retrain", "recalibrate", "decide_promotion", "replay_quarantine")
ASSET_JOBS = ("lifecycle", "score_week", "train_and_promote", "monitor")


def specs(location: Definitions) -> dict[str, AssetSpec]:
    return {s.key.to_user_string(): s for s in location.resolve_all_asset_specs()}


def own(location: Definitions) -> dict[str, AssetSpec]:
    feeds = ("feed/loans/", "feed/returns/", "feed/branches/")
    return {k: s for k, s in specs(location).items() if k.startswith((f"{NAME}/", *feeds))}


def test_the_location_loads_as_a_whole(location: Definitions) -> None:
    Definitions.validate_loadable(location)


def test_assets_are_named_by_feed_use_case_and_model(location: Definitions) -> None:
    expected = {
        f"feed/{feed}/{stage}"
        for feed in ("loans", "returns", "branches")
        for stage in ("landed", "accepted", "quarantine")
    }
    expected |= {f"{NAME}/{view}" for view in ("entities", "features", "labels", "cutoffs", "catalogue")}
    expected |= {f"{NAME}/late_return/{stage}" for stage in MODEL_STAGES}

    assert set(own(location)) == expected


def test_every_asset_has_group_owners_and_description(location: Definitions) -> None:
    lacking = {
        key
        for key, spec in specs(location).items()
        if not (spec.group_name and spec.group_name != "default" and spec.owners and spec.description)
    }

    assert lacking == set()


def test_every_asset_that_is_made_has_a_kind(location: Definitions) -> None:
    made = {k: s for k, s in specs(location).items() if not k.endswith("/cutoffs")}

    assert {k for k, s in made.items() if not s.kinds} == set()


def test_the_use_case_s_assets_link_to_a_readme(location: Definitions) -> None:
    made = {k: s for k, s in own(location).items() if k.startswith(NAME) and not k.endswith("/cutoffs")}
    links = {s.metadata["readme"].value for s in made.values()}
    assert links == {"http://127.0.0.1:8090/readme/platform"}, "the library has no README of its own"


def test_owners_are_those_of_the_use_case(location: Definitions) -> None:
    assert {tuple(s.owners) for s in own(location).values()} == {("lending@example.org", "team:lending")}


@pytest.mark.parametrize(
    ("email", "named"),
    [("a@example.org", ["a@example.org", "team:lending"]), ("a@example.technology", ["team:lending"])],
)
def test_an_address_that_dagster_refuses_does_not_break_its_use_case(email: str, named: list[str]) -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    owner = use_case.config.owner.model_copy(update={"email": email})
    config = use_case.config.model_copy(update={"owner": owner})
    assert owners(UseCase(config, use_case.folder)) == named
    assert AssetSpec("anything", owners=named)


def test_features_and_labels_show_the_columns_that_they_are_made_from(location: Definitions) -> None:
    def made_from(view: str, column: str) -> set[tuple[str, str]]:
        lineage = specs(location)[f"{NAME}/{view}"].metadata["dagster/column_lineage"]
        return {(d.asset_key.to_user_string(), d.column_name) for d in lineage.deps_by_column[column]}

    returns = "feed/returns/accepted"
    assert made_from("entities", "pages") == {("feed/loans/accepted", "pages")}
    assert made_from("entities", "cutoff") == {(f"{NAME}/cutoffs", "cutoff")}
    assert made_from("features", "pages") == {(f"{NAME}/entities", "pages")}
    assert made_from("features", "branch_late_rate") == {(returns, "due_at"), (returns, "returned_at")}
    assert made_from("labels", "late") == {(returns, "due_at"), (returns, "returned_at")}


def test_every_column_dependency_is_an_asset_of_the_graph(location: Definitions) -> None:
    found = {k: s.metadata.get("dagster/column_lineage") for k, s in specs(location).items()}
    named = {
        d.asset_key.to_user_string()
        for v in found.values()
        if v
        for ds in v.deps_by_column.values()
        for d in ds
    }
    assert named and named <= set(found)


def test_accepted_feeds_show_the_contract_s_columns(location: Definitions) -> None:
    schema = specs(location)["feed/loans/accepted"].metadata["dagster/column_schema"]

    assert {c.name: c.type for c in schema.columns}["pages"] == "integer"
    assert all(c.description for c in schema.columns)


def test_the_graph_runs_from_feed_to_cache(location: Definitions) -> None:
    graph = location.resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(AssetKey([NAME, "late_return", "serving_cache"]))

    for key in (
        "feed/loans/landed",
        "feed/returns/accepted",
        f"{NAME}/features",
        f"{NAME}/labels",
        f"{NAME}/late_return/champion_model",
    ):
        assert AssetKey(key.split("/")) in above, key


def test_the_graph_has_no_way_back_from_predictions_to_training(location: Definitions) -> None:
    graph = location.resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(AssetKey([NAME, "late_return", "champion_model"]))

    assert AssetKey([NAME, "late_return", "predictions"]) not in above


def test_each_rule_of_a_contract_is_a_check(location: Definitions) -> None:
    checks = {
        k.name for k in location.resolve_asset_graph().asset_check_keys if k.asset_key.path[1] == "loans"
    }

    assert {"nothing_lost", "fresh", "pages_in_range", "row_count_same_weekday"} <= checks


def test_gates_monitors_and_dbt_tests_are_checks(location: Definitions) -> None:
    keys = location.resolve_asset_graph().asset_check_keys
    found = {(k.asset_key.path[-1], k.name) for k in keys if k.asset_key.path[0] == NAME}

    assert {
        ("champion_model", "promoted"),
        ("label_maturity", "labels_arrive_as_usual"),
        ("live_performance", "no_harm"),
        ("drift", "no_drift"),
        ("entities", "not_null_library_loans_entities_branch"),
    } <= found
    assert any(asset == "evaluation" for asset, _ in found)


def test_a_check_of_dbt_says_what_its_test_asks(location: Definitions) -> None:
    assets = [a for a in location.assets or () if isinstance(a, AssetsDefinition)]
    said = {s.name: s.description for a in assets for s in a.check_specs}
    assert said["features_have_genre"] == "No loan lacks its genre."


@pytest.mark.parametrize("name", [*PERSONS_JOBS, *(f"{NAME}_{j}" for j in ASSET_JOBS)])
def test_jobs_exist_and_are_described(location: Definitions, name: str) -> None:
    assert location.resolve_job_def(name).description


@pytest.mark.parametrize("name", PERSONS_JOBS)
def test_what_a_person_launches_has_typed_config_with_explanations(location: Definitions, name: str) -> None:
    job = location.resolve_job_def(name)
    (node,) = job.nodes
    fields = job.run_config_schema.config_type.fields["ops"].config_type.fields[node.name]
    config = fields.config_type.fields["config"].config_type

    assert config.fields
    assert all(field.description for field in config.fields.values())


def test_schedule_and_sensor_are_there(location: Definitions) -> None:
    assert f"{NAME}_weekly" in {s.name for s in location.schedules or ()}
    assert {"alert_on_failure", f"{NAME}_retraining"} <= {s.name for s in location.sensors or ()}


def test_partitions_are_those_of_the_use_case() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    found = partitions_of(use_case).get_partition_keys()

    assert found == use_case.scheme.keys("2020-01-06", "2020-12-28")
    assert (
        partitions_of(use_case)
        .time_window_for_partition_key("2020-03-23")
        .end.isoformat()
        .startswith("2020-03-30T00:00:00+02:00")
    ), "the clocks change within this week"


@pytest.mark.parametrize(
    ("partitions", "first", "last"),
    [
        (
            {"width": "hourly", "start": date(2024, 3, 30), "end": date(2024, 4, 1)},
            "2024-03-30T00",
            "2024-04-01T23",
        ),
        (
            {
                "width": "monthly",
                "timezone": "Europe/Berlin",
                "start": date(2024, 1, 1),
                "end": date(2025, 2, 28),
            },
            "2024-01-01",
            "2025-02-01",
        ),
    ],
)
def test_dagster_knows_hours_and_months_by_the_same_keys(
    partitions: dict[str, Any], first: str, last: str
) -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    changed = use_case.config.model_copy(update={"partitions": PartitionConfig.model_validate(partitions)})
    other = UseCase(changed, use_case.folder)
    found = partitions_of(other)
    assert found.get_partition_keys() == other.scheme.keys(first, last)
    assert (found.get_first_partition_key(), found.get_last_partition_key()) == (first, last)
    for key in (first, last):
        window = found.time_window_for_partition_key(key)
        assert (window.start, window.end) == (
            other.scheme.partition(key).start,
            other.scheme.partition(key).end,
        )


@pytest.fixture
def neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of use cases with the library in it."""
    shutil.copytree(FOLDER / NAME, tmp_path / NAME)
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(tmp_path))
    return tmp_path


def broken(location: Definitions) -> dict[str, str]:
    found = specs(location).items()
    return {k.split("/")[1]: s.description or "" for k, s in found if k.startswith("broken_use_cases/")}


def test_a_broken_use_case_says_why_and_stops_no_other(neighbours: Path) -> None:
    (neighbours / "typing error").mkdir()
    (neighbours / "typing error" / "use_case.yaml").write_text("schema_version: 1\nnmae: x\n")

    location = build()

    assert "nmae" in broken(location)["typing_error"]
    assert f"{NAME}/late_return/serving_cache" in specs(location)
    assert location.resolve_job_def(f"{NAME}_lifecycle")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("contracts/loans.yaml", "kind: DataContract\n", "contracts/loans.yaml"),
        ("dbt/models/library_loans_features.sql", "select {{ nothing('here') }}", "'nothing' is undefined"),
    ],
)
def test_a_broken_contract_or_dbt_project_breaks_its_own_use_case_only(
    neighbours: Path, file: str, text: str, words: str
) -> None:
    # First by name: it brings the feeds, so their contracts are read with it.
    other = neighbours / "a_first"
    shutil.copytree(neighbours / NAME, other)
    yaml_file = other / "use_case.yaml"
    yaml_file.write_text(yaml_file.read_text().replace("name: library_loans\n", "name: other_loans\n"))
    (other / file).write_text(text)

    location = build()

    assert words in broken(location)["a_first"]
    assert f"{NAME}/features" in specs(location)


def test_two_use_cases_of_one_name_are_not_mixed(neighbours: Path) -> None:
    shutil.copytree(neighbours / NAME, neighbours / "twin")

    location = build()

    assert "another use case is named" in broken(location)["twin"]


def test_a_feed_of_two_use_cases_is_one_asset(neighbours: Path) -> None:
    other = neighbours / "other"
    shutil.copytree(neighbours / NAME, other)
    file = other / "use_case.yaml"
    file.write_text(file.read_text().replace("name: library_loans\n", "name: other_loans\n"))

    location = build()

    assert broken(location) == {}
    assert "other_loans/late_return/predictions" in specs(location)
    Definitions.validate_loadable(location)


def test_a_broken_use_case_is_a_failing_check_in_the_ui(
    neighbours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path / "home"))
    (neighbours / "broken").mkdir()
    (neighbours / "broken" / "use_case.yaml").write_text("schema_version: 9\n")
    location = build()
    Definitions.validate_loadable(location)
    sensor = next(s for s in location.sensors or () if s.name == "use_case_health")

    def tick(cursor: str | None) -> SensorResult | SkipReason:
        with DagsterInstance.ephemeral() as instance:
            made = build_sensor_context(
                instance, cursor=cursor, resources={"platform": PlatformResource()}, definitions=location
            )
            with made as context:
                return sensor(context)  # type: ignore[return-value]

    result = tick(None)

    assert isinstance(result, SensorResult)
    judged = {
        (e.asset_key.to_user_string(), e.check_name): e
        for e in result.asset_events
        if isinstance(e, AssetCheckEvaluation)
    }
    own = judged["broken_use_cases/broken", "loads"]
    assert not own.passed
    assert "schema_version 9" in str(own.metadata["error"].value)
    assert not judged["platform/use_cases", "all_load"].passed
    assert judged["platform/use_cases", "none_removed_with_predictions"].passed
    assert isinstance(tick(result.cursor), SkipReason), "nothing has changed"


def test_dagster_itself_accepts_a_location_with_a_broken_use_case(neighbours: Path, tmp_path: Path) -> None:
    """A real code server loads it: the good use case is there, and the warning names the broken one."""
    (neighbours / "broken").mkdir()
    (neighbours / "broken" / "use_case.yaml").write_text("name: [unclosed\n")
    command = [
        Path(sys.executable).parent / "dagster",
        "definitions",
        "validate",
        "-m",
        "ml_platform.definitions",
    ]
    home = tmp_path / "dagster_home"
    home.mkdir()
    done = subprocess.run(
        command,
        env=os.environ | {"DAGSTER_HOME": str(home), "ML_PLATFORM_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "use case broken is broken and not loaded" in done.stdout + done.stderr
