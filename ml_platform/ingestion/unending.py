"""Code of a use case does not end the process that runs it: ``os._exit(0)`` would read as success."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

_END = os._exit
_FAILED = 70
_KEPT: dict[int, set[int]] = {}
"""Threads that run such code, by process: a fork of one may end as it likes."""


class EndedProcess(SystemExit):
    """Code has asked for the end of its process by ``os._exit``."""

    def __str__(self) -> str:
        return f"os._exit({self.code})"


@contextlib.contextmanager
def kept_running() -> Iterator[None]:
    """Let ``os._exit`` raise meanwhile, as ``sys.exit`` does.

    In another thread, where nobody would catch it, it ends the process; but never as if all had gone well.

    Raises:
        EndedProcess: Instead of the process's end.
    """
    os._exit = _end  # stays: what was imported meanwhile may hold it; elsewhere it does as it did
    threads = _KEPT.setdefault(os.getpid(), set())
    mine = threading.get_ident()
    if mine in threads:
        yield
        return
    threads.add(mine)
    try:
        yield
    finally:
        threads.discard(mine)


def _end(status: Any) -> NoReturn:
    threads = _KEPT.get(os.getpid())
    if threads and threading.get_ident() in threads:
        raise EndedProcess(status)
    if threads and not status:
        with contextlib.suppress(Exception):
            print("A thread of feed code ended the process by os._exit(0).", file=sys.__stderr__, flush=True)
        status = _FAILED
    _END(status)
