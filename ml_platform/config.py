"""What a product team writes in ``use_case.yaml``, and how it is found and read.

Every model forbids unknown keys, so a typing error is an error; every field has a description, so that
:func:`json_schema` gives an editor completion.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from ml_platform.config_errors import YamlFile, dotted, nearest, read_yaml, require_each_key_once, told
from ml_platform.errors import ConfigError, NotFoundError
from ml_platform.feed_config import FeedConfig
from ml_platform.model_config import (
    ModelConfig,
)
from ml_platform.partitions import STATIC_KEY, Partition, PartitionScheme, Width, key_time
from ml_platform.strict import (
    Day,
    DayOrInstant,
    Duration,
    Identifier,
    Instant,
    LocalTime,
    Misfits,
    Place,
    Strict,
)

_Named = TypeVar("_Named", "FeedConfig", "ModelConfig")

SEARCH_PATH_VARIABLE = "ML_PLATFORM_USE_CASES"
EXAMPLES_VARIABLE = "ML_PLATFORM_EXAMPLES"
SCHEMA_VERSION = 1
"""Version of the format of ``use_case.yaml`` that this platform reads."""
RESERVED_NAMES = frozenset({"feed", "platform", "broken_use_cases", "demo"})
"""First parts of the platform's own asset keys, which no use case can be named."""
NAMES_OF_SQL = frozenset({"information_schema", "main", "memory", "pg_catalog", "system", "temp"})
"""Schemas that DuckDB keeps for itself; ``ml-platform sql`` has one of each use case's name."""
HOME_VARIABLE = "ML_PLATFORM_HOME"
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_EXAMPLE = (
    "begin with `schema_version: 1`; `ml-platform use-case new` writes it from a data file, "
    "`ml-platform schema` prints the format"
)


def keeper_of(name: str) -> str:
    """Who keeps a name for itself, so that no use case can have it; empty where it is free."""
    return "the platform" if name in RESERVED_NAMES else "SQL" if name in NAMES_OF_SQL else ""


