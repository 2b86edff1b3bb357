"""Limits of time and memory: of a command in a process of its own, or of what this process does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ml_platform.errors import PlatformError

_POLL_SECONDS = 0.1
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')
_WATCH_SECONDS = 0.5
_GRACE_SECONDS = 30.0


class Limits(NamedTuple):
    """What something may take: wall time (s), resident memory (MiB), and the file that says so."""

    seconds: float
    megabytes: float
    where: str = "use_case.yaml"


class LimitError(PlatformError):
    """Something took longer, or more memory, than it may."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; None where it was ended.
        output: Its standard output.
        errors: Its standard error.
        why: Why it was ended; empty where it ended by itself.
        limit: What it went beyond: ``seconds`` or ``megabytes``; empty where it ended by itself.
    """

    code: int | None
    output: str
    errors: str
    why: str = ""
    limit: str = ""

    @property
    def how(self) -> str:
        """How it ended, for people: a signal by its name."""
        if self.code is None:
            return self.why
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = f"signal {-self.code}"
        memory = "; the machine may be out of memory" if name == "SIGKILL" else ""
        return f"killed by {name} ({signal.strsignal(-self.code)}){memory}"

    def place(self, folder: Path) -> str:
        """File and line of the innermost code below a folder that its standard error names; empty if none.

        An exception's traceback names it last; what ``-X faulthandler`` says of a signal names it first.
        """
        root = folder.resolve()
        named = [(f, n) for f, n in _FRAME.findall(self.errors) if Path(f).is_relative_to(root)]
        if not named:
            return ""
        file, line = named[0] if "most recent call first" in self.errors else named[-1]
        return f"{file}:{line}"


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
        why, limit, end = "", "", time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > end:
                why, limit = f"it did not end within {seconds:g} s", "seconds"
            elif (used := resident_megabytes(process.pid)) > megabytes:
                why = f"it took {used:,.0f} MiB of memory, more than {megabytes:,.0f}"
                limit = "megabytes"
            if why:
                process.kill()
                process.wait()
                break
            time.sleep(_POLL_SECONDS)
        output.seek(0)
        errors.seek(0)
        said, complained = (f.read().decode(errors="replace") for f in (output, errors))
        return Ended(None if why else process.returncode, said, complained, why, limit)


@contextlib.contextmanager
def within(what: str, limits: Limits) -> Iterator[None]:
    """Let this process do something within limits.

    Args:
        what: What is done, for the error.
        limits: What it may take.

    Raises:
        LimitError: It took more; it has been interrupted.
    """
    broken: list[LimitError] = []

    def ended(error: LimitError, forced: bool) -> None:
        broken.append(error)

    try:
        with _interruptible(), watched(what, limits, ended):
            yield
    except KeyboardInterrupt:
        if broken:
            raise broken[0] from None
        raise


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt raise meanwhile: a process that a script starts in the background ignores it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def watched(what: str, limits: Limits, ended: Callable[[LimitError, bool], None]) -> Iterator[None]:
    """Interrupt this process while it does more than limits allow.

    The interrupt is raised in the main thread, as Ctrl-C would be. Code that does not give way to it ends
    with the process, whose last words go to standard error.

    Args:
        what: What is done, for the error.
        limits: What it may take.
        ended: Told the error before the interrupt (False) and before the process is ended (True).
    """
    if min(limits.seconds, limits.megabytes) == float("inf"):
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(done, what, limits, ended), name="limits", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join(timeout=5)


def _watch(
    done: threading.Event, what: str, limits: Limits, ended: Callable[[LimitError, bool], None]
) -> None:
    end = time.monotonic() + limits.seconds
    while not done.wait(_WATCH_SECONDS):
        used = resident_megabytes()
        if time.monotonic() > end:
            error = _error(f"{what} took longer than {limits.seconds:g} s", "run_time", limits)
        elif used > limits.megabytes:
            took = f"{what} took {used:,.0f} MiB of memory, more than {limits.megabytes:,.0f}"
            error = _error(took, "memory_mb", limits)
        else:
            continue
        with contextlib.suppress(Exception):  # what cannot be told ends all the same
            ended(error, False)
        os.kill(os.getpid(), signal.SIGINT)
        if not done.wait(_GRACE_SECONDS):
            with contextlib.suppress(Exception):
                ended(error, True)
            print(
                f"LimitError: {error}\nIts code did not give way, so the process was ended.",
                file=sys.__stderr__,
                flush=True,
            )
            os._exit(137)
        return


def _error(what: str, setting: str, limits: Limits) -> LimitError:
    return LimitError(
        f"{what}, so it was ended",
        where=f"limits.{setting} in {limits.where}",
        fix="make its slowest or largest step cheaper, or raise the limit; what was done before stays",
    )


def resident_megabytes(pid: int | str = "self") -> float:
    """Resident memory of a process (MiB), this one by default; 0 where there is no ``/proc``."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    line = next((n for n in text.splitlines() if n.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024
