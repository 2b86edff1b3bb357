"""``dagster dev`` as an operator starts it: the location loads, and a job launched from it succeeds."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from library import FOLDER, NAME, Library, open_library

from ml_platform.lifecycle.homes import copy_home
from ml_platform.registry.promotions import champion

from .conftest import MODEL

ROOT = Path(__file__).parents[2]
REPOSITORY = {"repositoryLocationName": "ml_platform", "repositoryName": "__repository__"}
START_SECONDS, RUN_SECONDS, STOP_SECONDS = 240, 240, 60

WORKSPACE = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    __typename
    ... on PythonError { message }
    ... on RepositoryLocation { repositories {
        assetNodes { id assetKey { path } }
        jobs { name }
        schedules { name scheduleState { status } }
        sensors { name }
    } }
} } } } }
"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
} }
"""
STATUS = """
query Status($run: ID!) { runOrError(runId: $run) { ... on Run {
    status
    repositoryOrigin { repositoryLocationName }
} } }
"""


@dataclass(frozen=True)
class Server:
    """A running ``dagster dev``."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A GraphQL request's data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        assert "errors" not in found, found["errors"]
        return dict(found["data"])

    def wait_until_up(self) -> None:
        """Until the web server answers."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                self.ask("{ version }")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(1)
            else:
                return
        pytest.fail(f"it did not start:\n{self.log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> bool:
    """Ask it to stop as Ctrl-C does; whether it and its children then went by themselves."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


@pytest.fixture(scope="module")
def installation(succeeded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The stores that the server works on."""
    return open_library(copy_home(succeeded_home, tmp_path_factory.mktemp("served") / "home"))


@pytest.fixture(scope="module")
def server(installation: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tmp_path = tmp_path_factory.mktemp("dagster_dev")
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ML_PLATFORM_", "DAGSTER_"))}
    environment = kept | {
        "DAGSTER_HOME": str(home),
        "ML_PLATFORM_DAGSTER_DIR": str(tmp_path / "dagster"),
        "ML_PLATFORM_HOME": str(installation.platform.home),
        "ML_PLATFORM_USE_CASES": str(FOLDER),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    (tmp_path / "dagster").mkdir()
    log, port = tmp_path / "dagster-dev.log", free_port()
    command = ["dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            executable=str(Path(sys.executable).parent / "dagster"),
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and so would what the tests start in one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
    running = Server(port, process, log)
    try:
        running.wait_until_up()
        yield running
    finally:
        stop(process)


@pytest.mark.slow
def test_the_location_loads_and_a_deploy_reloads_it(server: Server) -> None:
    assert_location_loads(server)

    script = str(ROOT / "scripts" / "reload_code_location.py")
    done = subprocess.run(
        [sys.executable, script, "--port", str(server.port)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "ml_platform was reloaded\n"), done.stderr
    assert_location_loads(server)


@pytest.mark.slow
def test_then_a_job_runs_and_it_stops(server: Server, installation: Library) -> None:
    before = champion(installation.platform.ledger, MODEL)
    run = launch_rollback(server)
    assert wait_for(server, run) == "SUCCESS", server.log.read_text()[-3000:]
    after = champion(installation.platform.ledger, MODEL)

    assert before is not None
    assert after is not None
    assert after.model_digest != before.model_digest, "the run's process worked on the same stores"
    assert stop(server.process), "it did not stop by itself"


def assert_location_loads(server: Server) -> None:
    """No load error; assets, jobs, schedule and sensor are there, and the schedule waits for a person."""
    (entry,) = server.ask(WORKSPACE)["workspaceOrError"]["locationEntries"]
    found = entry["locationOrLoadError"]
    assert found["__typename"] == "RepositoryLocation", found
    (repository,) = found["repositories"]
    keys = {"/".join(a["assetKey"]["path"]) for a in repository["assetNodes"]}
    schedules = {s["name"]: s["scheduleState"]["status"] for s in repository["schedules"]}

    assert {f"{NAME}/features", f"{MODEL}/serving_cache", "feed/loans/accepted"} <= keys
    assert not [k for k in keys if k.startswith("broken_use_cases/")]
    assert {"rollback", f"{NAME}_lifecycle", f"{NAME}_score_week"} <= {j["name"] for j in repository["jobs"]}
    assert schedules[f"{NAME}_weekly"] == "STOPPED"
    assert {"alert_on_failure", f"{NAME}_retraining"} <= {s["name"] for s in repository["sensors"]}


def launch_rollback(server: Server) -> str:
    """Launch the job as the launchpad does; returns the run's id."""
    config = {"model": MODEL, "who": "operator", "why": "from the UI"}
    launched = server.ask(
        LAUNCH,
        params={
            "selector": {**REPOSITORY, "pipelineName": "rollback"},
            "mode": "default",
            "runConfigData": {"ops": {"roll_back_champion": {"config": config}}},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def wait_for(server: Server, run: str) -> str:
    """The status in which a run ends."""
    end, status = time.monotonic() + RUN_SECONDS, ""
    while time.monotonic() < end:
        status = server.ask(STATUS, run=run)["runOrError"]["status"]
        if status in {"SUCCESS", "FAILURE", "CANCELED"}:
            break
        time.sleep(1)
    return status
