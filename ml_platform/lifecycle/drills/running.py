"""Plays drills: each scenario from one clean prefix, day by day through the real stages, then judged."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from ml_platform.config import load_use_case
from ml_platform.errors import ConfigError, NotFoundError, NotReadyError
from ml_platform.lifecycle.drills.incidents import SCENARIOS
from ml_platform.lifecycle.drills.mapping import DrillMap, drill_map
from ml_platform.lifecycle.drills.sandbox import (
    Prefix,
    default_onset,
    make_prefix,
    opened,
    read_prefix,
    redefined,
    replayed,
)
from ml_platform.lifecycle.drills.scenario import (
    DEFAULT_SEVERITY,
    FRESHNESS,
    DrillContext,
    Scenario,
    settling,
)
from ml_platform.lifecycle.drills.world import Feeds
from ml_platform.lifecycle.guard.days import Day, play_day
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Target

PROCESSES = 2


@dataclass(frozen=True)
class Settings:
    """What is asked of a drill.

    Attributes:
        onset: First partition that is changed; a fortnight after the first one served if None.
        severity: In units of the deciding statistic's minimal detectable effect.
        seed: Of the permutation and of everything injected.
        calendar: Keep the real order of days, real drift included; always so for models that the use case's
            map keeps ``in_order``.
        horizon: Partitions after the onset that are played at most; until the cause can be identified and
            the incident's deadline (21) is over if None.
        scenarios: A file with more scenarios.
    """

    onset: str | None = None
    severity: float = DEFAULT_SEVERITY
    seed: int = 1
    calendar: bool = False
    horizon: int | None = None
    scenarios: Path | None = None


@dataclass(frozen=True)
class DayTold:
    """What was said of one partition.

    Attributes:
        partition: The partition.
        verdict: What was said.
        cause: The cause it named.
        sentence: The diagnosis in one sentence.
        done: What came of it.
        premature: It acts, and nothing could show yet.
        due: A renewal by age, before the cause could be identified: no question of the incident.
    """

    partition: str
    verdict: str
    cause: str
    sentence: str
    done: str
    premature: bool = False
    due: bool = False


@dataclass(frozen=True)
class Result:
    """How a drill ended.

    Attributes:
        name: The scenario.
        truth: Its true cause.
        summary: What was done.
        right_verdicts: Verdicts that would have been right.
        onset: First partition changed.
        severity: In units of the deciding statistic's minimal detectable effect.
        amount: The same in natural units.
        seed: Of everything random.
        calendar: Whether the days were in their real order.
        verdict: The verdict that settled it, else the last one; a wrong one where one was given.
        cause: The cause it named.
        right: Whether it is a right one and none before it was wrong.
        cause_right: Whether the cause named is the true one as well.
        why: Why it is right or wrong.
        partition: The partition of the verdict.
        days: Partitions from the onset to it.
        identifiable_after: Partitions from the onset until the cause can be identified.
        sentence: The diagnosis in one sentence.
        evidence: Its first causes.
        steps: The state of each step.
        actions: What was done or refused about verdicts, by partition.
        told: Verdict by partition.
        seconds: Without the shared prefix.
        error: What failed, if the drill could not be played to its end.
        visible: The effect in units of the smallest that can be seen.
        missed: Nothing wrong was said, and it was not found, because the effect is smaller than can be seen,
            or the data end before it can: neither right nor wrong.
    """

    name: str
    truth: str
    summary: str
    right_verdicts: tuple[str, ...]
    onset: str
    severity: float
    amount: str
    seed: int
    calendar: bool
    verdict: str
    cause: str
    right: bool
    cause_right: bool
    why: str
    partition: str
    days: int
    identifiable_after: int
    sentence: str
    evidence: tuple[str, ...]
    steps: dict[str, str]
    actions: tuple[str, ...]
    told: tuple[DayTold, ...]
    seconds: float
    error: str = ""
    visible: float = 1.0
    missed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def scenarios_of(file: Path | None = None) -> dict[str, type[Scenario]]:
    """The scenarios by name: the nine, and those that a file defines.

    Raises:
        ConfigError: The file cannot be imported, or defines none.
    """
    found = {s.name: s for s in SCENARIOS}
    if file is None:
        return found
    name = f"_drill_scenarios_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.exists():
        raise ConfigError("this is no file of scenarios", where=str(file), fix="name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"the scenarios cannot be imported: {type(error).__name__}: {error}", where=str(file)
        ) from error
    own = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Scenario) and c.__module__ == name and hasattr(c, "name")
    ]
    if not own:
        raise ConfigError(
            "the file defines no scenario",
            where=str(file),
            fix="subclass ml_platform.lifecycle.drills.scenario.Scenario; docs/drills_example.py is one",
        )
    return found | {c.name: c for c in own}


def chosen(names: Sequence[str], file: Path | None = None) -> list[str]:
    """Names of scenarios that exist; all of the nine, and those of the file, when none is named.

    Raises:
        NotFoundError: There is no such scenario.
    """
    known = scenarios_of(file)
    for name in names:
        if name not in known:
            raise NotFoundError(f"there is no drill '{name}'", fix=f"choose one of: {', '.join(known)}")
    return list(names or known)


def inapplicable(target: Target, names: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Scenarios that do not apply to a model, with the reason."""
    mapped, known = drill_map(target), scenarios_of(file)
    found = {}
    for name in names:
        needs = known[name].needs_of.get(target.model.kind, known[name].needs)
        lacking = [key for key in needs if getattr(mapped, key) is None]
        own = mapped.unsuited.get(f"{target.model.name}/{name}") or mapped.unsuited.get(name)
        if own or lacking:
            found[name] = own or _lacking(target, mapped, lacking)
    return found


