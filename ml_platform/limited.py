"""Runs a command in a process of its own that may take so long and so much memory, and no more."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; None where it was ended.
        output: Its standard output.
        errors: Its standard error.
        why: Why it was ended; empty where it ended by itself.
    """

    code: int | None
    output: str
    errors: str
    why: str = ""


def run_limited(
    command: Sequence[str],
    *,
    seconds: float,
    megabytes: float,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command; end it when it takes too long or its resident memory grows too large.

    Memory is read from ``/proc``; where there is none only time is limited.

    Args:
        command: Program and arguments.
        seconds: Longest wall time.
        megabytes: Largest resident memory (MiB).
        environment: Its variables; this process's when left out.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        why, end = "", time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > end:
                why = f"it did not end within {seconds:g} s"
            elif (used := resident_megabytes(process.pid)) > megabytes:
                why = f"it took {used:,.0f} MiB of memory, more than {megabytes:,.0f}"
            if why:
                process.kill()
                process.wait()
                break
            time.sleep(_POLL_SECONDS)
        output.seek(0)
        errors.seek(0)
        said, complained = (f.read().decode(errors="replace") for f in (output, errors))
        return Ended(None if why else process.returncode, said, complained, why)


def resident_megabytes(pid: int | str = "self") -> float:
    """Resident memory of a process (MiB), this one by default; 0 where there is no ``/proc``."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    line = next((n for n in text.splitlines() if n.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024
