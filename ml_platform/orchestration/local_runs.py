"""Run a job of the code location in this process, so that the UI shows it as the location's own.

``execute_in_process`` leaves a run's origin empty: the UI then cannot link it to its job or launch it
again. Dagster has no public way to set it, so its private names are kept in this one module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from dagster import AssetKey, DagsterEvent, DagsterInstance, DagsterRun, Definitions
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION = "ml_platform"
MODULE = "ml_platform.definitions"
RANGE_START = "dagster/asset_partition_range_start"
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RANGE_END = "dagster/asset_partition_range_end"


def run_job(
    definitions: Definitions,
    instance: DagsterInstance,
    name: str,
    *,
    partitions: tuple[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
    assets: Callable[[AssetKey], bool] | None = None,
    on_event: Callable[[DagsterEvent], None] = lambda _: None,
) -> DagsterRun:
    """Run a job to its end and return its run, as recorded.

    Args:
        definitions: The code location's definitions.
        instance: Where the run is recorded.
        name: Name of the job.
        partitions: First and last partition of a range, for a partitioned job.
        tags: Tags of the run.
        run_config: Its configuration.
        assets: Which of the job's assets; all when left out.
        on_event: Told each event as it happens, for progress.
    """
    job = definitions.resolve_job_def(name)
    if assets is not None:
        job = job.get_subset(asset_selection={k for k in job.asset_layer.selected_asset_keys if assets(k)})
    all_tags = {**job.run_tags, **(tags or {})}
    if partitions is not None:
        all_tags |= {RANGE_START: partitions[0], RANGE_END: partitions[1]}
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE),
        location_name=LOCATION,
    )
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    run = instance.create_run_for_job(
        job_def=job,
        tags=all_tags,
        run_config=QUIET | dict(run_config or {}),
        remote_job_origin=origin,
        asset_selection=job.asset_selection,
    )
    for event in execute_run_iterator(InMemoryJob(job), run, instance):
        on_event(event)
    finished = instance.get_run_by_id(run.run_id)
    assert finished is not None
    return finished
