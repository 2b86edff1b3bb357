"""A failed run tells somebody: by the log, and by the addresses in ``$ML_PLATFORM_ALERT_URLS``."""

from collections.abc import Mapping

from dagster import DefaultSensorStatus, RunFailureSensorContext, SensorDefinition, run_failure_sensor

from ml_platform.config import OwnerConfig


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
        "the alert goes to the log.",
    )
    def alert_on_failure(context: RunFailureSensorContext) -> None:
        # Importing Apprise costs .5 CPU-seconds; only an alert needs it.
        from ml_platform.lifecycle.alerts import Alert, send

        run = context.dagster_run
        alert = Alert(
            title=f"{run.job_name} failed",
            body=f"{context.failure_event.message or 'no message'}\nrun: {run.run_id}\n"
            f"partition: {run.tags.get('dagster/partition', 'none')}",
            owner=owners.get(run.tags.get("use_case", "")),
        )
        for line in send(alert):
            context.log.info(line)

    return alert_on_failure
