"""A failed run tells somebody: by the log, and by the addresses in ``$ML_PLATFORM_ALERT_URLS``."""

from collections.abc import Mapping

from dagster import (
    DefaultSensorStatus,
    RunFailureSensorContext,
    SensorDefinition,
    run_failure_sensor,
)

from ml_platform.config import OwnerConfig
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.failures import TOLD_TAG, failure_alert


def alert_sensor(owners: Mapping[str, OwnerConfig]) -> SensorDefinition:
    """The sensor that watches all runs of this code location.

    Args:
        owners: Who answers for a use case, by its name; read when a run has failed.
    """

    @run_failure_sensor(
        name="alert_on_failure",
        default_status=DefaultSensorStatus.RUNNING,
        description="Alerts the owner of a failed run's use case through Apprise. Addresses come from "
        "ML_PLATFORM_ALERT_URLS, its _<TEAM> variables and ML_PLATFORM_ALERT_MAIL only; without them "
        "the alert goes to the log. A run of `ml-platform run` or `demo` is told by that command.",
    )
    def alert_on_failure(context: RunFailureSensorContext) -> None:
        # Importing Apprise costs .5 CPU-seconds; only an alert needs it.
        from ml_platform.lifecycle.alerts import send

        run = context.dagster_run
        if TOLD_TAG in run.tags:
            context.log.info(f"{run.run_id}: told {run.tags[TOLD_TAG]}")
            return
        owner = owners.get(run.tags.get("use_case", ""))
        steps, message = context.get_step_failure_events(), context.failure_event.message or ""
        for line in send(failure_alert(Platform(), run, steps, owner, message)):
            context.log.info(line)

    return alert_on_failure
