"""A command that loops or eats memory is ended, and says so."""

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from ml_platform.limited import LimitError, Limits, run_limited, within


@pytest.mark.parametrize(
    ("code", "limits", "why"),
    [
        ("while True: pass", (1.0, 4096.0), "did not end within 1 s"),
        (
            "x = [b'x' * 2**20 for _ in range(600)]; import time; time.sleep(60)",
            (50.0, 200.0),
            "MiB of memory",
        ),
    ],
)
def test_what_goes_too_far_is_ended(code: str, limits: tuple[float, float], why: str) -> None:
    ended = run_limited([sys.executable, "-c", code], seconds=limits[0], megabytes=limits[1])
    assert ended.code is None
    assert why in ended.why


def test_what_ends_by_itself_is_told_as_it_was() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(4)"
    ended = run_limited([sys.executable, "-c", code], seconds=60, megabytes=4096)
    assert (ended.code, ended.output.strip(), ended.errors.strip(), ended.why) == (4, "out", "err", "")


def test_what_this_process_does_past_its_limit_is_an_error_and_it_goes_on() -> None:
    with (
        pytest.raises(LimitError, match=r"counting took longer than 0\.2 s") as caught,
        within("counting", Limits(0.2, float("inf"), "folder/use_case.yaml")),
    ):
        time.sleep(30)
    assert caught.value.where == "limits.run_time in folder/use_case.yaml"
    assert "raise the limit" in caught.value.fix
    with within("counting", Limits(20, 2**20)):
        time.sleep(0.1)


def _only_noted(*_: object) -> None:
    """What Dagster does with an interrupt while it must not be interrupted."""


@pytest.mark.parametrize("handler", [signal.SIG_IGN, _only_noted])
def test_a_process_that_ignores_interrupts_is_interrupted_all_the_same(handler: Any) -> None:
    """As a script's background process does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(LimitError), within("counting", Limits(0.2, float("inf"))):
            time.sleep(30)
        assert signal.getsignal(signal.SIGINT) is handler, "as before"
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_by_its_user_is_no_limit() -> None:
    with pytest.raises(KeyboardInterrupt), within("counting", Limits(20, 2**20)):
        raise KeyboardInterrupt


STUBBORN = """
import time
import ml_platform.limited as limited
limited._GRACE_SECONDS = 0.5
with limited.within("counting", limited.Limits(0.1, float("inf"))):
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def test_code_that_does_not_give_way_ends_with_its_process_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 137
    assert "counting took longer than 0.1 s" in done.stderr and "did not give way" in done.stderr


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import sys; sys.exit(4)", "exit code 4"),
        ("import os; os.abort()", "killed by SIGABRT (Aborted)"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "killed by SIGKILL (Killed); the machine may be out",
        ),
        ("import os; os.kill(os.getpid(), 40)", "killed by signal 40 ("),
    ],
)
def test_a_signal_is_told_by_its_name(code: str, how: str) -> None:
    assert run_limited([sys.executable, "-c", code], seconds=60, megabytes=4096).how.startswith(how)
