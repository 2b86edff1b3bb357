"""Failure domains: a use case's runs wait only for each other, and end when they take too long or too much.

Each use case has a pool, so that its runs queue behind its own and never behind another's. Time and memory
are tags of its runs. Dagster's daemon ends runs past ``dagster/max_runtime`` that it launched; a watch in the
run's own process does the same for runs in a terminal, and for memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping

from dagster import MAX_RUNTIME_SECONDS_TAG

from ml_platform.config import UseCase
from ml_platform.limited import resident_megabytes

MEMORY_TAG = "ml_platform/max_memory_mb"
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 30.0
_log = logging.getLogger(__name__)


def pool_of(use_case: UseCase) -> str:
    """The pool of the use case's views and models; feeds have none, because use cases may share them."""
    return f"use_case_{use_case.name}"


def limit_tags(use_case: UseCase) -> dict[str, str]:
    """Tags that limit a run of the use case."""
    limits = use_case.config.limits
    return {
        MAX_RUNTIME_SECONDS_TAG: str(int(limits.run_time.total_seconds())),
        MEMORY_TAG: str(limits.memory_mb),
    }


@contextlib.contextmanager
def watched(tags: Mapping[str, str]) -> Iterator[None]:
    """Interrupt this process while it runs past the limits that some tags set.

    The interrupt is raised in the main thread, as Ctrl-C would be, so that the run is recorded as failed.
    Code that does not give way to it ends with the process.
    """
    seconds = float(tags.get(MAX_RUNTIME_SECONDS_TAG) or "inf")
    megabytes = float(tags.get(MEMORY_TAG) or "inf")
    if min(seconds, megabytes) == float("inf"):
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(done, seconds, megabytes), name="run-limits", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join(timeout=5)


def _watch(done: threading.Event, seconds: float, megabytes: float) -> None:
    end = time.monotonic() + seconds
    while not done.wait(_POLL_SECONDS):
        used = resident_megabytes()
        if time.monotonic() > end:
            why = f"the run took longer than {seconds:g} s"
        elif used > megabytes:
            why = f"the run took {used:,.0f} MiB of memory, more than {megabytes:,.0f}"
        else:
            continue
        _log.error("%s: it is ended (`limits` in use_case.yaml)", why)
        os.kill(os.getpid(), signal.SIGINT)
        if not done.wait(_GRACE_SECONDS):
            _log.critical("%s and does not end: its process is", why)
            os._exit(137)
        return
