"""The daily schedule, tick by tick, without a daemon."""

from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    RunRequest,
    ScheduleDefinition,
    SkipReason,
    build_schedule_context,
    define_asset_job,
)
from library import FOLDER, NAME

from ml_platform.config import CutoffConfig, PartitionConfig, TimelineConfig, UseCase, load_use_case
from ml_platform.definitions import use_case_definitions
from ml_platform.orchestration.jobs import asset_jobs
from ml_platform.orchestration.keys import partitions_of
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import ADVANCE_TAG
from ml_platform.orchestration.schedules import MOST_ATTEMPTS, partition_schedule

from .conftest import LAST_WEEK, WEEK_TO_COME, Installation, enter, write_use_case

JOB = f"{NAME}_score_week"


def schedule_of(location: Definitions) -> ScheduleDefinition:
    found = next(s for s in location.schedules or () if s.name == f"{NAME}_weekly")
    assert isinstance(found, ScheduleDefinition)
    return found


def tick(location: Definitions, instance: DagsterInstance) -> RunRequest | SkipReason:
    """What one tick answers."""
    context = build_schedule_context(
        instance=instance,
        repository_def=location.get_repository_def(),
        resources={"platform": PlatformResource()},
    )
    with context:
        data = schedule_of(location).evaluate_tick(context)
    if data.run_requests:
        (request,) = data.run_requests
        return request
    return SkipReason(data.skip_message)


def asked(answer: RunRequest | SkipReason) -> RunRequest:
    assert isinstance(answer, RunRequest), answer
    return answer


def refused(answer: RunRequest | SkipReason) -> str:
    assert isinstance(answer, SkipReason), answer
    return answer.skip_message or ""


def record(
    instance: DagsterInstance, status: DagsterRunStatus, job: str = JOB, week: str = WEEK_TO_COME
) -> None:
    """A run of one week, as the daemon would have recorded it."""
    instance.add_run(DagsterRun(job_name=job, status=status, tags={"dagster/partition": week}))


def of(use_case: UseCase) -> Definitions:
    """The code location of one use case."""
    shared = Definitions(resources={"platform": PlatformResource()})
    return Definitions.merge(shared, use_case_definitions(use_case, set()))


def test_the_next_week_is_asked_for(copied: Installation, location: Definitions) -> None:
    request = asked(tick(location, copied.instance))

    assert request.partition_key == WEEK_TO_COME
    assert request.tags[ADVANCE_TAG] == "true"


def test_it_waits_while_a_run_is_in_progress(copied: Installation, location: Definitions) -> None:
    record(copied.instance, DagsterRunStatus.STARTED)

    assert "is being scored" in refused(tick(location, copied.instance))


def test_a_failed_run_is_tried_again_under_another_key(copied: Installation, location: Definitions) -> None:
    first = asked(tick(location, copied.instance)).run_key
    record(copied.instance, DagsterRunStatus.FAILURE)
    second = asked(tick(location, copied.instance)).run_key

    assert first != second
    assert asked(tick(location, copied.instance)).run_key == second, "a key is stable until its run exists"


def test_it_stops_after_three_attempts_and_says_what_to_do(
    copied: Installation, location: Definitions
) -> None:
    for _ in range(MOST_ATTEMPTS):
        record(copied.instance, DagsterRunStatus.FAILURE)

    assert "launch the job by hand" in refused(tick(location, copied.instance))


def test_a_run_of_another_week_or_job_does_not_count(copied: Installation, location: Definitions) -> None:
    record(copied.instance, DagsterRunStatus.STARTED, week=LAST_WEEK)
    record(copied.instance, DagsterRunStatus.STARTED, job=f"{NAME}_monitor")

    assert asked(tick(location, copied.instance)).partition_key == WEEK_TO_COME


