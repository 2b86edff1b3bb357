"""A deploy without a running Dagster says so and does no harm."""

import socket
import subprocess
import sys

import pytest

from ml_platform.config import project_root

SCRIPT = project_root() / "scripts" / "reload_code_location.py"


@pytest.mark.slow
def test_where_no_dagster_runs_the_next_start_takes_the_code() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--port", str(port)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert f"no Dagster runs on port {port}" in done.stdout
