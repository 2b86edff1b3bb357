"""A stretch of production, played day by day on a replay clock, and what other policies would have made.

Ingestion depends on no decision, so it runs ahead in a process of its own, day by day too: accepted feeds are
bitemporal, and each day's stages see what had become visible by that day's cutoff.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from queue import Empty
from typing import Any

import numpy as np
import pyarrow as pa

from ml_platform.config import UseCase
from ml_platform.datasets.versions import labelled_rows
from ml_platform.errors import NotReadyError, PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.asked import mark_ended, running
from ml_platform.lifecycle.guard.days import Day, compute_features, finish_day, first_champion, play_day
from ml_platform.lifecycle.guard.records import verdicts
from ml_platform.lifecycle.guard.retraining import follow
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.training_data import ensure_views
from ml_platform.modeling import bundle
from ml_platform.modeling.frames import daily_losses
from ml_platform.modeling.model import Model
from ml_platform.modeling.train import train
from ml_platform.registry import promotions
from ml_platform.registry.promotions import champion
from ml_platform.storage.parquet import read_table


@dataclass(frozen=True)
class Policy:
    """How one policy did over the same days.

    Attributes:
        name: ``guarded``, ``never``, ``every 28`` ...
        loss: Mean over days.
        trainings: Trainings after the first champion.
        by_day: Log loss by partition.
    """

    name: str
    loss: float
    trainings: int
    by_day: Mapping[str, float]


def replay(
    platform: Platform,
    target: Target,
    first: str,
    last: str,
    *,
    promote_at: datetime | None = None,
    progress: Callable[[str], None] = lambda _: None,
    ahead: bool = True,
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
        _Ingestion(platform, use_case, keys, ahead=ahead) as ingestion,
        platform.keeping_feeds(),
        ThreadPoolExecutor(1) as beside,
    ):
        features_of = _FeaturesAhead(beside, ingestion, keys)
        for key in keys:
            now = use_case.cutoff(key)
            ingestion.wait_for(key, now)
            platform.clock(use_case).set(now, back=_fresh(platform, use_case))
            note = _first(platform, target, now, promote_at)
            day = play_day(platform, target, key, now, progress, features_of)
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

    def __init__(self, platform: Platform, use_case: UseCase, keys: Sequence[str], *, ahead: bool) -> None:
        self.platform, self.use_case, self.keys = platform, use_case, keys
        self.context = multiprocessing.get_context("spawn")
        self.process: Any = None
        self.done: set[str] = set()
        self.failure: dict[str, str] | None = None
        if ahead:
            self.queue: Any = self.context.Queue()
            self.process = self.context.Process(
                target=ingest_days,
                args=(dict(platform.environment), use_case.name, list(keys), self.queue),
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


def ingest_days(environment: dict[str, str], use_case_name: str, keys: list[str], queue: Any) -> None:
    """Body of the process that ingests: each day as of its cutoff; tells the queue each day's key."""
    platform = Platform(environment)
    try:
        use_case = platform.use_case(use_case_name)
        for key in keys:
            ingest(platform, use_case, [key], use_case.cutoff(key))
            queue.put(key)
    except PlatformError as error:
        queue.put({"what": error.what, "where": error.where, "fix": error.fix})


class _FeaturesAhead:
    """Computes the next day's features while a day is being judged: they depend on no decision.

    Only once the next day has been ingested; where other partitions are then asked for than were foreseen,
    what was computed is left.
    """

    def __init__(self, beside: ThreadPoolExecutor, ingestion: _Ingestion, keys: Sequence[str]) -> None:
        self.beside, self.ingestion = beside, ingestion
        self.next = dict(pairwise(keys))
        self.foreseen: tuple[list[str], Future[dict[str, pa.Table]]] | None = None

    def __call__(
        self, platform: Platform, target: Target, keys: Sequence[str], as_of: datetime
    ) -> Mapping[str, pa.Table]:
        """Features of partitions as known at an instant, computed before where they were foreseen."""
        known, self.foreseen = self.foreseen, None
        if known is not None and known[0] == list(keys):
            features = known[1].result()
        else:
            features = compute_features(platform, target, keys, as_of)
        following = self.next.get(keys[-1])
        if following is not None and self.ingestion.is_ahead_of(following):
            wanted = [*list(keys)[-target.model.diagnosis.covariate_partitions :], following]
            then = target.use_case.cutoff(following)
            self.foreseen = (
                wanted,
                self.beside.submit(compute_features, platform, target, wanted, then),
            )
        return features


