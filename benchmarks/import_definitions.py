"""CPU time of importing the code location against importing Dagster alone."""

import subprocess
import sys

from benchmarks.report import Line, in_turn, middle

ROUNDS = 7
TARGET = 1.3
CPU = "import time; print(time.process_time())"


def run() -> list[Line]:
    """Fresh processes in turn; the first of each, which may compile, does not count."""
    bare, ours = "import dagster, dagster_dbt", "import ml_platform.definitions"
    for statement in (bare, ours):
        cpu_seconds(statement)
    base, platform = in_turn(ROUNDS, lambda: cpu_seconds(bare), lambda: cpu_seconds(ours))
    note = f"median of {ROUNDS} processes; range {min(platform):.1f} to {max(platform):.1f}"
    return [Line(ours, middle(platform), middle(base), "CPU-s", TARGET, note)]


def cpu_seconds(statement: str) -> float:
    """CPU seconds of a fresh interpreter that runs a statement."""
    command = [sys.executable, "-W", "ignore", "-c", f"{statement}\n{CPU}"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
