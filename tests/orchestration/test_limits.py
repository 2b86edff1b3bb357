"""One use case holds up no other: pools of its own, and runs that end when they take too long or too much."""

import re
import time
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance, Definitions, OpExecutionContext, job, op
from library import FOLDER, NAME

from ml_platform.config import load_use_case
from ml_platform.limited import resident_megabytes
from ml_platform.orchestration.jobs import asset_jobs
from ml_platform.orchestration.limits import ENDED_TAG, MEMORY_TAG, limit_tags, pool_of
from ml_platform.orchestration.resources import PlatformResource

ROOT = Path(__file__).parents[2]


@op(required_resource_keys={"platform"})
def loops(context: OpExecutionContext) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


@op(required_resource_keys={"platform"})
def eats(context: OpExecutionContext) -> None:
    kept: list[bytearray] = []
    end = time.monotonic() + 60
    while time.monotonic() < end and len(kept) < 800:
        kept.append(bytearray(b"x" * 2**20))
        time.sleep(0.002)


@op(required_resource_keys={"platform"})
def works(context: OpExecutionContext) -> None:
    """Ends by itself."""


@job
def looping() -> None:
    loops()


@job
def eating() -> None:
    eats()


@job
def working() -> None:
    works()


LOCATION = Definitions(jobs=[looping, eating, working], resources={"platform": PlatformResource()})


@pytest.mark.parametrize(
    ("name", "tags", "why"),
    [
        ("looping", {"dagster/max_runtime": "1"}, r"took longer than 1 s.*limits\.run_time"),
        ("eating", {MEMORY_TAG: str(int(resident_megabytes()) + 400)}, r"MiB of memory.*limits\.memory_mb"),
    ],
)
def test_a_run_past_its_limit_ends_says_why_and_the_next_one_works(
    name: str, tags: dict[str, str], why: str
) -> None:
    with DagsterInstance.ephemeral() as instance:
        began = time.monotonic()
        with pytest.raises(BaseException, match=r".*") as caught:
            LOCATION.resolve_job_def(name).execute_in_process(instance=instance, tags=tags)
        assert "nterrupt" in type(caught.value).__name__
        assert time.monotonic() - began < 50, "it was ended, not waited for"
        (run,) = instance.get_runs()
        assert run.is_finished and not run.is_success
        assert re.search(why, run.tags[ENDED_TAG], re.DOTALL)
        assert any(
            run.tags[ENDED_TAG].split(",")[0] in entry.message for entry in instance.all_logs(run.run_id)
        )
        done = LOCATION.resolve_job_def("working").execute_in_process(instance=instance, tags=tags)
        assert done.success


def test_each_use_case_has_a_pool_and_its_jobs_their_limits() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    assert limit_tags(use_case) == {"dagster/max_runtime": "21600", MEMORY_TAG: "8192"}
    for each in asset_jobs(use_case):
        assert each.tags is not None
        assert {**limit_tags(use_case), **each.tags} == dict(each.tags)


def test_every_job_of_a_use_case_waits_for_its_own_pool_only(location: Definitions) -> None:
    own = pool_of(load_use_case(FOLDER / NAME / "use_case.yaml"))
    for title in ("lifecycle", "score_week", "train_and_promote", "monitor"):
        found = location.resolve_job_def(f"{NAME}_{title}")
        pools = {node.definition.pool for node in found.nodes if node.definition.pool}
        assert pools == {own}, title


def test_the_instance_limits_runs_by_pool_and_leaves_room_for_the_others() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())["concurrency"]
    assert settings["pools"] == {"default_limit": 1, "granularity": "run"}
    assert settings["runs"]["max_concurrent_runs"] > 2
