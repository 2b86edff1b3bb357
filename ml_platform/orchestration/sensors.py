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
from ml_platform.orchestration.causes import limit_of, step_words

_MOST_STEPS = 3
_LONGEST = 1500
"""Characters of a cause that are told: some messages hold whole tables, and services cut or refuse them."""


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
        partition = run.tags.get("dagster/partition")
        alert = Alert(
            title=f"{run.job_name} failed" + (f" on {partition}" if partition else ""),
            body=f"{_cause(context)}\nrun:   {run.run_id}",
            owner=owners.get(run.tags.get("use_case", "")),
            severity="failure",
            link=f"{Platform().dagster_url}/runs/{run.run_id}",
        )
        for line in send(alert):
            context.log.info(line)

    return alert_on_failure


def _cause(context: RunFailureSensorContext) -> str:
    """The limit that ended the run, or what broke, step by step; else what Dagster says of the run."""
    steps = [] if limit_of(context.dagster_run) else context.get_step_failure_events()
    told = [f"{event.step_key}: {_cut(step_words(event))}" for event in steps[:_MOST_STEPS]]
    if len(steps) > _MOST_STEPS:
        told.append(f"and {len(steps) - _MOST_STEPS} more steps")
    return "\n".join(told) or limit_of(context.dagster_run) or context.failure_event.message or "no message"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