class OwnerConfig(Strict):
    """Who answers for a feed, use case or model."""

    team: str = Field(description="Team name, shown in the UI and the catalogue.")
    email: str = Field(description="Address that the UI shows as the owner.")

    @field_validator("team")
    @classmethod
    def _team_has_a_name(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the team's name is empty")
        return value

    @field_validator("email")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not _ADDRESS.fullmatch(value):
            raise ValueError(f"'{value}' is no mail address such as team@example.org")
        return value


class TimelineConfig(Strict):
    """The clock that a use case lives by. Feeds and use cases with one name share one clock."""

    name: Identifier = Field(description="Name of the timeline in the ledger.")
    clock: Literal["wall", "replay"] = Field(
        default="wall", description="'wall' is now; 'replay' stands still until it is advanced."
    )
    start: Instant | None = Field(
        default=None, description="Where a replay clock stands at first (with an offset)."
    )

    @model_validator(mode="after")
    def _replay_needs_start(self) -> TimelineConfig:
        if self.clock == "replay" and (self.start is None or self.start.tzinfo is None):
            what = "a replay clock needs 'start', an instant with its UTC offset: 2024-01-31T10:00:00+01:00"
            raise Misfits([(what, ("start",))])
        return self


class PartitionConfig(Strict):
    """How event time is cut into partitions."""

    width: Width = Field(default="daily", description="Width of a partition.")
    timezone: str = Field(default="UTC", description="IANA zone of the partitions' local dates.")
    start: Day = Field(description="First local date.")
    end: Day | None = Field(default=None, description="Last local date; empty while it goes on.")

    @property
    def scheme(self) -> PartitionScheme:
        """The scheme these settings describe."""
        return PartitionScheme(self.width, self.timezone, self.start, self.end)

    @model_validator(mode="after")
    def _makes_a_scheme(self) -> PartitionConfig:
        try:
            _ = self.scheme.zone
        except (ZoneInfoNotFoundError, OSError):
            what = f"'{self.timezone}' is no IANA zone such as Europe/Berlin"
            raise Misfits([(what, ("timezone",))]) from None
        if self.end is not None and self.end < self.start:
            raise Misfits([("'end' is before 'start'", ("end",))])
        return self


class CutoffConfig(Strict):
    """When a partition is scored: a local wall-clock time some days before the partition begins, or ends."""

    of: Literal["start", "end"] = Field(
        default="start",
        description="'start' scores what is planned, before it happens; 'end' what has happened, once the "
        "partition is over.",
    )
    days_before: int = Field(
        default=0, ge=0, description="Local days before the partition's first (or the day it ends on)."
    )
    at: LocalTime = Field(default=time(0), description="Local wall-clock time; hourly partitions have none.")
    before: Duration = Field(default=timedelta(0), description="So much earlier, for example PT2H.")


class ViewsConfig(Strict):
    """The dbt models that define entities, features and labels."""

    entities: Identifier = Field(description="dbt model: one row per entity to score.")
    features: Identifier = Field(description="dbt model: the entities' features.")
    labels: Identifier = Field(description="dbt model: the entities' labels, null while unknown.")
    key: tuple[Identifier, ...] = Field(description="Columns that identify an entity in a partition.")
    event_time: Identifier = Field(default="event_time", description="Instant of the event (UTC).")
    feeds: tuple[Identifier, ...] = Field(
        default=(), description="Feeds that the views read; all of the use case's when empty."
    )
    history_partitions: int | None = Field(
        default=None, ge=0, description="Earlier partitions that features look back on; all when empty."
    )
    entity_history_partitions: int | None = Field(
        default=0,
        ge=0,
        description="Earlier partitions that the entities themselves come from, and so the labels' SQL "
        "needs; all when empty.",
    )


class LimitsConfig(Strict):
    """What one run of the use case may take: past it the run ends, and no other use case waits for it."""

    run_time: Duration = Field(
        default=timedelta(hours=6), gt=timedelta(0), description="Longest run, for example PT2H."
    )
    memory_mb: int = Field(default=8192, gt=0, description="Largest memory of a run's process (MiB).")


class DemoConfig(Strict):
    """What ``ml-platform demo`` and ``ml-platform run`` play."""

    models: tuple[Identifier, ...] = Field(
        default=(), description="Models that `demo` plays, all when empty; `run` plays the others too."
    )
    build_from: Day | None = Field(
        default=None,
        description="First partition whose features and labels are built; feeds land from the very first.",
    )
    promote_at: Instant = Field(description="The clock when the first champion is trained.")
    serve_first: DayOrInstant = Field(description="First partition served; of hours an instant.")
    serve_last: DayOrInstant = Field(description="Last partition served.")
    judge_at: Instant = Field(description="The clock when live performance is judged.")


class EventConfig(Strict):
    """Days that are known beforehand to be unlike others."""

    name: str = Field(min_length=1, description="Name for people, for example 'Labour Day'.")
    dates: tuple[Day, ...] = Field(min_length=1, description="Local dates on which it takes place.")


class UseCaseConfig(Strict):
    """One use case: ``use_case.yaml``."""

    schema_version: Literal[1] = Field(description="Version of this file's format.")
    name: Identifier = Field(description="Name; first part of its asset keys.")
    title: str = Field(description="Title for people.")
    description: str = Field(description="The question the model answers, when, and for whom.")
    owner: OwnerConfig = Field(description="Who answers for it.")
    timeline: TimelineConfig = Field(description="The clock it lives by.")
    partitions: PartitionConfig = Field(description="How its event time is cut.")
    cutoff: CutoffConfig = Field(description="When a partition is scored.")
    contracts: str = Field(default="contracts", description="Folder of contracts, beside this file.")
    dbt_project: str = Field(default="dbt", description="Folder of the dbt project, beside this file.")
    feeds: tuple[FeedConfig, ...] = Field(min_length=1, description="Its feeds.")
    views: ViewsConfig = Field(description="Its dbt models.")
    models: tuple[ModelConfig, ...] = Field(min_length=1, description="Its models.")
    events: tuple[EventConfig, ...] = Field(
        default=(),
        description="Days known beforehand to be unlike others, such as holidays: the diagnosis names them, "
        "and an alarm that vanishes without them is no trend.",
    )
    limits: LimitsConfig = Field(default=LimitsConfig(), description="What a run may take.")
    demo: DemoConfig | None = Field(default=None, description="What the demo plays.")

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> UseCaseConfig:
        found = [*_strange_names(self), *_unknown_names(self), *_out_of_order(self)]
        if found:
            raise Misfits(found)
        return self


def _strange_names(config: UseCaseConfig) -> Iterator[tuple[str, Place]]:
    """Names and a time that cannot be, each with its place."""
    if config.partitions.width == "hourly" and config.cutoff.at != time(0):
        yield (
            "hourly partitions have no time of day in their cutoff: write 'before: PT1H'",
            ("cutoff", "at"),
        )
    if keeper := keeper_of(config.name):
        yield f"'{config.name}' is a name that {keeper} keeps for itself", ("name",)
    for what, key, names in (
        ("feed", "feeds", [f.name for f in config.feeds]),
        ("model", "models", [m.name for m in config.models]),
    ):
        for i, name in enumerate(names):
            if name in names[:i]:
                yield f"{what} named twice: {name}", (key, i, "name")


def _unknown_names(config: UseCaseConfig) -> Iterator[tuple[str, Place]]:
    """Feeds, features and models that are named and not declared, each with its place."""
    feeds = [f.name for f in config.feeds]
    named: list[tuple[str, Place]] = [(n, ("views", "feeds", i)) for i, n in enumerate(config.views.feeds)]
    for m, model in enumerate(config.models):
        for f, feature in enumerate(model.features):
            at = ("models", m, "features", f, "feeds")
            named += [(name, (*at, i)) for i, name in enumerate(feature.feeds)]
        for i, cut in enumerate(model.gates.slices):
            if cut.column not in model.feature_names:
                what = f"model {model.name}: slices of no feature: {cut.column}"
                yield what + nearest(cut.column, model.feature_names), ("models", m, "gates", "slices", i)
    for name, place in named:
        if name not in feeds:
            yield f"feeds that are not declared: {name}{nearest(name, feeds)}", place
    models = [m.name for m in config.models]
    for i, name in enumerate(config.demo.models if config.demo else ()):
        if name not in models:
            yield f"demo.models that are not declared: {name}{nearest(name, models)}", ("demo", "models", i)


def _out_of_order(config: UseCaseConfig) -> Iterator[tuple[str, Place]]:
    """What the demo plays in another order than the clock allows, each with its place."""
    demo = config.demo
    if demo is None or (config.partitions.width == "hourly" and config.cutoff.at != time(0)):
        return
    played = UseCase(config, Path())
    scheme = played.scheme
    keys = {name: scheme.key_of(getattr(demo, name)) for name in ("serve_first", "serve_last")}
    outside = [n for n, k in keys.items() if k < scheme.first_key or (scheme.last_key or k) < k]
    for name in outside:
        ends = f"{scheme.first_key} to {scheme.last_key or 'today'}"
        yield f"{keys[name]} is outside the partitions, {ends}", ("demo", name)
    if outside:
        return
    first, last = (played.cutoff(k) for k in keys.values())
    if first < demo.promote_at:
        later = keys["serve_first"]
        while played.cutoff(later) < demo.promote_at:
            later = scheme.shift(later, 1)
        at = first.astimezone(scheme.zone).isoformat()
        yield (
            f"{keys['serve_first']} is scored at its cutoff, {at}, and the first champion is trained later, "
            f"at promote_at: begin with {later}, or promote earlier",
            ("demo", "serve_first"),
        )
    if keys["serve_last"] < keys["serve_first"]:
        yield "serve_last is before serve_first", ("demo", "serve_last")
    elif demo.judge_at < last:
        told = last.astimezone(scheme.zone).isoformat()
        yield f"judge_at is before the cutoff of serve_last, {told}", ("demo", "judge_at")


@dataclass(frozen=True)
class UseCase:
    """A use case's settings and the folder they came from."""

    config: UseCaseConfig
    folder: Path

    @property
    def name(self) -> str:
        """Name of the use case."""
        return self.config.name

    @cached_property
    def scheme(self) -> PartitionScheme:
        """Partitions of the use case."""
        return self.config.partitions.scheme

    @property
    def contracts_dir(self) -> Path:
        """Folder of its contracts."""
        return (self.folder / self.config.contracts).resolve()

    @property
    def dbt_dir(self) -> Path:
        """Folder of its dbt project."""
        return (self.folder / self.config.dbt_project).resolve()

    def events_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Names of the known events of some partitions; one without any is left out."""
        found: dict[str, str] = {}
        for key in keys if self.config.events else ():
            first = key_time(key).date()
            after = max(key_time(self.scheme.shift(key, 1)).date(), first + timedelta(days=1))
            names = [e.name for e in self.config.events if any(first <= d < after for d in e.dates)]
            if names:
                found[key] = ", ".join(names)
        return found

    def feed(self, name: str) -> FeedConfig:
        """The feed with this name."""
        return _named(self.config.feeds, name, f"feed of {self.name}")

    def model(self, name: str) -> ModelConfig:
        """The model with this name."""
        return _named(self.config.models, name, f"model of {self.name}")

    def model_key(self, model: str) -> str:
        """``<use_case>/<model>``, the model's name everywhere."""
        return f"{self.name}/{self.model(model).name}"

    def cutoff(self, key: str) -> datetime:
        """The instant (UTC) at which a partition is scored; what is known later does not count."""
        cut = self.config.cutoff
        partition = self.scheme.partition(key)
        edge = partition.start if cut.of == "start" else partition.end
        if self.scheme.width == "hourly":
            return edge - timedelta(days=cut.days_before) - cut.before
        day = edge.astimezone(self.scheme.zone).date() - timedelta(days=cut.days_before)
        return self.scheme.instant(day, cut.at) - cut.before

    def feed_partition(self, feed: FeedConfig, key: str) -> Partition:
        """A feed's partition; a static feed's only one spans all time."""
        if feed.static:
            return Partition(STATIC_KEY, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        return self.scheme.partition(key)

    def due_at(self, feed: FeedConfig, key: str) -> datetime:
        """The instant (UTC) from which a partition's first data is expected."""
        if feed.static:
            return self.scheme.instant(self.scheme.first)
        if feed.arrival.due_after is not None:
            return self.scheme.partition(key).end + feed.arrival.due_after
        day = self.scheme.day(key) + timedelta(days=feed.arrival.due_days)
        return self.scheme.instant(day, feed.arrival.due_at)

    def complete_at(self, feed: FeedConfig, key: str) -> datetime:
        """The instant (UTC) from which nothing new is expected in a partition."""
        if feed.static:
            return self.scheme.instant(self.scheme.first)
        if feed.arrival.complete_after is not None:
            return self.scheme.partition(key).end + feed.arrival.complete_after
        day = self.scheme.day(key) + timedelta(days=feed.arrival.complete_days)
        return self.scheme.instant(day, feed.arrival.due_at)

    def last_mature(self, model: ModelConfig, as_of: datetime) -> str:
        """The last partition whose labels are all known at ``as_of``.

        A partition is mature when ``maturity_partitions`` whole partitions have begun after it.
        """
        return self.scheme.shift(self.scheme.key_at(as_of), -model.label.maturity_partitions)

    def trained_on(self, model: ModelConfig, last: str) -> list[str]:
        """The partitions that train a model up to ``last``: a trailing window, or a growing one."""
        first = self.scheme.shift(last, 1 - model.windows.train)
        if model.windows.since is not None:
            first = self.scheme.key_of_day(model.windows.since)
        return self.scheme.keys(first, last)


def _named(items: Iterable[_Named], name: str, what: str) -> _Named:
    items = list(items)
    for item in items:
        if item.name == name:
            return item
    raise NotFoundError(
        f"there is no {what} named '{name}'",
        fix=f"choose one of: {', '.join(i.name for i in items)}",
    )


def project_root() -> Path:
    """The folder of the checkout, which holds ``dbt_project`` and ``data_contracts``."""
    return Path(__file__).resolve().parent.parent


def home() -> Path:
    """The folder of all local state: ``$ML_PLATFORM_HOME``, or ``var`` in the checkout."""
    return Path(os.environ.get(HOME_VARIABLE) or project_root() / "var").resolve()


def load_use_case(path: Path) -> UseCase:
    """Read one ``use_case.yaml``.

    Raises:
        ConfigError: It cannot be read, is not YAML, or has unknown, missing or wrong keys; the error
            names file, line and key of each.
    """
    file = read_yaml(path, "the use case", ConfigError, _EXAMPLE)
    require_each_key_once(path, file.node)
    _require_known_version(file)
    try:
        return UseCase(UseCaseConfig.model_validate(file.data), path.resolve().parent)
    except ValidationError as error:
        found = told(error, UseCaseConfig, file.data)
        lines = [f"{path}:{file.line(place)}: {dotted(place)}: {what}" for place, what in found]
        raise ConfigError(
            f"{len(lines)} error(s) in the use case:\n    " + "\n    ".join(lines),
            where=f"{path}:{min(file.line(place) for place, _ in found)}",
            fix="correct the keys named above; `ml-platform schema` prints the format",
        ) from error


def _require_known_version(file: YamlFile) -> None:
    """A newer format is told as such: its unknown keys are no typing errors."""
    version = file.data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"it is written in schema_version {version}, and this platform reads up to {SCHEMA_VERSION}",
            where=f"{file.path}:{file.line(('schema_version',))}",
            fix="upgrade the platform, or write the file in the older format (`ml-platform schema`)",
        )


def shows_examples() -> bool:
    """Whether the built-in use cases are part of this installation: ``$ML_PLATFORM_EXAMPLES``, true if unset.

    Raises:
        ConfigError: It is neither true nor false.
    """
    said = os.environ.get(EXAMPLES_VARIABLE, "").strip().lower()
    if said not in {"", "true", "false"}:
        raise ConfigError(
            f"'{said}' does not say whether the built-in use cases are shown",
            where=EXAMPLES_VARIABLE,
            fix="set it to true or false",
        )
    return said != "false"


def use_case_files() -> list[Path]:
    """All ``use_case.yaml`` of the built-in folder and of ``$ML_PLATFORM_USE_CASES``.

    The variable holds folders separated by ``os.pathsep``; each is a use case or a folder of them. With
    ``$ML_PLATFORM_EXAMPLES`` false the built-in ones are left out.

    Raises:
        ConfigError: ``$ML_PLATFORM_EXAMPLES`` is neither true nor false.
    """
    roots = [Path(__file__).resolve().parent / "use_cases"] if shows_examples() else []
    roots += [Path(p) for p in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if p]
    files: list[Path] = []
    for root in roots:
        files += [root / "use_case.yaml"] if (root / "use_case.yaml").exists() else []
        files += sorted(root.glob("*/use_case.yaml"))
    return files


def json_schema() -> dict[str, Any]:
    """The JSON schema of ``use_case.yaml``, for editors."""
    return UseCaseConfig.model_json_schema()
