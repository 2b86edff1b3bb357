"""Installations of a drill: one clean prefix that is made once, and a copy of it per scenario.

Nothing here reads or writes the real lake, ledger, cache or MLflow: a sandbox's platform is given its own
environment, in which only a temporary home is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
from filelock import FileLock

from ml_platform.config import HOME_VARIABLE, TimelineConfig, UseCase
from ml_platform.errors import NotReadyError
from ml_platform.features.dbt import compiled_views, copy_project
from ml_platform.lifecycle.caching import refresh
from ml_platform.lifecycle.drills.mapping import DrillMap
from ml_platform.lifecycle.drills.scenario import DrillContext, Scenario, Visible
from ml_platform.lifecycle.drills.world import Feeds, World
from ml_platform.lifecycle.guard.days import first_champion
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform, Target
from ml_platform.lifecycle.reference import reference_of
from ml_platform.lifecycle.scoring import score
from ml_platform.monitoring.concept import concept_change
from ml_platform.registry.promotions import champion, require_champion
from ml_platform.storage.clock import Clock

_ANY_LOSS = 1e3


@dataclass(frozen=True)
class Prefix:
    """Clean days up to the onset, and what could be seen in them.

    Attributes:
        folder: Holds ``home``, ``world`` and ``dbt``.
        first: First partition served.
        onset: The partition after its last.
        seed: Of the permutation.
        visible: What each statistic could see at the onset.
    """

    folder: Path
    first: str
    onset: str
    seed: int
    visible: tuple[Visible, ...]

    @property
    def world(self) -> World:
        """The clean world."""
        return World(self.folder / "world")


def replayed(use_case: UseCase, *, calendar: bool) -> UseCase:
    """The use case on a clock that can be moved.

    Known events keep their dates with the calendar only: where days are permuted, their dates mean others.
    """
    config = use_case.config
    start = datetime.combine(config.partitions.start, time(), tzinfo=UTC)
    timeline = TimelineConfig(name=config.timeline.name, clock="replay", start=start)
    changes = {"timeline": timeline, "dbt_project": str(use_case.dbt_dir)}
    changes |= {} if calendar else {"events": ()}
    return UseCase(config.model_copy(update=changes), use_case.folder)


def opened(home: Path, use_case: UseCase, feeds: Feeds, outside: Outside | None = None) -> Platform:
    """A platform that knows nothing but its own home, its own world and one use case."""
    outside = outside or Outside()
    return Platform(
        {HOME_VARIABLE: str(home)},
        Outside(feeds=feeds, served=outside.served, use_cases={use_case.name: use_case}, tracked=False),
    )


def first_served(target: Target, mapped: DrillMap) -> str:
    """The first partition that the first champion serves."""
    if mapped.first is not None:
        return target.use_case.scheme.key_of_day(mapped.first)
    windows, use_case = target.model.windows, target.use_case
    days = windows.train + windows.embargo + windows.gate + target.model.label.maturity_partitions
    return use_case.scheme.shift(use_case.scheme.first_key, days + 1)


def default_onset(target: Target, mapped: DrillMap) -> str:
    """One window of P(y|x) after the first partition served.

    Later than an error of the promotion would show, and early enough that labels of the incident are mature
    before the champion is renewed by age.

    Raises:
        NotReadyError: The data end before it.
    """
    scheme, first = target.use_case.scheme, first_served(target, mapped)
    window = target.model.diagnosis.concept_partitions
    onset = scheme.shift(first, window)
    if scheme.last_key is not None and onset > scheme.last_key:
        raise NotReadyError(
            f"too little history for a drill: the first champion serves from {first}, an incident would "
            f"begin {scheme.counted(window)} later on {onset}, and the data end with {scheme.last_key}",
            where=target.key,
            fix="give a longer history, or choose smaller windows (train, gate, concept_partitions)",
        )
    return onset


def make_prefix(
    folder: Path,
    target: Target,
    mapped: DrillMap,
    onset: str,
    horizon: int,
    seed: int,
    *,
    calendar: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Prefix:
    """Ingest history, train and promote the first champion, serve up to the onset; in an empty folder.

    Raises:
        NotReadyError: The onset is too early, or the gates refuse the first champion.
    """
    use_case = replayed(target.use_case, calendar=calendar)
    target = Target(use_case, target.model)
    scheme, first = use_case.scheme, first_served(target, mapped)
    scheme.day(onset)
    if onset <= first:
        raise NotReadyError(
            f"an onset on {onset} is not after {first}, the first partition served",
            where=use_case.name,
            fix=f"choose one from {scheme.shift(first, 1)} on",
        )
    progress("making the clean world")
    ahead = max(target.model.label.maturity_partitions, 7)
    last = scheme.shift(onset, horizon + ahead)
    world = World.make(folder / "world", use_case, mapped, last, None if calendar else seed)
    platform = opened(folder / "home", use_case, Feeds(world))
    before = scheme.shift(onset, -1)
    progress(f"landing and accepting {scheme.first} to {before}")
    ingest(
        platform,
        use_case,
        scheme.keys(scheme.first_key, before),
        use_case.cutoff(before),
        static=True,
    )
    clock = Clock(platform.ledger, use_case.config.timeline)
    clock.set(use_case.cutoff(first), back=True)
    progress("training the first champion")
    report = first_champion(platform, _promoted_at_once(target), use_case.cutoff(first))
    if champion(platform.ledger, target.key) is None:
        raise NotReadyError(f"the first champion was refused: {report.sentence()}", where=target.key)
    now = clock.set(use_case.cutoff(before))
    progress(f"serving {first} to {before}")
    score(platform, target, scheme.keys(first, before), now)
    refresh(platform, target, now)
    progress("measuring what can be seen")
    visible = what_is_visible(platform, target, seed)
    platform.ledger.engine.dispose()
    platform.cache.close()
    prefix = Prefix(folder, first, onset, seed, visible)
    (folder / "prefix.json").write_text(json.dumps({**asdict(prefix), "folder": str(folder)}))
    return prefix


def _promoted_at_once(target: Target) -> Target:
    """The model with margins that no comparison with the baseline exceeds, and without a person to wait for.

    A drill judges the guard of a champion. That this one can be shown to be no worse than the baseline, in a
    world of permuted days, is no part of it; that it ranks, beats the mean and is unbiased still is. Nor is
    there anybody who could approve it in a sandbox.
    """
    model = target.model
    gates = model.gates.model_copy(update={"baseline_margin": _ANY_LOSS, "slice_margin": _ANY_LOSS})
    promotion = model.promotion.model_copy(update={"policy": "automatic"})
    return Target(target.use_case, model.model_copy(update={"gates": gates, "promotion": promotion}))


def what_is_visible(platform: Platform, target: Target, seed: int) -> tuple[Visible, ...]:
    """What the statistics of P(y|x) can see in a full window.

    Before the onset no window is full yet, so that as many days of the champion's reference stand in for it.
    """
    settings, label = target.model.diagnosis, target.model.label.column
    reference = reference_of(platform, target, require_champion(platform.ledger, target.key))
    if reference.rows is None:
        return ()
    frame = reference.rows.to_pandas()
    days = sorted(frame["partition_key"].unique())
    size = min(settings.concept_partitions, len(days))
    drawn = np.random.default_rng(seed).choice(len(days), size, replace=False)
    report = concept_change(
        frame,
        frame[frame["partition_key"].isin([days[i] for i in drawn])],
        kind=target.kind,
        label=label,
        features=target.model.features,
        segments=list(settings.segments) or [s.column for s in target.model.gates.slices],
        settings=settings,
    )
    return tuple(
        Visible("concept", f.statistic, f.subject, f.minimal_detectable_effect, f.floor)
        for f in report.findings().items
    )


def read_prefix(folder: Path) -> Prefix:
    """What :func:`make_prefix` made."""
    data = json.loads((folder / "prefix.json").read_text())
    visible = tuple(Visible(**v) for v in data["visible"])
    return Prefix(folder, data["first"], data["onset"], data["seed"], visible)


def redefined(use_case: UseCase, scenario: Scenario, context: DrillContext, folder: Path) -> UseCase:
    """The use case with a scenario's label code, in a dbt project copied into ``folder``; itself without one.

    The same code is copied and compiled once.
    """
    name = f"{use_case.config.views.labels}.sql"
    sources = [f for f in use_case.dbt_dir.rglob(name) if "target" not in f.parts]
    sql = scenario.label_sql(sources[0].read_text(encoding="utf-8"), context) if sources else None
    if sql is None:
        return use_case
    project = folder / f"dbt-{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{project.name}.lock"):
        if not project.exists():
            copy_project(use_case.dbt_dir, project)
            (project / sources[0].relative_to(use_case.dbt_dir)).write_text(sql, encoding="utf-8")
        config = use_case.config.model_copy(update={"dbt_project": str(project)})
        found = UseCase(config, use_case.folder)
        compiled_views(found)
    return found