def _lacking(target: Target, mapped: DrillMap, keys: Sequence[str]) -> str:
    if reasons := list(dict.fromkeys(mapped.absent[k] for k in keys if k in mapped.absent)):
        named = " and ".join(f"`{k}`" for k in keys)
        return f"{'; '.join(reasons)} (a drills.py in the use case's folder could name {named})"
    what = f"{target.use_case.name}/drills.py has no {', '.join(keys)}"
    return f"{what}, which it asks of a {target.model.kind} target"


def in_effect(target: Target, settings: Settings) -> Settings:
    """What is asked, and what the use case's map says of the model."""
    in_order = target.model.name in drill_map(target).in_order
    return replace(settings, calendar=settings.calendar or in_order)


def drill(
    target: Target,
    names: Sequence[str],
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Result]:
    """Play drills in a temporary folder, which is deleted at the end; each result as it is known.

    Several scenarios are played in two processes.

    Args:
        target: The model.
        names: Scenarios, see :func:`chosen`.
        settings: What is asked.
        progress: Told what is being done.

    Raises:
        PartitionError: The onset is no partition of the use case.
        PlatformError: The clean prefix cannot be made.
    """
    if settings.onset is not None:
        target.use_case.scheme.day(settings.onset)
    mapped = drill_map(target)
    settings = in_effect(target, settings)
    onset = settings.onset or default_onset(target, mapped)
    known = scenarios_of(settings.scenarios)
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    pool = ProcessPoolExecutor(
        min(PROCESSES, len(names)), mp_context=_context(), initializer=_begin, initargs=(dict(os.environ),)
    )
    try:
        # Their imports, and compiling changed label code, cost seconds while this process makes the prefix.
        for _ in range(min(PROCESSES, len(names))):
            pool.submit(_warm)
        _ = [
            pool.submit(
                _compile, folder / "dbt", target.use_case.folder, target.model.name, onset, n, settings
            )
            for n in names
            if known[n].label_sql is not Scenario.label_sql
        ]
        bare = _bare(target, mapped, onset, settings)
        spans = {n: _horizon(known[n](), bare, settings) for n in names}
        prefix = make_prefix(
            folder / "prefix",
            target,
            mapped,
            onset,
            max(spans.values()),
            settings.seed,
            calendar=settings.calendar,
            progress=progress,
        )
        # Those that play all their days first: another one ends with its verdict.
        longest_first = sorted(names, key=lambda n: (bool(settling(known[n])), -spans[n]))
        waiting = [
            pool.submit(
                _play_in_process, prefix.folder, target.use_case.folder, target.model.name, name, settings
            )
            for name in longest_first
        ]
        progress(f"playing {len(names)} drill(s)")
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.join(timeout=5)
        shutil.rmtree(folder, ignore_errors=True)


