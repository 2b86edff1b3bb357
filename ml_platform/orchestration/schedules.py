"""The schedule of a use case: it asks the clock of its timeline for the next partition due."""

from datetime import date, datetime

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import PARTITION_NAME_TAG

from ml_platform.config import UseCase
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import ADVANCE_TAG

EVERY_MINUTE = "* * * * *"
MOST_ATTEMPTS = 3


def partition_schedule(use_case: UseCase, job: UnresolvedAssetJobDefinition) -> ScheduleDefinition:
    """Score the next partition due.

    On a wall clock it ticks at the cutoff: of hours every hour, else once a day. On a replay clock every tick
    is the next partition: it ticks each minute, and its run moves the clock to the partition's cutoff.
    """
    replay = use_case.config.timeline.clock == "replay"

    @schedule(
        name=f"{use_case.name}_{use_case.scheme.width}",
        job=job,
        cron_schedule=EVERY_MINUTE if replay else _at_the_cutoff(use_case),
        execution_timezone=use_case.scheme.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        description=(
            f"Scores the next {use_case.scheme.width} partition of {use_case.name}. "
            + ("Each tick is the next one of its replay timeline." if replay else "Ticks at the cutoff.")
        ),
    )
    def next_partition(
        context: ScheduleEvaluationContext, platform: PlatformResource
    ) -> RunRequest | SkipReason:
        from ml_platform.lifecycle.agenda import next_due

        due = next_due(platform.get(), use_case, may_advance=replay)
        if due.partition is None:
            return SkipReason(due.reason)
        earlier = context.instance.get_runs(
            RunsFilter(job_name=job.name, tags={PARTITION_NAME_TAG: due.partition})
        )
        if any(not run.is_finished for run in earlier):
            return SkipReason(f"partition {due.partition} is being scored")
        if len(earlier) >= MOST_ATTEMPTS:
            return SkipReason(
                f"partition {due.partition} was tried {len(earlier)} times without predictions: "
                "read the last run, mend the cause, then launch the job by hand"
            )
        tags = {ADVANCE_TAG: "true"} if replay else {}
        # A run key is spent even when its run fails, so the attempt is part of it.
        run_key = f"{use_case.name}:{due.partition}:{len(earlier)}"
        return RunRequest(run_key=run_key, partition_key=due.partition, tags=tags)

    return next_partition


def _at_the_cutoff(use_case: UseCase) -> str:
    cut = use_case.config.cutoff
    at = (datetime.combine(date(2000, 1, 2), cut.at) - cut.before).time()
    hour = "*" if use_case.scheme.width == "hourly" else at.hour
    return f"{at.minute} {hour} * * *"
