"""Failure domains: a use case's runs wait only for each other, and end when they take too long or too much.

Each use case has a pool, so that its runs queue behind its own and never behind another's. Time and memory
are tags of its runs. Dagster's daemon ends runs past ``dagster/max_runtime`` that it launched; a watch in the
run's own process does the same for runs in a terminal, and for memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dagster import MAX_RUNTIME_SECONDS_TAG, DagsterInstance, DagsterRun

from ml_platform.config import UseCase
from ml_platform.limited import LimitError, Limits, watched

MEMORY_TAG = "ml_platform/max_memory_mb"
ENDED_TAG = "ml_platform/ended"
"""Why a run was ended: what a user reads instead of the interrupt that ended it."""


def pool_of(use_case: UseCase) -> str:
    """The pool of the use case's views and models; feeds have none, because use cases may share them."""
    return f"use_case_{use_case.name}"


def limit_tags(use_case: UseCase) -> dict[str, str]:
    """Tags that limit a run of the use case."""
    limits = use_case.config.limits
    return {
        MAX_RUNTIME_SECONDS_TAG: str(int(limits.run_time.total_seconds())),
        MEMORY_TAG: str(limits.memory_mb),
    }


@contextlib.contextmanager
def watched_run(instance: DagsterInstance | None, run: DagsterRun | None) -> Iterator[None]:
    """Interrupt this process while a run that it carries out is past the limits that its tags set.

    The run is recorded as failed, and its log and its tag ``ml_platform/ended`` say why.
    """
    if run is None or instance is None:
        yield
        return

    def ended(error: LimitError, forced: bool) -> None:
        if forced:
            instance.report_run_failed(run, str(error))
            return
        instance.add_run_tags(run.run_id, {ENDED_TAG: str(error)})
        instance.report_engine_event(str(error), run)

    limits = Limits(
        float(run.tags.get(MAX_RUNTIME_SECONDS_TAG) or "inf"),
        float(run.tags.get(MEMORY_TAG) or "inf"),
    )
    with watched("the run", limits, ended):
        yield