def _bare(target: Target, mapped: DrillMap, onset: str, settings: Settings) -> DrillContext:
    """What is known before the clean world is made."""
    return DrillContext(
        target.use_case, target.model, mapped, onset, settings.severity, settings.seed, _NotMade()
    )


def _compile(folder: Path, use_case: Path, model: str, onset: str, name: str, settings: Settings) -> None:
    """Compile a scenario's label code ahead; code that needs more than settings is compiled when played."""
    target = _target(use_case, model)
    context = _bare(target, drill_map(target), onset, settings)
    redefined(
        replayed(target.use_case, calendar=settings.calendar),
        scenarios_of(settings.scenarios)[name](),
        context,
        folder,
    )


def _target(folder: Path, model: str) -> Target:
    use_case = load_use_case(folder / "use_case.yaml")
    return Target(use_case, use_case.model(model))


class _NotMade:
    """The clean world before it is made."""

    def clean(self, feed: str, key: str) -> Any:
        """Refuse: what a scenario is asked before then must not depend on rows."""
        raise NotReadyError(
            "the clean world has not been made yet",
            where=f"feed {feed}, {key}",
            fix="let `identifiable_after` and `label_sql` of the scenario do without rows",
        )


def _horizon(scenario: Scenario, context: DrillContext, settings: Settings) -> int:
    if settings.horizon is not None:
        return settings.horizon
    return scenario.identifiable_after(context) + context.model.retraining.deadline_partitions


