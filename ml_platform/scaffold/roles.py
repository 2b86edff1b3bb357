"""Which column is what: the entity, the time, the label, and when the label became known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ml_platform.errors import ConfigError
from ml_platform.partitions import Width
from ml_platform.scaffold.columns import ColumnProfile, FileProfile

ModelKind = Literal["binary", "regression", "multiclass"]

_LABEL_NAMES = re.compile(r"^(label|target|outcome|y|class|result|churned|failed|late|returned|defect)$")
_ID_NAME = re.compile(r"(^|_)(id|key|uuid|code|number|no|nr)$")
_TIME_NAME = re.compile(r"(^|_)(at|time|date|day|week|month|hour|period|timestamp|datetime|ts|on)$")
_KNOWN_NAME = re.compile(r"(known|reported|confirmed|resolved|settled|closed)")


@dataclass(frozen=True)
class Wishes:
    """What a person has said about a new use case; what is left out is found in the data.

    Attributes:
        name: Name of the use case.
        entity: Columns that identify an entity within a partition.
        time: Column of the event's time.
        label: Column to predict.
        known_at: Column that says when the label became known.
        row_known_at: Column that says when a row itself was known, before it happened.
        kind: Kind of target.
        positive: Value of the label that is the positive one.
        label_delay: How long after the event the label is known, where no column says it.
        width: Partition width.
        timezone: Zone of instants without an offset, and of the partitions.
        time_format: strptime format of instants, where the data do not tell.
        team, email: The owner.
    """

    name: str
    entity: tuple[str, ...] = ()
    time: str | None = None
    label: str | None = None
    known_at: str | None = None
    row_known_at: str | None = None
    kind: ModelKind | None = None
    positive: str | None = None
    label_delay: timedelta | None = None
    width: Width | None = None
    timezone: str = "UTC"
    time_format: str = ""
    team: str = "owner"
    email: str = "owner@example.org"


@dataclass(frozen=True)
class Roles:
    """The columns that are no features."""

    entity: tuple[ColumnProfile, ...]
    time: ColumnProfile
    label: ColumnProfile
    known_at: ColumnProfile | None
    row_known_at: ColumnProfile | None = None


def is_id(column: ColumnProfile) -> bool:
    """Whether a column is named like one that identifies something."""
    return bool(_ID_NAME.search(column.name))


def is_time(column: ColumnProfile) -> bool:
    """Whether a column is named like one that holds instants."""
    return bool(_TIME_NAME.search(column.name) or _KNOWN_NAME.search(column.name))


def guess(profile: FileProfile, wishes: Wishes) -> dict[str, str]:
    """The likeliest columns of time, label, known_at and entity that were not said, by contract name."""
    columns = list(profile.columns)
    found: dict[str, str] = {}
    times = [c for c in columns if c.kind == "timestamp"]
    taken = {
        profile.column(n).name for n in (wishes.time, wishes.label, wishes.known_at, wishes.row_known_at) if n
    }
    if wishes.time is None and times:
        best = max(
            times,
            key=lambda c: (
                c.name not in taken,
                not _KNOWN_NAME.search(c.name),
                bool(_TIME_NAME.search(c.name)),
                c.known,
            ),
        )
        found["time"] = best.name
        taken.add(best.name)
    if wishes.known_at is None:
        later = [c for c in times if c.name not in taken and _KNOWN_NAME.search(c.name)]
        if len(later) == 1:
            found["known_at"] = later[0].name
    if wishes.label is None:
        named = [c for c in columns if _LABEL_NAMES.match(c.name)]
        if len(named) == 1:
            found["label"] = named[0].name
            taken.add(named[0].name)
    if not wishes.entity:
        ids = [c for c in columns if is_id(c) and c.kind in ("string", "integer")]
        ids = [c for c in ids if c.name not in taken and not c.nulls]
        if ids:
            found["entity"] = max(ids, key=lambda c: (c.name.endswith("id"), c.distinct)).name
    return found


def decide(profile: FileProfile, wishes: Wishes) -> Roles:
    """The columns' roles, by what was said and otherwise guessed.

    Raises:
        ConfigError: A role is neither said nor to be guessed.
        FeedError: There is no such column.
    """
    guessed = guess(profile, wishes)
    lacking = [
        (flag, what)
        for flag, what, said in (
            ("--time", "when a row happened", wishes.time or guessed.get("time")),
            ("--label", "what to predict", wishes.label or guessed.get("label")),
            ("--entity", "whom a row is about", wishes.entity or guessed.get("entity")),
        )
        if not said
    ]
    if lacking:
        told = " and ".join(f"{flag} ({what})" for flag, what in lacking)
        raise ConfigError(
            f"the data do not tell {told}",
            where=str(profile.path),
            fix="name the column: " + ", ".join(f"{c.source} ({c.kind})" for c in profile.columns),
        )
    entity = wishes.entity or (guessed["entity"],)
    known = wishes.known_at or guessed.get("known_at")
    roles = Roles(
        entity=tuple(profile.column(n) for n in entity),
        time=profile.column(wishes.time or guessed["time"]),
        label=profile.column(wishes.label or guessed["label"]),
        known_at=profile.column(known) if known else None,
        row_known_at=profile.column(wishes.row_known_at) if wishes.row_known_at else None,
    )
    given = [c for c in (*roles.entity, roles.time, roles.label, roles.known_at, roles.row_known_at) if c]
    nested = [f"{c.source} ({c.unusable})" for c in given if c.unusable]
    if nested:
        raise ConfigError(
            f"no single value stands in a cell of {', '.join(nested)}",
            where=str(profile.path),
            fix="name another column, or make a column of plain values of it first",
        )
    names = [c.name for c in given]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ConfigError(
            f"column {', '.join(twice)} has two roles",
            where=str(profile.path),
            fix="name another column for one",
        )
    return roles