# --- other policies -----------------------------------------------------------------------------


def policies(
    platform: Platform,
    target: Target,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Policy]:
    """What was served, beside never retraining and retraining by the calendar, on the same matured days.

    Every policy has the same recipe and window. ``never`` keeps the first champion; a calendar policy refits
    to the last mature partition of each day it trains on, the first day included; its periods are a setting.
    """
    served = platform.ledger.heads(predictions_asset(target))
    last = target.use_case.last_mature(target.model, as_of)
    days = sorted(k for k in served if k <= last)
    if not days:
        return []
    use_case = target.use_case
    mature = use_case.last_mature(target.model, use_case.cutoff(days[0]))
    needed = use_case.scheme.keys(use_case.trained_on(target.model, mature)[0], last)
    progress(f"building what is missing of {len(needed)} partitions")
    ensure_views(platform, target, needed, as_of)
    rows = _examples(platform, target, needed)
    truth = {k: rows[k] for k in days if k in rows}
    line = promotions.history(platform.ledger, target.key)
    trainings = sum(p.action == "promotion" for p in line)
    found = [_guarded(platform, target, truth, trainings)]
    first = line[-1]
    model = bundle.from_bytes(platform.lake.get(first.model_digest), first.model_digest)
    found.append(_policy("never", 0, {k: (t, model.predict(t)) for k, t in truth.items()}, target))

    @cache  # calendars meet on some days, the first one among them
    def fitted(day: str) -> Model:
        return _fit(target, rows, day)

    for period in target.model.retraining.comparison_periods:
        progress(f"every {period}")
        found.append(_calendar(target, rows, list(truth), period, fitted))
    return found


def _examples(platform: Platform, target: Target, keys: Sequence[str]) -> dict[str, pa.Table]:
    use_case = target.use_case
    features = platform.ledger.heads(f"{use_case.name}/features", keys)
    labels = platform.ledger.heads(f"{use_case.name}/labels", keys)
    found = {}
    for key in keys:
        if key in features and key in labels:
            found[key] = labelled_rows(
                read_table(platform.lake.get(features[key].digest)),
                read_table(platform.lake.get(labels[key].digest)),
                use_case.config.views.key,
                target.model.label.column,
            )
    return found


def _guarded(platform: Platform, target: Target, truth: Mapping[str, pa.Table], trainings: int) -> Policy:
    scored = {}
    key = ["partition_key", *target.use_case.config.views.key]
    heads = platform.ledger.heads(predictions_asset(target), truth)
    for name, rows in truth.items():
        served = read_table(platform.lake.get(heads[name].digest))
        served = served.select(list(dict.fromkeys([*key, *target.kind.names()])))
        joined = rows.join(served, keys=key, join_type="inner").combine_chunks()
        scored[name] = (joined, target.kind.scores(joined))
    return _policy("guarded", trainings, scored, target)


def _calendar(
    target: Target,
    rows: Mapping[str, pa.Table],
    days: Sequence[str],
    period: int,
    fitted: Callable[[str], Model],
) -> Policy:
    scored, trainings = {}, 0
    for start in range(0, len(days), period):
        model = fitted(days[start])
        trainings += start > 0
        for day in days[start : start + period]:
            scored[day] = (rows[day], model.predict(rows[day]))
    return _policy(f"every {period}", trainings, scored, target)


def _fit(target: Target, rows: Mapping[str, pa.Table], day: str) -> Model:
    """The recipe on the window up to the last partition that is mature at a day's cutoff."""
    use_case = target.use_case
    last = use_case.last_mature(target.model, use_case.cutoff(day))
    keys = use_case.trained_on(target.model, last)
    window = pa.concat_tables([rows[k] for k in keys if k in rows])
    return train(
        window,
        target.model,
        model_key=target.key,
        dataset_version="policy",
        code_versions=compiled_views(use_case).by_name,
        keys=use_case.config.views.key,
    ).model


def _policy(
    name: str, trainings: int, scored: Mapping[str, tuple[pa.Table, np.ndarray]], target: Target
) -> Policy:
    by_day: dict[str, float] = {}
    for rows, scores in scored.values():
        codes = target.kind.labels(rows, target.model.label.column)
        by_day |= daily_losses(target.kind, rows["partition_key"].to_numpy(), codes, scores)
    return Policy(name, float(np.mean(list(by_day.values()))), trainings, by_day)