def test_a_tick_s_run_moves_the_replay_clock_and_makes_the_next_week_due(
    copied: Installation, location: Definitions
) -> None:
    request = asked(tick(location, copied.instance))
    before = copied.platform.clock(copied.use_case).now()

    run = location.resolve_job_def(JOB).execute_in_process(
        instance=copied.instance, partition_key=request.partition_key, tags=request.tags
    )

    assert run.success
    cutoff = copied.use_case.cutoff(WEEK_TO_COME)
    assert before < copied.platform.clock(copied.use_case).now() == cutoff
    assert copied.materialised(NAME, "late_return", "predictions") == {WEEK_TO_COME}
    assert asked(tick(location, copied.instance)).partition_key == "2020-09-14"


def test_without_the_tag_a_run_leaves_the_clock_and_scores_nothing_early(
    copied: Installation, location: Definitions
) -> None:
    before = copied.platform.clock(copied.use_case).now()

    predictions = {AssetKey([NAME, "late_return", "predictions"])}
    job = location.resolve_job_def(JOB).get_subset(asset_selection=predictions)
    run = job.execute_in_process(instance=copied.instance, partition_key=WEEK_TO_COME)

    assert run.success
    assert copied.platform.clock(copied.use_case).now() == before
    assert copied.materialised(NAME, "late_return", "predictions") == set()


def test_without_a_champion_it_says_what_to_run_first(
    tmp_path: Path, location: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, tmp_path / "home", FOLDER)
    with DagsterInstance.ephemeral() as instance:
        reason = refused(tick(location, instance))

    assert "no champion yet" in reason
    assert f"{NAME}_lifecycle" in reason


def test_the_timeline_ends(copied: Installation, tmp_path: Path) -> None:
    partitions = {"width": "weekly", "timezone": "Europe/Berlin", "start": "2020-01-06", "end": LAST_WEEK}
    ended = of(write_use_case(tmp_path / "ended", partitions=partitions))

    assert f"ends with {LAST_WEEK}" in refused(tick(ended, copied.instance))


def test_a_replay_ticks_each_minute_and_a_wall_clock_at_the_cutoff(tmp_path: Path) -> None:
    timeline = {"name": "now", "clock": "wall"}
    wall = of(write_use_case(tmp_path / "wall", timeline=timeline))
    replay = of(load_use_case(FOLDER / NAME / "use_case.yaml"))

    assert schedule_of(replay).cron_schedule == "* * * * *"
    assert schedule_of(wall).cron_schedule == "0 20 * * *"
    assert schedule_of(wall).execution_timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("partitions", "cutoff", "cron", "noun"),
    [
        ({"width": "hourly", "timezone": "UTC"}, {"before": "PT10M"}, "50 * * * *", "hour"),
        ({"width": "monthly", "start": "2020-01-01"}, {"of": "end", "at": "06:30"}, "30 6 * * *", "month"),
        ({"width": "daily"}, {"at": "01:00"}, "0 1 * * *", "day"),
        ({}, {"at": "01:00", "before": "PT2H"}, "0 23 * * *", "week"),
    ],
)
def test_a_wall_clock_ticks_often_enough_for_the_width_of_partitions(
    partitions: dict[str, str], cutoff: dict[str, str], cron: str, noun: str
) -> None:
    """And what scores them has its name by that width."""
    config = load_use_case(FOLDER / NAME / "use_case.yaml").config
    changed = {
        "timeline": TimelineConfig(name="now"),
        "partitions": PartitionConfig.model_validate(config.partitions.model_dump() | partitions),
        "cutoff": CutoffConfig.model_validate(cutoff),
    }
    use_case = UseCase(config.model_copy(update=changed), FOLDER / NAME)
    job = define_asset_job(JOB, partitions_def=partitions_of(use_case))
    schedule = partition_schedule(use_case, job)
    assert schedule.cron_schedule == cron
    assert schedule.name == f"{NAME}_{use_case.scheme.width}"
    assert f"{NAME}_score_{noun}" in {j.name for j in asset_jobs(use_case)}
