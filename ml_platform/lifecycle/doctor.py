"""The doctor: holds every projection against the ledger, mends what it can, and says what it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select

from ml_platform.errors import PlatformError
from ml_platform.lifecycle import caching
from ml_platform.lifecycle.guard.asked import mark_ended, running
from ml_platform.lifecycle.health import examine as examine_use_cases
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.tables import (
    ABANDONED,
    REQUESTED,
    CacheGeneration,
    Dataset,
    Head,
    Promotion,
    Publication,
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["ok", "repaired", "broken"]
    what: str


def examine(platform: Platform, *, repair: bool = True) -> list[Finding]:
    """Look at ledger, lake, MLflow and serving cache.

    Run it while nothing else writes: what another run has only requested looks like a crash's leftover.
    """
    marker(platform)
    findings = [*_use_cases(platform), *_requested(platform, repair), *_objects(platform, repair)]
    for target in platform.targets():
        findings += _guarded(f"{target.key}: serving cache", lambda t=target: _cache(platform, t, repair))
        findings += _attempts(platform, target, repair)
        findings += _guarded(f"{target.key}: MLflow", lambda t=target: _alias(platform, t, repair))
    return findings


def _use_cases(platform: Platform) -> Iterator[Finding]:
    """Use cases that cannot be loaded, whose code fails, or that are gone."""
    for health in examine_use_cases(platform):
        if health.error is None:
            yield Finding("ok", f"use case {health.name}: can be loaded")
        else:
            yield Finding("broken", f"use case {health.name} ({health.state}): {health.error}")


def marker(platform: Platform) -> None:
    """Mark the home folder as the platform's, so that it may be removed by `make clean-demo`."""
    platform.home.mkdir(parents=True, exist_ok=True)
    (platform.home / ".ml-platform-home").touch()


def _requested(platform: Platform, repair: bool) -> list[Finding]:
    """What was written aside and never published."""
    publications = platform.ledger.requested()
    with platform.ledger.begin() as session:
        rows: list[Dataset | Promotion | CacheGeneration] = [
            *session.scalars(select(Dataset).where(Dataset.status == REQUESTED)),
            *session.scalars(select(Promotion).where(Promotion.status == REQUESTED)),
            *session.scalars(select(CacheGeneration).where(CacheGeneration.status == REQUESTED)),
        ]
        for row in rows if repair else ():
            row.status = ABANDONED
    if repair:
        platform.ledger.abandon([p.id for p in publications])
    count = len(publications) + len(rows)
    if not count:
        return [Finding("ok", "ledger: nothing is left between requested and committed")]
    done = "given up; the last committed state is in force" if repair else "left as they are"
    return [Finding("repaired" if repair else "broken", f"ledger: {count} unfinished publication(s) {done}")]


def _attempts(platform: Platform, target: Target, repair: bool) -> Iterator[Finding]:
    """Attempts at a retraining that never said how they ended: each would refuse all others for good."""
    for attempt in running(platform, target):
        what = f"{target.key}: attempt {attempt.id} ({attempt.action}) never said how it ended"
        if repair:
            made = mark_ended(platform, attempt, "its process ended without saying how")
            yield Finding("repaired", f"{what}: closed as {'done' if made else 'failed'}")
        else:
            yield Finding("broken", what)


def _objects(platform: Platform, repair: bool) -> Iterator[Finding]:
    """Half-written objects, and objects in force that are missing."""
    swept = platform.lake.sweep() if repair else 0
    if swept:
        yield Finding("repaired", f"lake: {swept} half-written object(s) removed")
    with platform.ledger.begin() as session:
        query = select(Publication).join(Head, Head.publication_id == Publication.id)
        rows = list(session.scalars(query))
    missing = [r for r in rows if not platform.lake.exists(r.digest)]
    for row in missing[:20]:
        yield Finding("broken", f"lake: {row.asset} {row.partition} is missing; materialise it again")
    if not missing:
        yield Finding("ok", f"lake: all {len(rows)} objects in force are there")


def _cache(platform: Platform, target: Target, repair: bool) -> Finding:
    row = caching.committed_generation(platform, target.key)
    if row is None:
        return Finding("ok", f"{target.key}: serving cache: nothing has been published yet")
    generation = caching.as_generation(row)
    broken = caching.mend_segments(platform, target, generation, repair=repair)
    if not broken and platform.cache.current(target.key) == generation.id:
        return Finding("ok", f"{target.key}: serving cache serves generation {generation.id}")
    if not repair:
        what = f"serving cache does not serve generation {generation.id} whole"
        return Finding("broken", f"{target.key}: {what} ({broken} segment(s) missing or spoilt)")
    caching.project(platform, target, generation)
    return Finding(
        "repaired",
        f"{target.key}: serving cache serves generation {generation.id} again ({broken} segment(s) written)",
    )


def _alias(platform: Platform, target: Target, repair: bool) -> Finding:
    champion = promotions.champion(platform.ledger, target.key)
    if champion is None:
        return Finding("ok", f"{target.key}: MLflow: there is no champion yet")
    digest = champion.model_digest
    if platform.tracking.champion_digest(target.key) == digest:
        return Finding("ok", f"{target.key}: MLflow's alias points at version {champion.version}")
    if not repair:
        return Finding("broken", f"{target.key}: MLflow's alias does not point at model {digest[:12]}")
    run_id = promotions.model(platform.ledger, digest).mlflow_run_id
    platform.tracking.project_champion(target.key, digest, run_id)
    return Finding("repaired", f"{target.key}: MLflow's alias points at version {champion.version} again")


def _guarded(what: str, look: object) -> list[Finding]:
    assert callable(look)
    try:
        return [look()]
    except PlatformError as error:
        return [Finding("broken", f"{what}: {error.what} ({error.fix})")]
