"""A stretch of production, played day by day on a replay clock.

Ingestion depends on no decision, so it runs ahead in a process of its own, day by day too: accepted feeds are
bitemporal, and each day's stages see what had become visible by that day's cutoff.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from queue import Empty
from typing import Any

from ml_platform.config import UseCase
from ml_platform.errors import NotReadyError, PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.asked import mark_ended, running
from ml_platform.lifecycle.guard.days import Day, feature_partitions, finish_day, first_champion, play_day
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.policies import fit_calendars
from ml_platform.lifecycle.guard.records import verdicts
from ml_platform.lifecycle.guard.retraining import follow
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.maturity import label_keys
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry.promotions import champion

_NICENESS = 10
"""How much less urgent the fits of the calendars are than what is being played."""


def replay(
    platform: Platform,
    target: Target,
    first: str,
    last: str,
    *,
    promote_at: datetime | None = None,
    progress: Callable[[str], None] = lambda _: None,
    ahead: bool = True,
    compare: bool = False,
) -> Iterator[Day]:
    """Play partitions one by one: each at its cutoff; days that have been played are left out.

    What the last day's verdict asked for and a kill prevented is carried out first.

    Args:
        platform: The stores; the timeline of the use case must have a replay clock.
        target: The model.
        first: First partition.
        last: Last one.
        promote_at: The instant from which a first champion is trained; as soon as enough is mature if None.
        progress: Told what an action is doing.
        ahead: Let another process ingest; off in a sandbox, whose world lives in this process.
        compare: Let that process then make the fits that :func:`.policies.policies` is going to ask for.

    Raises:
        PlatformError: The timeline follows the wall clock.
    """
    use_case = target.use_case
    keys = _to_play(platform, target, use_case.scheme.keys(first, last))
    _close_attempts(platform, target)
    left = finish_day(platform, target, platform.clock(use_case).now(), progress)
    if left is not None:
        yield left
    if not keys:
        return
    _catch_up(platform, use_case, keys[0])
    with (
        _Ingestion(platform, use_case, keys, ahead=ahead, fits=target if compare else None) as ingestion,
        platform.keeping_feeds(),
        _ViewsAhead(platform, target, ingestion, keys) as views_ahead,
    ):
        for key in keys:
            now = use_case.cutoff(key)
            ingestion.wait_for(key, now)
            platform.clock(use_case).set(now, back=_fresh(platform, use_case))
            note = _first(platform, target, now, promote_at)
            views_ahead.foresee(key)
            day = play_day(platform, target, key, now, progress)
            yield Day(key, day.rows, day.diagnosed, day.attempt, day.refusal, note or day.note)


def _to_play(platform: Platform, target: Target, keys: Sequence[str]) -> list[str]:
    """Partitions after the last one on which a verdict was given at its own cutoff."""
    use_case = target.use_case
    if use_case.config.timeline.clock != "replay":
        raise PlatformError(
            f"timeline '{use_case.config.timeline.name}' follows the wall clock and cannot be replayed",
            where=use_case.name,
            fix="set `timeline.clock: replay` in use_case.yaml, or wait",
        )
    if _fresh(platform, use_case):
        return list(keys)
    now = platform.clock(use_case).now()
    judged = any(v.as_of == now for v in verdicts(platform, target))
    return [k for k in keys if use_case.cutoff(k) > now or (use_case.cutoff(k) == now and not judged)]


def _close_attempts(platform: Platform, target: Target) -> None:
    """Close what a replay that was killed has left running: it would refuse all others for good."""
    for attempt in running(platform, target):
        promotion = mark_ended(platform, attempt, "the replay that made it ended")
        if promotion is not None:
            follow(platform, target, promotion, attempt.as_of)


def _fresh(platform: Platform, use_case: UseCase) -> bool:
    """No prediction has been made and no verdict been given: the clock may still be set anywhere."""
    targets = [Target(use_case, m) for m in use_case.config.models]
    return not any(
        platform.ledger.heads(predictions_asset(t)) or champion(platform.ledger, t.key) for t in targets
    )


def _catch_up(platform: Platform, use_case: UseCase, first: str) -> None:
    """Land and accept at once what came before the first day, unless that was done."""
    feed = next(f for f in use_case.config.feeds if not f.static)
    scheme = use_case.scheme
    start = scheme.first_key
    known = platform.ledger.heads(views.accepted_asset(feed.name))
    earlier = [k for k in scheme.keys(start, first)[:-1] if k not in known]
    if earlier:
        ingest(platform, use_case, earlier, use_case.cutoff(first), static=True)


def _first(platform: Platform, target: Target, now: datetime, promote_at: datetime | None) -> str:
    """Train the first champion when its time has come; says what came of it."""
    if champion(platform.ledger, target.key) is not None or (promote_at and now < promote_at):
        return ""
    try:
        return first_champion(platform, target, now).sentence()
    except NotReadyError as error:
        return f"no champion yet: {error.what}"


class _Ingestion:
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
                target=ingest_days,
                args=(
                    dict(platform.environment),
                    use_case.name,
                    list(keys),
                    self.queue,
                    fits.model.name if fits else None,
                ),
                daemon=True,
            )

    def __enter__(self) -> _Ingestion:
        if self.process is not None:
            self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
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
            ingest(platform, use_case, [key], use_case.cutoff(key))
            queue.put(key)
    except PlatformError as error:
        queue.put({"what": error.what, "where": error.where, "fix": error.fix})
        return
    if fits is None:
        return
    os.nice(_NICENESS)  # what is being played comes first
    target = Target(use_case, use_case.model(fits))
    while not (served := platform.ledger.digests(predictions_asset(target))):
        time.sleep(1)  # the process that plays ends this one where no champion comes
    days = use_case.scheme.keys(min(served), keys[-1])
    # What is wrong here is told where the fits are asked for.
    with contextlib.suppress(PlatformError):
        for _ in fit_calendars(platform, target, days, use_case.cutoff(keys[-1])):
            pass


class _ViewsAhead:
    """Computes the next day's features and labels while a day is being judged: they depend on no decision.

    Only once the next day has been ingested; where other partitions are then asked for than were foreseen,
    what was computed is left.
    """

    def __init__(
        self, platform: Platform, target: Target, ingestion: _Ingestion, keys: Sequence[str]
    ) -> None:
        self.platform, self.target, self.ingestion = platform, target, ingestion
        self.next = dict(pairwise(keys))
        self.beside = ThreadPoolExecutor(1)

    def __enter__(self) -> _ViewsAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self.platform.foreseen.clear()
        self.beside.shutdown(cancel_futures=True)

    def foresee(self, key: str) -> None:
        """Begin with what the day after ``key`` is going to ask for; ``key`` itself is about to be played."""
        use_case, following = self.target.use_case, self.next.get(key)
        asked, now = self.platform.foreseen, use_case.cutoff(key)
        for left in [a for a in asked if a[-1] < now]:
            asked.pop(left).cancel()
        promotion = champion(self.platform.ledger, self.target.key, now)
        if promotion is None or following is None or not self.ingestion.is_ahead_of(following):
            return
        then = use_case.cutoff(following)
        served = feature_partitions(self.platform, self.target, key)
        window = [*served[-self.target.model.diagnosis.covariate_partitions :], following]
        scored = Live(self.platform, self.target, now, promotion).by_champion or [key]
        labelled = views.reached(use_case, label_keys(self.target, then, scored[0]), then)
        views.foresee(self.platform, use_case, "features", window, then, self.beside)
        views.foresee(self.platform, use_case, "labels", labelled, then, self.beside)
