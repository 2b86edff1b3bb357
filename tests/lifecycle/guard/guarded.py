"""A guarded library: its settings, worlds in which something happens, and verdicts entered as given."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from library import FOLDER, NAME, Library, open_library
from sqlalchemy import select

from ml_platform.config import UseCase
from ml_platform.diagnosis import verdict as said
from ml_platform.diagnosis.fingerprint import family_of, fingerprint
from ml_platform.diagnosis.steps import STEPS
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.reader import load_reader, read_feed
from ml_platform.lifecycle import scoring
from ml_platform.lifecycle.guard.days import Day, describe
from ml_platform.lifecycle.guard.diagnosing import Diagnosed, diagnose_now
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import FeatureServer, Outside, Platform, Target
from ml_platform.partitions import Partition
from ml_platform.registry import promotions
from ml_platform.statistics.states import State
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Promotion, Verdict

FIRST, SNAPSHOT, LAST = "2020-08-31", "2020-09-14", "2020-11-09"
"""The replay's first week, the week after which it is copied, and its last one."""


@dataclass(frozen=True)
class Played:
    """What a replay told of a day: its verdict, what was done about it or why nothing was, and the line."""

    partition: str
    rows: int
    note: str
    verdict: int | None
    done: str
    line: str

    @classmethod
    def of(cls, day: Day) -> Played:
        verdict = day.diagnosed.verdict.id if day.diagnosed else None
        done = day.attempt.outcome if day.attempt else day.refusal
        return cls(day.partition, day.rows, day.note, verdict, done, describe(day))


@dataclass(frozen=True)
class Replayed:
    """A replay's days, its home, and the home as it was after some of the days."""

    days: list[Played]
    home: Path
    early: Path


DIAGNOSIS: dict[str, Any] = {
    "reference_partitions": 8,
    "covariate_partitions": 3,
    "concept_partitions": 4,
    "maximum_partitions": 8,
    "label_horizon": 1,
    "minimum_rows": 150,
    "minimum_class_rows": 20,
    "segment_minimum_rows": 30,
}
RETRAINING: dict[str, Any] = {
    "freshness_partitions": 6,
    "freshness_gate": 4,
    "incident_gate": 4,
    "onset_minimum": 2,
    "cooldown_partitions": 1,
    "attempt_partitions": 1,
    "budget": 2,
    "budget_partitions": 20,
    "deadline_partitions": 12,
    "calibration_partitions": 3,
    "calibration_gate": 4,
}
EASY: dict[str, Any] = {"freshness_margin": 9.0, "segment_harm": 9.0}
"""Gates that any challenger passes."""


def guarded(library: Library, gates: Mapping[str, Any] | None = None, **retraining: Any) -> Target:
    """The library's model with windows that fit its few weeks, and other settings of retraining."""
    changes: dict[str, Any] = {"diagnosis": DIAGNOSIS, "retraining": RETRAINING | retraining}
    return library.model(**changes | ({"gates": gates} if gates else {}))


def easy(library: Library, **retraining: Any) -> Target:
    """A model whose challengers pass."""
    return guarded(library, {"maximum_bias": 1.0}, **EASY | retraining)


# --- worlds -----------------------------------------------------------------------------------------


def world(
    served: FeatureServer | None = None, missing: Mapping[str, Sequence[str]] | None = None, **settings: Any
) -> Outside:
    """A world in which feeds' readers have other settings, or in which weeks of feeds never come."""

    def feeds(
        use_case: UseCase, feed: FeedConfig, partitions: Sequence[Partition], as_of: dt.datetime
    ) -> pa.Table:
        other = feed.model_copy(update={"settings": dict(settings.get(feed.name, {}))})
        table = read_feed(use_case, other, partitions, as_of)
        gone = pa.array((missing or {}).get(feed.name, ()), pa.string())
        return table.filter(pc.invert(pc.is_in(table["partition_key"], gone)))

    return Outside(feeds=feeds, served=served)


