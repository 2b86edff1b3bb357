"""A stretch of production, played day by day on a replay clock.

Ingestion depends on no decision, so it runs ahead in a process of its own, day by day too: accepted feeds are
bitemporal, and each day's stages see what had become visible by that day's cutoff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

from ml_platform.config import UseCase
from ml_platform.errors import NotReadyError, PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.asked import mark_ended, running
from ml_platform.lifecycle.guard.days import Day, feature_partitions, finish_day, first_champion, play_day
from ml_platform.lifecycle.guard.ingesting_ahead import Ingestion, limits_of
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.records import verdicts
from ml_platform.lifecycle.guard.retraining import follow
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.maturity import label_keys
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.limited import within
from ml_platform.partitions import require_order
from ml_platform.registry.promotions import champion


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
        PlatformError: The timeline follows the wall clock, or a partition is none or beyond the other.
        LimitError: A partition took longer, or more memory, than a run of the use case may.
    """
    use_case = target.use_case
    for key in (first, last):
        use_case.scheme.day(key)
    require_order(first, last, "replay")
    keys = _to_play(platform, target, use_case.scheme.keys(first, last))
    _close_attempts(platform, target)
    left = finish_day(platform, target, platform.clock(use_case).now(), progress)
    if left is not None:
        yield left
    if not keys:
        return
    limits = limits_of(use_case)
    with within("landing what came before", limits):
        _catch_up(platform, use_case, keys[0])
    with (
        Ingestion(platform, use_case, keys, ahead=ahead, fits=target if compare else None) as ingestion,
        platform.keeping_feeds(),
        _ViewsAhead(platform, target, ingestion, keys) as views_ahead,
    ):
        for key in keys:
            now = use_case.cutoff(key)
            with within(f"playing {key}", limits):
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


def next_to_play(platform: Platform, target: Target) -> str:
    """The first partition that a replay would play; one after the data's last where they have ended."""
    scheme = target.use_case.scheme
    here = scheme.key_at(platform.clock(target.use_case).now())
    near = [scheme.shift(here, steps) for steps in range(-1, 3)]
    return _to_play(platform, target, near)[0]


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


class _ViewsAhead:
    """Computes the next day's features and labels while a day is being judged: they depend on no decision.

    Only once the next day has been ingested; where other partitions are then asked for than were foreseen,
    what was computed is left.
    """

    def __init__(self, platform: Platform, target: Target, ingestion: Ingestion, keys: Sequence[str]) -> None:
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
