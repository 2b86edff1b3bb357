"""Plays a use case as real runs on the Dagster instance: ``ml-platform demo`` and ``ml-platform run``.

Where a use case says what is played (``demo``), three runs: the lifecycle up to the first champion, the
partitions that it served, and the look back once their labels are known. Otherwise, after an edit, and for
models that the demo left out, one: the lifecycle as of now. A run that has succeeded is recognised and not
played again. Where only time has passed since a model was trained, none is trained: day by day a new one
would be promoted past the guards.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    RunsFilter,
)
from filelock import FileLock

from ml_platform.config import DemoConfig, UseCase, project_root
from ml_platform.errors import NotReadyError, PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle.feed_contracts import contract_digests
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.orchestration.causes import limit_of, step_words
from ml_platform.orchestration.failures import failed_steps, tell
from ml_platform.orchestration.jobs import MONITORING, TRAINING, job_name
from ml_platform.orchestration.local_runs import run_job

TAG = "ml_platform.demo"
_TRAINED = "ml_platform.trained"
_LIFECYCLE = "lifecycle"


@dataclass(frozen=True)
class Act:
    """One run of a use case.

    Attributes:
        title: What it is, for people.
        job: Its job.
        partitions: First and last partition.
        clock: Where the clock stands; ``None`` leaves it where it is.
        watched: Whether the monitors look; where a later act looks back on the same partitions they need not.
        models: Names of the models that are played.
        trains: Whether candidates are trained, judged and promoted.
    """

    title: str
    job: str
    partitions: tuple[str, str]
    clock: datetime | None
    watched: bool = True
    models: tuple[str, ...] = ()
    trains: bool = True


@dataclass(frozen=True)
class Played:
    """An act that is done: seconds by step, and whether it had been done before."""

    act: Act
    run_id: str
    seconds: dict[str, float]
    wall: float
    before: bool


def open_instance(platform: Platform) -> DagsterInstance:
    """The Dagster instance that ``make dev`` shows; its settings are the checkout's ``dagster.yaml``."""
    os.environ.setdefault("DAGSTER_HOME", str(project_root()))
    os.environ.setdefault("ML_PLATFORM_DAGSTER_DIR", str(platform.home / "dagster"))
    folder = Path(os.environ["ML_PLATFORM_DAGSTER_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    # Dagster creates its tables without a lock: of two processes that open it first, one would fail.
    with FileLock(folder / ".opening.lock"):
        return DagsterInstance.get()


def acts(use_case: UseCase, demo: DemoConfig, models: Sequence[str]) -> list[Act]:
    """What the demo of a use case consists of, for some of its models."""
    scheme = use_case.scheme
    serve_first, serve_last = (scheme.key_of(d) for d in (demo.serve_first, demo.serve_last))
    built = scheme.key_of(demo.build_from) if demo.build_from else scheme.first_key
    after, judged = scheme.shift(serve_last, 1), scheme.key_at(demo.judge_at)
    judged = max(after, judged if scheme.last_key is None else min(judged, scheme.last_key))
    history = [
        Act("history for the features", "land", (scheme.first_key, scheme.shift(built, -1)), demo.promote_at)
    ]
    found = [
        *(history if built > scheme.first_key else []),
        Act("lifecycle to the first champion", _LIFECYCLE, (built, serve_first), demo.promote_at, False),
        Act(
            "the partitions it served",
            "score_day",
            (scheme.shift(serve_first, 1), serve_last),
            use_case.cutoff(serve_last),
            watched=False,
        ),
        Act("the look back on mature labels", "monitor", (after, judged), demo.judge_at),
    ]
    return [replace(act, models=tuple(models)) for act in found]


def planned(
    platform: Platform, instance: DagsterInstance, use_case: UseCase, models: Sequence[str]
) -> list[Act]:
    """What is to be played now: the demo from where it stopped, and what has no part in it as of now."""
    now, demo = platform.clock(use_case).now(), use_case.config.demo
    found: list[Act] = []
    if demo is not None:
        firsts = {m: acts(use_case, demo, [m])[0] for m in models}
        part = [
            m
            for m, first in firsts.items()
            if now <= demo.promote_at or _finished(instance, use_case, first) is not None
        ]
        found = acts(use_case, demo, part) if part else []
        models = [m for m in models if m not in part]
        now = max(now, demo.judge_at) if part else now
    if models:
        partitions = _reached(use_case, now)
        settled = tuple(m for m in models if _is_settled(platform, instance, use_case, m))
        rest = tuple(m for m in models if m not in settled)
        for title, each, trains in (
            ("the lifecycle as of now", rest, True),
            ("what has come since", settled, False),
        ):
            found += [Act(title, _LIFECYCLE, partitions, None, models=each, trains=trains)] if each else []
    return found


def _is_settled(platform: Platform, instance: DagsterInstance, use_case: UseCase, model: str) -> bool:
    """Whether a model of today's settings, contracts and SQL was trained, and one serves or waits."""
    from ml_platform.lifecycle.awaiting import waiting
    from ml_platform.registry.promotions import champion

    target = Target(use_case, use_case.model(model))
    if champion(platform.ledger, target.key) is None and waiting(platform, target) is None:
        return False
    trained = RunsFilter(
        job_name=job_name(use_case, _LIFECYCLE),
        tags={f"{_TRAINED}/{model}": _edition(use_case)},
        statuses=[DagsterRunStatus.SUCCESS],
    )
    return bool(instance.get_runs(trained, limit=1))


def _reached(use_case: UseCase, now: datetime) -> tuple[str, str]:
    """The partitions whose cutoff has come."""
    scheme = use_case.scheme
    key = scheme.key_at(now) if scheme.last_key is None else min(scheme.key_at(now), scheme.last_key)
    while key >= scheme.first_key and use_case.cutoff(key) > now:
        key = scheme.shift(key, -1)
    if key < scheme.first_key:
        raise NotReadyError(
            f"no partition of {use_case.name} has been reached yet: it is {now.isoformat()}",
            where=f"timeline {use_case.config.timeline.name}",
            fix=f"wait for the first cutoff, {use_case.cutoff(scheme.first_key).isoformat()}",
        )
    return scheme.first_key, key


def play(
    platform: Platform,
    definitions: Callable[[], Definitions],
    instance: DagsterInstance,
    use_case: UseCase,
    models: Sequence[str],
    say: Callable[[Act, DagsterEvent | None], None],
) -> Iterator[Played]:
    """Play what has not been played yet; the definitions are loaded only when there is something.

    Where the gates refuse every first candidate there is nothing to serve, and the play ends there.

    Args:
        platform: The stores.
        definitions: The code location.
        instance: Where runs are recorded.
        use_case: What to play.
        models: Names of the models to play.
        say: Told each act as it begins, and each of its events.

    Raises:
        PlatformError: A run failed; its owner has been told, what it did up to there stays, and playing again
            goes on from there.
    """
    clock = platform.clock(use_case)
    for act in planned(platform, instance, use_case, models):
        name = job_name(use_case, act.job)
        done = _finished(instance, use_case, act)
        if done is not None:
            yield Played(act, done.run_id, _durations(instance, done.run_id), 0.0, before=True)
            if act.job != "land" and not _anything_serves(platform, use_case):
                return
            continue
        if act.clock is not None and clock.now() < act.clock:
            clock.set(act.clock)
        say(act, None)
        started = time.perf_counter()
        run = run_job(
            definitions(),
            instance,
            name,
            partitions=act.partitions,
            tags={**_tags(use_case, act), **_trained(use_case, act)},
            assets=played_assets(use_case, act),
            on_event=lambda event, act=act: say(act, event),  # type: ignore[misc]
        )
        if run.status != DagsterRunStatus.SUCCESS:
            why = _why(instance, run)
            told = "; ".join(tell(platform, instance, run, use_case.config.owner))
            raise PlatformError(
                f"the run of {name} failed: {why}\n  run:   {run.run_id}, which `make dev` shows; once the "
                f"cause is mended the same command goes on from there\n  told:  {told}"
            )
        wall = time.perf_counter() - started
        yield Played(act, run.run_id, _durations(instance, run.run_id), wall, before=False)
        if act.job != "land" and not _anything_serves(platform, use_case):
            return


def played_assets(use_case: UseCase, act: Act) -> Callable[[AssetKey], bool] | None:
    """Which assets of a job are played: those of the act's models, and monitors where it is watched."""
    others = {m.name for m in use_case.config.models} - set(act.models)
    left_out = {*(() if act.watched else MONITORING), *(() if act.trains else TRAINING)}
    if not others and not left_out:
        return None

    def played(key: AssetKey) -> bool:
        of_model = key.path[0] == use_case.name and len(key.path) > 2
        return not (of_model and (key.path[1] in others or key.path[2] in left_out))

    return played


def _anything_serves(platform: Platform, use_case: UseCase) -> bool:
    from ml_platform.registry.promotions import champion

    return any(champion(platform.ledger, use_case.model_key(m.name)) for m in use_case.config.models)


def _tags(use_case: UseCase, act: Act) -> dict[str, str]:
    """What an act is recognised by, for each of its models: an edit of the use case makes it another one."""
    told = f"{use_case.name}:{act.job}:{act.partitions[1]}:{_edition(use_case)}"
    return {f"{TAG}/{m}": told for m in act.models}


def _trained(use_case: UseCase, act: Act) -> dict[str, str]:
    """Of which edition models were trained, by model."""
    if act.job != _LIFECYCLE or not act.trains:
        return {}
    return dict.fromkeys((f"{_TRAINED}/{m}" for m in act.models), _edition(use_case))


def _edition(use_case: UseCase) -> str:
    """A digest of what a person edits: settings, contracts and SQL."""
    said = [use_case.config.model_dump_json(), *sorted(contract_digests(use_case).values())]
    said += compiled_views(use_case).versions
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


def _finished(instance: DagsterInstance, use_case: UseCase, act: Act) -> DagsterRun | None:
    """The last of the runs that played an act, where that is done for all of its models."""
    found: dict[str, DagsterRun] = {}
    for name, value in _tags(use_case, act).items():
        filters = RunsFilter(
            job_name=job_name(use_case, act.job),
            tags={name: value},
            statuses=[DagsterRunStatus.SUCCESS],
        )
        runs = instance.get_runs(filters, limit=1)
        if not runs:
            return None
        found[name] = runs[0]
    return next(reversed(found.values()), None)


def _durations(instance: DagsterInstance, run_id: str) -> dict[str, float]:
    stats = instance.get_run_step_stats(run_id)
    return {s.step_key: s.end_time - s.start_time for s in stats if s.start_time and s.end_time}


def _why(instance: DagsterInstance, run: DagsterRun) -> str:
    """The first cause of a run's end, as the platform's errors tell it: what, where, fix."""
    if limit := limit_of(run):
        return limit
    for event in failed_steps(instance, run):
        return step_words(event)
    return "no step failed; see the run"