def within(library: Library, outside: Outside) -> Library:
    """The same installation in another world."""
    return Library(Platform({"ML_PLATFORM_HOME": str(library.platform.home)}, outside), library.target)


def returns(weeks: Sequence[str], branches: Sequence[str], late: bool | None) -> dict[str, Any]:
    """The reader's settings with which loans of some branches come back late, on time, or (``None``) just the
    other way round."""
    made: Any = load_reader(FOLDER / NAME, "feeds:_week")
    edits: dict[str, Any] = {}
    for week in weeks:
        told = made(week, {})
        for i in [i for i, b in enumerate(told["branch"]) if b in branches]:
            is_late = not told["late"][i] if late is None else late
            when = told["due"][i] + (dt.timedelta(days=2) if is_late else -dt.timedelta(hours=4))
            edits.setdefault(week, {}).setdefault("returned", {})[i] = when
    return {"edits": edits}


def live(library: Library, target: Target, weeks: Sequence[str]) -> None:
    """Land, accept and score weeks, each at its cutoff, without a look at them."""
    for week in weeks:
        now = library.use_case.cutoff(week)
        library.platform.clock(library.use_case).set(now)
        ingest(library.platform, library.use_case, [week], now)
        scoring.score(library.platform, target, [week], now)


def diagnosed(library: Library, target: Target) -> Diagnosed:
    return diagnose_now(library.platform, target, library.now)


def states(found: Diagnosed) -> dict[str, State]:
    """State by question."""
    return {s.name: s.state for s in found.diagnosis.steps}


# --- verdicts ---------------------------------------------------------------------------------------


def give(
    library: Library,
    target: Target,
    name: said.VerdictName = "retrain",
    kind: said.RetrainKind | None = "freshness",
    cause: str = "freshness",
    *,
    steps: Mapping[str, State] | None = None,
    onset: str | None = None,
    recheck_at: dt.datetime | None = None,
    as_of: dt.datetime | None = None,
    note: str = "",
    restores: str | None = None,
) -> Verdict:
    """Enter a verdict and the diagnosis behind it, as a diagnosis does."""
    now = as_of or library.now
    week = library.use_case.scheme.key_at(now)
    kind = kind if name == "retrain" else None
    mark = fingerprint(target.key, family_of(name, cause), cause, ())
    given = said.Verdict(
        name, kind, f"It is {cause or 'nothing'}.{note}", cause, mark, onset, restores=restores
    )
    found = tuple(said.StepResult(s.name, (steps or {}).get(s.name, "PASS"), None, 0) for s in STEPS)
    diagnosis = said.Diagnosis(target.key, week, now, given, (), found, (), (), "")
    row = Verdict(
        model_key=target.key,
        partition=week,
        verdict=name,
        kind=kind,
        cause=cause,
        sentence=given.sentence,
        fingerprint=mark,
        incident_id=None,
        diagnosis_digest=library.platform.lake.put(json.dumps(diagnosis.to_json()).encode()),
        recheck_at=recheck_at,
        as_of=now,
        recorded_at=wall_now(),
    )
    with library.platform.ledger.begin() as session:
        session.add(row)
    return row


def ledger_attempts(library: Library) -> list[Attempt]:
    with library.platform.ledger.begin() as session:
        return list(session.scalars(select(Attempt).order_by(Attempt.id)))


def ledger_verdicts(library: Library) -> list[Verdict]:
    with library.platform.ledger.begin() as session:
        return list(session.scalars(select(Verdict).order_by(Verdict.id)))


def rows_of(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, str]]:
    """What two replays of the same weeks must agree on."""
    return [(v.partition, v.verdict, v.fingerprint, v.sentence) for v in verdicts]


def champion(library: Library) -> Promotion:
    return promotions.require_champion(library.platform.ledger, library.target.key)


def copied(home: Path, folder: Path) -> Library:
    return open_library(copy_home(home, folder / "home"))
