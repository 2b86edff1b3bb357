"""A command that loops or eats memory is ended, and says so."""

import sys

import pytest

from ml_platform.limited import run_limited


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
