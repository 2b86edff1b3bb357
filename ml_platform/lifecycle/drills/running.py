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
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from ml_platform.config import load_use_case
from ml_platform.errors import ConfigError, ConflictError, NotFoundError, NotReadyError
from ml_platform.ingestion.unending import kept_running
from ml_platform.lifecycle.drills.incidents import SCENARIOS
from ml_platform.lifecycle.drills.judging import DayTold, Result, Settings, is_wrong, judged, told_of
from ml_platform.lifecycle.drills.mapping import DrillMap, drill_map
from ml_platform.lifecycle.drills.own_code import own_code
from ml_platform.lifecycle.drills.sandbox import (
    Prefix,
    default_onset,
    make_prefix,
    opened,
    read_prefix,
    redefined,
    replayed,
)
from ml_platform.lifecycle.drills.scenario import FRESHNESS, DrillContext, Scenario, settling
from ml_platform.lifecycle.drills.world import Feeds
from ml_platform.lifecycle.guard.days import Day, play_day
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Target
from ml_platform.storage.lake import digest_of

PROCESSES = 2


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
    with own_code(file, "the import of the scenarios"):
        spec.loader.exec_module(module)
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
        ConflictError: The use case's files were changed meanwhile.
    """
    if settings.onset is not None:
        target.use_case.scheme.day(settings.onset)
    mapped = drill_map(target)
    settings = in_effect(target, settings)
    onset = settings.onset or default_onset(target, mapped)
    known, sources = scenarios_of(settings.scenarios), _sources(target.use_case.folder)
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
        where = (prefix.folder, target.use_case.folder, sources, target.model.name)
        waiting = [pool.submit(_play_in_process, *where, name, settings) for name in longest_first]
        progress(f"playing {len(names)} drill(s)")
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.join(timeout=5)
        shutil.rmtree(folder, ignore_errors=True)


def _sources(folder: Path) -> str:
    """Digest of what a use case consists of; each process reads it again."""
    files = [f for f in folder.rglob("*.*") if f.suffix in (".yaml", ".yml", ".sql", ".py") and f.is_file()]
    own = [f.relative_to(folder) for f in files]
    own = sorted(f for f in own if "target" not in f.parts and not any(p.startswith(".") for p in f.parts))
    return digest_of(b"".join(f"{f}\n".encode() + (folder / f).read_bytes() for f in own))


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
    prefix: Path, use_case_folder: Path, sources: str, model: str, name: str, settings: Settings
) -> Result:
    """Body of a process: play one drill."""
    if _sources(use_case_folder) != sources:
        raise ConflictError(
            "the use case was changed while its drills were played: half of them would tell of another one",
            where=str(use_case_folder),
            fix="play them again when its files are as they should be",
        )
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
        return judged(scenario, context, settings, told, days, error, perf_counter() - started)
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
        with kept_running(), platform.keeping_feeds():
            for key in use_case.scheme.keys(context.onset, last):
                now = use_case.cutoff(key)
                ingest(platform, use_case, [key], now)
                platform.clock(use_case).set(now)
                days.append(play_day(platform, target, key, now))
                blind = scenario.shows_in_labels and use_case.last_mature(target.model, now) < context.onset
                told.append(told_of(days[-1]))
                early = len(told) <= scenario.identifiable_after(context)
                told[-1] = replace(told[-1], due=early and told[-1].verdict == FRESHNESS)
                if told[-1].verdict in settling(type(scenario)):
                    told[-1] = replace(told[-1], premature=blind)
                    break
                if is_wrong(scenario, told[-1]):
                    break
    except (Exception, SystemExit) as error:  # a stage that fails is a result: the drill prints it as wrong
        return told, days, f"{type(error).__name__}: {error}"
    finally:
        platform.ledger.engine.dispose()
        platform.cache.close()
    return told, days, ""
