"""The demo: a use case's first months, played as real runs on the Dagster instance.

Three runs: the lifecycle up to the first champion, the days that it served, and the look back once their
labels are mature. A run that has succeeded is recognised and not played again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, Definitions, RunsFilter

from ml_platform.config import DemoConfig, UseCase, project_root
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.jobs import job_name
from ml_platform.orchestration.local_runs import run_job

TAG = "ml_platform/demo"


@dataclass(frozen=True)
class Act:
    """One run of the demo: its job, its partitions, and where the clock stands."""

    title: str
    job: str
    partitions: tuple[str, str]
    clock: datetime


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
    Path(os.environ["ML_PLATFORM_DAGSTER_DIR"]).mkdir(parents=True, exist_ok=True)
    return DagsterInstance.get()


def acts(use_case: UseCase, demo: DemoConfig) -> list[Act]:
    """What the demo of a use case consists of."""
    scheme = use_case.scheme
    serve_first, serve_last = demo.serve_first.isoformat(), demo.serve_last.isoformat()
    built = demo.build_from.isoformat() if demo.build_from else scheme.first_key
    after, judged = scheme.shift(serve_last, 1), scheme.key_at(demo.judge_at)
    history = [
        Act("history for the features", "land", (scheme.first_key, scheme.shift(built, -1)), demo.promote_at)
    ]
    return [
        *(history if built > scheme.first_key else []),
        Act("lifecycle to the first champion", "lifecycle", (built, serve_first), demo.promote_at),
        Act(
            "the partitions it served",
            "score_day",
            (scheme.shift(serve_first, 1), serve_last),
            use_case.cutoff(serve_last),
        ),
        Act("the look back on mature labels", "monitor", (after, judged), demo.judge_at),
    ]


def play(
    platform: Platform,
    definitions: Callable[[], Definitions],
    instance: DagsterInstance,
    use_case: UseCase,
    say: Callable[[Act, DagsterEvent | None], None],
) -> Iterator[Played]:
    """Play what has not been played yet; the definitions are loaded only when there is something.

    Where the gates refuse every first candidate there is nothing to serve, and the play ends there.

    Raises:
        PlatformError: A run failed; what it did up to there stays, and playing again goes on from there.
    """
    assert use_case.config.demo is not None
    clock = platform.clock(use_case)
    for act in acts(use_case, use_case.config.demo):
        name, tag = job_name(use_case, act.job), f"{use_case.name}:{act.job}"
        done = _finished(instance, name, tag)
        if done is not None:
            yield Played(act, done.run_id, _durations(instance, done.run_id), 0.0, before=True)
            if act.job != "land" and not _anything_serves(platform, use_case):
                return
            continue
        if clock.now() < act.clock:
            clock.set(act.clock)
        say(act, None)
        started = time.perf_counter()
        run = run_job(
            definitions(),
            instance,
            name,
            partitions=act.partitions,
            tags={TAG: tag},
            on_event=lambda event, act=act: say(act, event),  # type: ignore[misc]
        )
        if run.status != DagsterRunStatus.SUCCESS:
            raise PlatformError(
                f"the run of {name} failed: {_why(instance, run.run_id)}",
                where=f"run {run.run_id}",
                fix="`make dev` shows it; `make demo` goes on from there once the cause is mended",
            )
        wall = time.perf_counter() - started
        yield Played(act, run.run_id, _durations(instance, run.run_id), wall, before=False)
        if act.job != "land" and not _anything_serves(platform, use_case):
            return


def _anything_serves(platform: Platform, use_case: UseCase) -> bool:
    from ml_platform.registry.promotions import champion

    return any(champion(platform.ledger, use_case.model_key(m.name)) for m in use_case.config.models)


def _finished(instance: DagsterInstance, job: str, tag: str) -> DagsterRun | None:
    filters = RunsFilter(job_name=job, tags={TAG: tag}, statuses=[DagsterRunStatus.SUCCESS])
    runs = instance.get_runs(filters, limit=1)
    return runs[0] if runs else None


def _durations(instance: DagsterInstance, run_id: str) -> dict[str, float]:
    stats = instance.get_run_step_stats(run_id)
    return {s.step_key: s.end_time - s.start_time for s in stats if s.start_time and s.end_time}


def _why(instance: DagsterInstance, run_id: str) -> str:
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return error.message.strip() if error else "no message"
    return "no step failed; see the run"