def _context() -> multiprocessing.context.BaseContext:
    """Processes forked from one that has imported what they need, where that can be had."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "lightgbm"])  # in vain where a server runs already
    return context


def _begin(environment: dict[str, str]) -> None:
    """A process that a server forks has the environment in which the server was started."""
    os.environ.clear()
    os.environ.update(environment)
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    logging.disable(logging.WARNING)


def _warm() -> None:
    """Import what the stages need."""
    import lightgbm  # noqa: F401


def _play_in_process(
    prefix: Path, use_case_folder: Path, model: str, name: str, settings: Settings
) -> Result:
    """Body of a process: play one drill."""
    scenario = scenarios_of(settings.scenarios)[name]()
    return play(read_prefix(prefix), _target(use_case_folder, model), scenario, settings)


def play(prefix: Prefix, target: Target, scenario: Scenario, settings: Settings) -> Result:
    """Play one scenario from a copy of the clean prefix."""
    started = perf_counter()
    context = DrillContext(
        use_case=target.use_case,
        model=target.model,
        map=drill_map(target),
        onset=prefix.onset,
        severity=settings.severity,
        seed=settings.seed,
        world=prefix.world,
        visible=prefix.visible,
    )
    folder = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=prefix.folder.parent))
    try:
        copy_home(prefix.folder / "home", folder / "home")
        use_case = redefined(
            replayed(target.use_case, calendar=settings.calendar),
            scenario,
            context,
            prefix.folder.parent / "dbt",
        )
        told, days, error = _days(
            folder / "home", Target(use_case, target.model), scenario, context, settings
        )
        return _judged(scenario, context, settings, told, days, error, perf_counter() - started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _days(
    home: Path, target: Target, scenario: Scenario, context: DrillContext, settings: Settings
) -> tuple[list[DayTold], list[Day], str]:
    """Play days until a verdict settles the drill, a wrong one is given, or the horizon is over."""
    use_case, feeds = target.use_case, Feeds(context.world, scenario, context)
    outside = Outside(served=lambda tables: scenario.served(tables, context))
    platform = opened(home, use_case, feeds, outside)
    last = use_case.scheme.shift(context.onset, _horizon(scenario, context, settings))
    told: list[DayTold] = []
    days: list[Day] = []
    try:
        with platform.keeping_feeds():
            for key in use_case.scheme.keys(context.onset, last):
                now = use_case.cutoff(key)
                ingest(platform, use_case, [key], now)
                platform.clock(use_case).set(now)
                days.append(play_day(platform, target, key, now))
                blind = scenario.shows_in_labels and use_case.last_mature(target.model, now) < context.onset
                told.append(_told(days[-1]))
                early = len(told) <= scenario.identifiable_after(context)
                told[-1] = replace(told[-1], due=early and told[-1].verdict == FRESHNESS)
                if told[-1].verdict in settling(type(scenario)):
                    told[-1] = replace(told[-1], premature=blind)
                    break
                if _is_wrong(scenario, told[-1]):
                    break
    except Exception as error:  # a stage that fails is a result: the drill prints it as wrong
        return told, days, f"{type(error).__name__}: {error}"
    finally:
        platform.ledger.engine.dispose()
        platform.cache.close()
    return told, days, ""


def _told(day: Day) -> DayTold:
    if day.diagnosed is None:
        return DayTold(day.partition, "no champion", "", day.note, "")
    said = day.diagnosed.diagnosis.verdict
    name = FRESHNESS if (said.name, said.kind) == ("retrain", "freshness") else said.name
    done = day.attempt.outcome if day.attempt is not None else ""
    return DayTold(
        day.partition, name, said.cause, said.sentence, done or (day.refusal and f"refused: {day.refusal}")
    )


def _is_wrong(scenario: Scenario, told: DayTold) -> bool:
    return told.premature or not (told.due or told.verdict in scenario.right | scenario.meanwhile)


def _judged(
    scenario: Scenario,
    context: DrillContext,
    settings: Settings,
    told: Sequence[DayTold],
    days: Sequence[Day],
    error: str,
    seconds: float,
) -> Result:
    final = told[-1] if told else DayTold(context.onset, "nothing", "", "no day could be played", "")
    settles = settling(type(scenario))
    right = not error and final.verdict in scenario.right and not _is_wrong(scenario, final)
    if error:
        why = f"a stage failed: {error}"
    elif final.premature:
        why = f"{final.verdict} is a false alarm: no label of the onset or later was mature yet"
    elif _is_wrong(scenario, final):
        why = f"{final.verdict} is wrong where the truth is {scenario.cause}"
    elif final.verdict in settles:
        why = f"{final.verdict} is right"
    elif right:
        why = "nothing wrong was said on any day" if not settles else f"{final.verdict} is right at the end"
    else:
        why = (
            f"within {len(told)} partitions no right verdict ({', '.join(sorted(scenario.right))}) was given"
        )
        if len(told) <= (least := scenario.identifiable_after(context)):
            why += (
                f"; the cause can be identified after {least}: choose an earlier --onset or a later --horizon"
            )
    visible = scenario.visible(context)
    least = scenario.identifiable_after(context)
    open_ = not (right or error or _is_wrong(scenario, final))
    ended = len(told) <= least and final.partition == context.scheme.last_key
    missed = open_ and (ended or (len(told) > least and visible < 1))
    if missed and ended:
        why = (
            f"too little history: the data end with {final.partition}, {len(told) - 1} partitions after the "
            f"onset, and the cause can be identified after {least}, so that this proves nothing"
        )
    elif missed:
        why = (
            f"not found, and nothing wrong was said: the effect is {visible:.2g} of the smallest that can be "
            "seen, so that this proves nothing"
        )
    diagnosis = days[-1].diagnosed.diagnosis if days and days[-1].diagnosed else None
    causes = diagnosis.causes if diagnosis else ()
    named = {final.cause, *(c.name for c in causes if c.state == "FAIL")}
    return Result(
        name=scenario.name,
        truth=scenario.cause,
        summary=scenario.summary,
        right_verdicts=tuple(sorted(scenario.right)),
        onset=context.onset,
        severity=context.severity,
        amount=scenario.amount(context),
        seed=context.seed,
        calendar=settings.calendar,
        verdict=final.verdict,
        cause=final.cause,
        right=right,
        cause_right=scenario.cause in named or (scenario.cause == "none" and not final.cause),
        why=why,
        partition=final.partition,
        days=max(len(told) - 1, 0),
        identifiable_after=scenario.identifiable_after(context),
        sentence=final.sentence,
        evidence=tuple(f"{c.name} {c.state}: {' '.join(c.evidence[:2])}" for c in causes[:3]),
        steps={s.name: s.state for s in diagnosis.steps} if diagnosis else {},
        actions=tuple(f"{t.partition}: {t.verdict} → {t.done}" for t in told if t.done),
        told=tuple(told),
        seconds=round(seconds, 1),
        error=error,
        visible=round(visible, 3),
        missed=missed,
    )
