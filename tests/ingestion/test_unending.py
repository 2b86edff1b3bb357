"""Feed code that ends its process: what it asked for is told, and never reads as success."""

import os
import subprocess
import sys

import pytest

from ml_platform.ingestion.unending import EndedProcess, kept_running

KEPT = """
import os, sys, threading
from ml_platform.ingestion.unending import kept_running
with kept_running():
    {code}
sys.exit(5)
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KEPT.format(code=code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_raises_instead_and_only_meanwhile() -> None:
    for status in (0, 7):
        with pytest.raises(EndedProcess, match=rf"os\._exit\({status}\)"), kept_running():
            with kept_running():
                pass
            os._exit(status)
    after = "pass\nos._exit(0)"
    assert ended(after).returncode == 0, "elsewhere it does what it always did"


def test_a_fork_may_end_as_it_likes() -> None:
    with kept_running():
        child = os.fork()
        if child == 0:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


def test_another_thread_ends_the_process_but_not_as_if_all_had_gone_well() -> None:
    done = ended("[t := threading.Thread(target=os._exit, args=(0,)), t.start(), t.join()]")
    assert done.returncode == 70
    assert "A thread of feed code ended the process" in done.stderr
    assert ended("[t := threading.Thread(target=os._exit, args=(9,)), t.start(), t.join()]").returncode == 9
