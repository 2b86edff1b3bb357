"""Ingestion of a stretch of production ahead of the stages, in a process of its own.

What this module imports that process imports too: landing and acceptance, and none of the other stages.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from multiprocessing import connection
from queue import Empty
from typing import Any

from ml_platform.config import UseCase
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.limited import Limits, within

_NICENESS = 10
"""How much less urgent the fits of the calendars are than what is being played."""
_PATIENCE = 20
"""Seconds in which the process may clean up when it is no longer needed."""


def limits_of(use_case: UseCase) -> Limits:
    """What playing one partition may take: no more than a run of the use case."""
    limits = use_case.config.limits
    return Limits(limits.run_time.total_seconds(), limits.memory_mb, f"{use_case.folder}/use_case.yaml")


class Ingestion:
    """Lands and accepts day by day, in another process where that is possible."""

    def __init__(
        self,
        platform: Platform,
        use_case: UseCase,
        keys: Sequence[str],
        *,
        ahead: bool,
        fits: Target | None = None,
    ) -> None:
        self.platform, self.use_case, self.keys = platform, use_case, keys
        self.context = multiprocessing.get_context("spawn")
        self.process: Any = None
        self.done: set[str] = set()
        self.failure: dict[str, str] | None = None
        if ahead:
            self.queue: Any = self.context.Queue()
            self.process = self.context.Process(
                target=_process,
                args=(
                    dict(platform.environment),
                    use_case.name,
                    list(keys),
                    self.queue,
                    fits.model.name if fits else None,
                ),
                daemon=True,
            )

    def __enter__(self) -> Ingestion:
        if self.process is not None:
            self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
            self.process.join(_PATIENCE)
            self.process.kill()
            self.process.join()

    def is_ahead_of(self, key: str) -> bool:
        """Whether another process has already ingested a day."""
        while self.process is not None and key not in self.done:
            try:
                word = self.queue.get_nowait()
            except Empty:
                return False
            self._heard(word)
        return key in self.done

    def wait_for(self, key: str, now: datetime) -> None:
        """Return when a day has been ingested.

        Raises:
            PlatformError: The other process failed; its error is passed on.
        """
        if self.process is None:
            ingest(self.platform, self.use_case, [key], now)
            return
        while key not in self.done:
            if self.failure is not None:
                raise PlatformError(
                    self.failure["what"], where=self.failure["where"], fix=self.failure["fix"]
                )
            try:
                word = self.queue.get(timeout=1)
            except Empty:
                if not self.process.is_alive():
                    raise PlatformError("the process that lands and accepts ended early", where=key) from None
                continue
            self._heard(word)

    def _heard(self, word: str | dict[str, str]) -> None:
        if isinstance(word, dict):
            self.failure = word  # told when the day is due that it kept from being ingested
        else:
            self.done.add(word)


def _process(*given: Any) -> None:
    """Ends when told to, as if by itself: of what a killed one leaves behind Python would warn its user.

    It ends when the replay was killed, too: nobody would hear what it ingests, and feed code may loop.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ingest_days(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def ingest_days(
    environment: dict[str, str], use_case_name: str, keys: list[str], queue: Any, fits: str | None = None
) -> None:
    """Body of the process that ingests: each day as of its cutoff; tells the queue each day's key.

    Then it makes the fits of a model's calendars, once the model has served its first day.
    """
    platform = Platform(environment)
    try:
        use_case = platform.use_case(use_case_name)
        for key in keys:
            with within(f"landing and accepting {key}", limits_of(use_case)):
                ingest(platform, use_case, [key], use_case.cutoff(key))
            queue.put(key)
    except PlatformError as error:
        queue.put({"what": error.what, "where": error.where, "fix": error.fix})
        return
    if fits is None:
        return
    from ml_platform.lifecycle.guard.policies import fit_calendars

    os.nice(_NICENESS)  # what is being played comes first
    target = Target(use_case, use_case.model(fits))
    while not (served := platform.ledger.digests(predictions_asset(target))):
        time.sleep(1)  # the process that plays ends this one where no champion comes
    days = use_case.scheme.keys(min(served), keys[-1])
    # What is wrong here is told where the fits are asked for.
    with contextlib.suppress(PlatformError):
        for _ in fit_calendars(platform, target, days, use_case.cutoff(keys[-1])):
            pass
