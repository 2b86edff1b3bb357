"""The whole lifecycle as one run over a range of partitions, with bad weeks in it."""

import asyncio
from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterEventType, DagsterRun, DagsterRunStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionResolvedStatus
from library import FIRST_WEEK, NAME

from ml_platform.lifecycle import pages
from ml_platform.lifecycle.caching import committed_generation
from ml_platform.registry.promotions import champion

from .conftest import HELD_WEEK, LAST_WEEK, MODEL, SPOILT_WEEK, WEEK_TO_COME, Installation


@pytest.fixture
def checks(played: Installation, lifecycle_run: DagsterRun) -> dict[tuple[str, str], Any]:
    events = played.instance.all_logs(lifecycle_run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [e.dagster_event.asset_check_evaluation_data for e in events if e.dagster_event]
    return {(c.asset_key.path[-2] + "/" + c.asset_key.path[-1], c.check_name): c for c in found}


def numbers(check: Any) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def latest(played: Installation, *key: str) -> dict[str, Any]:
    event = played.instance.get_latest_materialization_event(AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_the_run_is_green(played: Installation, lifecycle_run: DagsterRun) -> None:
    assert lifecycle_run.status == DagsterRunStatus.SUCCESS
    skipped = played.instance.all_logs(lifecycle_run.run_id, of_type=DagsterEventType.STEP_SKIPPED)
    assert [e.step_key for e in skipped] == []


def test_a_held_week_is_not_materialised_and_the_others_are(played: Installation) -> None:
    weeks = set(played.use_case.scheme.keys(FIRST_WEEK, LAST_WEEK))

    assert weeks <= played.materialised("feed", "loans", "landed")
    accepted = played.materialised("feed", "loans", "accepted")
    assert accepted & weeks == weeks - {HELD_WEEK}


def test_what_needs_a_held_week_is_left_out_too(played: Installation) -> None:
    features = played.materialised(NAME, "features")

    assert HELD_WEEK not in features
    assert SPOILT_WEEK in features


def test_only_the_week_with_a_bad_row_has_a_quarantine(played: Installation) -> None:
    assert played.materialised("feed", "loans", "quarantine") == {SPOILT_WEEK}


def test_a_week_whose_cutoff_is_to_come_is_not_scored(played: Installation) -> None:
    assert WEEK_TO_COME not in played.materialised(NAME, "features")
    assert played.materialised(NAME, "late_return", "predictions") == {LAST_WEEK}
    assert played.materialised(NAME, "late_return", "export") == {LAST_WEEK}


def test_checks_carry_their_numbers(checks: dict[tuple[str, str], Any]) -> None:
    lost = numbers(checks["loans/accepted", "nothing_lost"])
    range_rule = checks["loans/accepted", "pages_in_range"]

    assert checks["loans/accepted", "nothing_lost"].passed
    assert lost["landed"] == lost["accepted + quarantined + held"] > 0
    assert not range_rule.passed
    assert numbers(range_rule)["failed_rows"] == 1
    assert numbers(range_rule)["partitions_failed"] == SPOILT_WEEK


def test_the_held_week_is_named_by_the_rule_that_held_it(checks: dict[tuple[str, str], Any]) -> None:
    rule = checks["loans/accepted", "row_count_same_weekday"]

    assert not rule.passed
    assert HELD_WEEK in numbers(rule)["partitions_failed"]


def test_runs_and_reports_are_linked(played: Installation) -> None:
    target = played.platform.target(MODEL)
    shown = latest(played, NAME, "late_return", "live_performance")["page"]
    kept = {
        page.kind: pages.address(played.platform, page.digest)
        for page in pages.published(played.platform, target)
    }
    assert shown == kept["chart"]
    assert latest(played, NAME, "late_return", "diagnosis")["page"] == kept["diagnosis"]
    for stage in ("candidate_model", "evaluation", "champion_model"):
        link = latest(played, NAME, "late_return", stage)["mlflow"]
        assert link.startswith("http://127.0.0.1:5000/#/experiments/")


def test_gates_show_measured_value_and_limit(checks: dict[tuple[str, str], Any]) -> None:
    gates = {name: check for (asset, name), check in checks.items() if asset == "late_return/evaluation"}

    assert gates
    assert all(check.passed for check in gates.values())
    assert all({"measured", "limit", "state"} <= set(check.metadata) for check in gates.values())


def test_the_champion_s_gate_is_no_success_while_there_is_no_champion(
    played: Installation, lifecycle_run: DagsterRun, checks: dict[tuple[str, str], Any]
) -> None:
    assert ("late_return/evaluation", "champion") not in checks
    key = AssetCheckKey(AssetKey([NAME, "late_return", "evaluation"]), "champion")
    (last, *_) = played.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert last.run_id == lifecycle_run.run_id

    status = asyncio.run(last.resolve_status(LoadingContextForTest(played.instance)))

    assert status == AssetCheckExecutionResolvedStatus.SKIPPED
    (said,) = [
        r.data
        for r in latest(played, NAME, "late_return", "evaluation")["gates"].records
        if r.data["name"] == "champion"
    ]
    assert said["state"] == "SKIPPED" and "no champion yet" in said["sentence"]


def test_dbt_s_tests_come_back_as_checks(checks: dict[tuple[str, str], Any]) -> None:
    names = {name for (asset, name), check in checks.items() if asset == f"{NAME}/entities" and check.passed}

    assert "not_null_library_loans_entities_branch" in names


def test_freshness_is_judged_by_the_timeline_s_clock(checks: dict[tuple[str, str], Any]) -> None:
    fresh = numbers(checks["loans/accepted", "fresh"])

    assert fresh["state"] == "PASS"
    assert fresh["partition"] >= LAST_WEEK


def test_partitions_carry_numbers_that_plot(played: Installation) -> None:
    assert latest(played, "feed", "returns", "accepted")["accepted"] > 0
    shown = latest(played, NAME, "late_return", "predictions")
    assert shown["rows"] == 90
    assert 0 < shown["mean_probability"] < 1


def test_a_view_s_columns_have_the_types_that_were_built_and_dbt_s_descriptions(played: Installation) -> None:
    columns = {c.name: c for c in latest(played, NAME, "features")["dagster/column_schema"].columns}

    assert {columns["pages"].type, columns["branch_late_rate"].type} == {"double"}
    assert columns["branch"].type == "string"
    assert columns["pages"].description == "Pages of the book."


def test_plots_are_inline(played: Installation) -> None:
    chart = latest(played, NAME, "late_return", "live_performance")["chart"]

    assert chart.startswith("![")
    assert "data:image/png;base64," in chart


def test_the_ledger_and_the_ui_tell_the_same(played: Installation) -> None:
    promotion = champion(played.platform.ledger, MODEL)
    generation = committed_generation(played.platform, MODEL)

    assert promotion is not None
    assert generation is not None
    assert latest(played, NAME, "late_return", "champion_model")["champion"] == promotion.model_digest
    assert latest(played, NAME, "late_return", "serving_cache")["generation"] == generation.id
    assert generation.served_partition == LAST_WEEK
