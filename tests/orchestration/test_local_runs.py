"""Runs of this process look in the UI like the code location's own."""

from pathlib import Path

import yaml
from dagster import DagsterRun
from library import FIRST_WEEK, NAME

from ml_platform.orchestration.local_runs import LOCATION, MODULE, RANGE_END, RANGE_START

from .conftest import WEEK_TO_COME

ROOT = Path(__file__).parents[2]


def test_a_run_belongs_to_the_code_location_and_its_job(lifecycle_run: DagsterRun) -> None:
    origin = lifecycle_run.remote_job_origin

    assert origin is not None
    assert origin.job_name == lifecycle_run.job_name == f"{NAME}_lifecycle"
    assert origin.repository_origin.code_location_origin.location_name == LOCATION


def test_the_location_is_the_workspace_s() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]

    assert entry["python_module"] == {"module_name": MODULE, "location_name": LOCATION}


def test_a_range_of_partitions_is_kept_in_the_run_s_tags(lifecycle_run: DagsterRun) -> None:
    assert (lifecycle_run.tags[RANGE_START], lifecycle_run.tags[RANGE_END]) == (FIRST_WEEK, WEEK_TO_COME)
    assert lifecycle_run.tags["use_case"] == NAME
