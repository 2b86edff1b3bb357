"""What is told of a failed run, by the sensor of the daemon or by the command that ran it; never by both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dagster import DagsterEvent, DagsterInstance, DagsterRun

from ml_platform.config import OwnerConfig
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.causes import limit_of, step_words

if TYPE_CHECKING:
    from ml_platform.lifecycle.alerts import Alert

TOLD_TAG = "ml_platform/told"
"""On a failed run of which somebody has been told: the daemon's sensor leaves it alone."""
_MOST_STEPS = 3
_LONGEST = 1500
"""Characters of a cause that are told: some messages hold whole tables, and services cut or refuse them."""


def failure_alert(
    platform: Platform,
    run: DagsterRun,
    steps: Sequence[DagsterEvent],
    owner: OwnerConfig | None,
    message: str = "",
) -> Alert:
    """The alert of a failed run.

    Args:
        platform: Whose pages are linked.
        run: The run, with its tags as they are recorded.
        steps: Failures of its steps.
        owner: Who answers for its use case.
        message: What Dagster says of the run, for one of which no step failed.
    """
    # Importing Apprise costs .5 CPU-seconds; only an alert needs it.
    from ml_platform.lifecycle.alerts import Alert

    partition = run.tags.get("dagster/partition")
    return Alert(
        title=f"{run.job_name} failed" + (f" on {partition}" if partition else ""),
        body=f"{_cause(run, steps, message)}\nrun:   {run.run_id}",
        owner=owner,
        severity="failure",
        link=f"{platform.dagster_url}/runs/{run.run_id}",
    )


def failed_steps(instance: DagsterInstance, run: DagsterRun) -> list[DagsterEvent]:
    """The failures of a run's steps, in order."""
    events = (entry.dagster_event for entry in instance.all_logs(run.run_id))
    return [e for e in events if e is not None and e.is_step_failure]


def tell(
    platform: Platform, instance: DagsterInstance, run: DagsterRun, owner: OwnerConfig | None
) -> list[str]:
    """Alert the owner of a run that a command has run and that failed; what came of it, in sentences."""
    from ml_platform.lifecycle.alerts import send

    # The daemon may look at this very run a moment later.
    instance.add_run_tags(run.run_id, {TOLD_TAG: "by the command that ran it"})
    return send(failure_alert(platform, run, failed_steps(instance, run), owner))


def _cause(run: DagsterRun, steps: Sequence[DagsterEvent], message: str) -> str:
    """The limit that ended the run, or what broke, step by step; else what Dagster says of the run."""
    limit = limit_of(run)
    shown = [] if limit else steps
    told = [f"{event.step_key}: {_cut(step_words(event))}" for event in shown[:_MOST_STEPS]]
    if len(shown) > _MOST_STEPS:
        told.append(f"and {len(shown) - _MOST_STEPS} more steps")
    return "\n".join(told) or limit or message or "no message"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
