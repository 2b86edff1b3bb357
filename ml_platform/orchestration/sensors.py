"""A failed run tells somebody: by the log, and by the addresses in ``$ML_PLATFORM_ALERT_URLS``."""

from dagster import DefaultSensorStatus, RunFailureSensorContext, SensorDefinition, run_failure_sensor


def alert_sensor() -> SensorDefinition:
    """The sensor that watches all runs of this code location."""

    @run_failure_sensor(
        name="alert_on_failure",
        default_status=DefaultSensorStatus.RUNNING,
        description="Alerts about a failed run through Apprise. Addresses come from ML_PLATFORM_ALERT_URLS "
        "only; without them the alert goes to the log.",
    )
    def alert_on_failure(context: RunFailureSensorContext) -> None:
        # Importing Apprise costs .5 CPU-seconds; only an alert needs it.
        from ml_platform.lifecycle.alerts import Alert, send

        run = context.dagster_run
        alert = Alert(
            title=f"{run.job_name} failed",
            body=f"{context.failure_event.message or 'no message'}\nrun: {run.run_id}\n"
            f"partition: {run.tags.get('dagster/partition', 'none')}",
        )
        for line in send(alert):
            context.log.info(line)

    return alert_on_failure
