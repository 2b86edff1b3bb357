"""Only the partitions given look materialised, and what comes after still runs."""

from collections.abc import Iterator

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    BackfillPolicy,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    asset,
    define_asset_job,
    in_process_executor,
    materialize,
    multi_asset,
)

from ml_platform.orchestration import partial
from ml_platform.orchestration.partial import PartitionMetadata

DAYS = DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-11")
HELD = {"2024-01-02", "2024-01-04"}
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-05",
}
ONCE = BackfillPolicy.single_run()


@asset(
    partitions_def=DAYS,
    backfill_policy=ONCE,
    output_required=False,
    check_specs=[AssetCheckSpec("good", asset="accepted")],
)
def accepted(context: AssetExecutionContext) -> Iterator[object]:
    shown = [PartitionMetadata(k, {"rows": 7}) for k in context.partition_keys if k not in HELD]
    check = AssetCheckResult(asset_key="accepted", check_name="good", passed=True)
    yield from partial.materialise(context, shown, [check])


@multi_asset(
    name="two",
    specs=[
        AssetSpec("left", deps=["accepted"], partitions_def=DAYS, skippable=True),
        AssetSpec("right", deps=["accepted"], partitions_def=DAYS, skippable=True),
    ],
    backfill_policy=ONCE,
)
def two(context: AssetExecutionContext) -> Iterator[object]:
    yield partial.materialisation(AssetKey("left"), PartitionMetadata("2024-01-01"))
    partial.finish(context, "left")
    partial.finish(context, "right")


@asset(deps=["left", "right"], partitions_def=DAYS, backfill_policy=ONCE)
def later(context: AssetExecutionContext) -> None:
    """An ordinary asset, which Dagster materialises as a whole."""


GRAPH: list[AssetsDefinition] = [accepted, two, later]


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def in_range(instance: DagsterInstance) -> ExecuteInProcessResult:
    everything = define_asset_job("everything", AssetSelection.all(), executor_def=in_process_executor)
    job = Definitions(GRAPH, jobs=[everything]).resolve_job_def("everything")
    return job.execute_in_process(instance=instance, tags=RANGE)


def test_a_range_run_materialises_the_given_partitions_only(instance: DagsterInstance) -> None:
    result = in_range(instance)

    assert result.success
    found = instance.get_materialized_partitions(AssetKey("accepted"))
    assert found == {"2024-01-01", "2024-01-03", "2024-01-05"}


def test_later_stages_run_although_partitions_were_held_back(instance: DagsterInstance) -> None:
    result = in_range(instance)

    assert {e.step_key for e in result.get_step_success_events()} == {"accepted", "two", "later"}
    assert not result.get_step_skipped_events()
    assert len(instance.get_materialized_partitions(AssetKey("later"))) == 5


def test_one_output_of_several_may_have_nothing_to_show(instance: DagsterInstance) -> None:
    in_range(instance)

    assert instance.get_materialized_partitions(AssetKey("left")) == {"2024-01-01"}
    assert instance.get_materialized_partitions(AssetKey("right")) == set()


def test_each_partition_keeps_its_own_numbers(instance: DagsterInstance) -> None:
    result = in_range(instance)

    shown = result.asset_materializations_for_node("accepted")
    assert {m.partition: m.metadata["rows"].value for m in shown} == dict.fromkeys(
        ["2024-01-01", "2024-01-03", "2024-01-05"], 7
    )


@pytest.mark.parametrize(("day", "expected"), [("2024-01-03", {"2024-01-03"}), ("2024-01-04", set())])
def test_a_run_of_one_partition_does_the_same(
    instance: DagsterInstance, day: str, expected: set[str]
) -> None:
    result = materialize(GRAPH, instance=instance, partition_key=day)

    assert result.success
    assert instance.get_materialized_partitions(AssetKey("accepted")) == expected
    assert instance.get_materialized_partitions(AssetKey("later")) == {day}


def test_checks_are_told_after_the_materialisations(instance: DagsterInstance) -> None:
    evaluations = in_range(instance).get_asset_check_evaluations()

    assert [(e.check_name, e.passed) for e in evaluations] == [("good", True)]
