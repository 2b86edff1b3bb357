"""The stores and use cases that every stage works on, opened from the environment at first use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ml_platform.config import TimelineConfig, UseCase, home
from ml_platform.discovery import Discovery, discover
from ml_platform.feed_config import FeedConfig
from ml_platform.model_config import ModelConfig
from ml_platform.storage.lake import Lake, open_lake

# Importing SQLAlchemy costs .5 CPU-seconds, and naming a model's assets in a graph needs no ledger.
if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    import pyarrow as pa

    from ml_platform.features.kept import KeptFeeds
    from ml_platform.kinds.base import Kind
    from ml_platform.partitions import Partition
    from ml_platform.registry.mlflow_projection import Tracking
    from ml_platform.serving.cache import ServingCache
    from ml_platform.storage.clock import Clock
    from ml_platform.storage.ledger import Ledger

LAKE_VARIABLE = "ML_PLATFORM_LAKE"
LEDGER_VARIABLE = "ML_PLATFORM_LEDGER_URL"
TRACKING_VARIABLE = "ML_PLATFORM_MLFLOW_URI"
CACHE_VARIABLE = "ML_PLATFORM_CACHE"
DAGSTER_PAGES_VARIABLE = "ML_PLATFORM_DAGSTER_URL"
PAGES_VARIABLE = "ML_PLATFORM_PAGES_URL"
MLFLOW_PAGES_VARIABLE = "ML_PLATFORM_MLFLOW_URL"
README = "README.md"
PLATFORM = "platform"
"""The platform's own name among those of its use cases, for its README."""


@dataclass(frozen=True)
class Target:
    """One model of one use case."""

    use_case: UseCase
    model: ModelConfig

    @property
    def key(self) -> str:
        """``<use_case>/<model>``."""
        return f"{self.use_case.name}/{self.model.name}"

    @property
    def kind(self) -> Kind:
        """Its kind of target."""
        from ml_platform.kinds.of import kind_of  # numpy, which the code location need not pay

        return kind_of(self.model)

    def asset(self, stage: str) -> str:
        """The ledger's and Dagster's name of one of the model's stages."""
        return f"{self.key}/{stage}"


FeedSource: TypeAlias = "Callable[[UseCase, FeedConfig, Sequence[Partition], datetime], pa.Table]"
ViewRequest: TypeAlias = "tuple[str, str, tuple[str, ...], datetime]"
"""Use case, view, partitions and instant."""
FeatureServer: TypeAlias = "Callable[[dict[str, pa.Table]], dict[str, pa.Table]]"


@dataclass(frozen=True)
class Outside:
    """The world around an installation.

    Attributes:
        feeds: Answers in place of a feed's reader: what some partitions held by an instant.
        served: What becomes of features, by partition, on their way from the views to the model.
        use_cases: Use cases in place of those that are found in the search path.
        tracked: Whether MLflow follows. In a sandbox nobody looks, and making its tables costs seconds.
    """

    feeds: FeedSource | None = None
    served: FeatureServer | None = None
    use_cases: Mapping[str, UseCase] | None = None
    tracked: bool = True


class Platform:
    """Lake, ledger, tracking, serving cache and use cases of one installation.

    Args:
        environment: Variables to read instead of the process's.
        outside: What the world delivers and serves, where that is not the use case's own readers and the
            platform's own features: a sandbox puts another world in front.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, outside: Outside | None = None) -> None:
        self.environment = os.environ if environment is None else environment
        self.outside = outside or Outside()
        self.kept_feeds: Mapping[str, KeptFeeds] = {}
        # What is being computed ahead of the question; see :func:`ml_platform.lifecycle.views.foresee`.
        self.foreseen: dict[ViewRequest, Future[dict[str, pa.Table]]] = {}

    @cached_property
    def home(self) -> Path:
        """The folder of local state."""
        named = self.environment.get("ML_PLATFORM_HOME")
        return Path(named).resolve() if named else home()

    @cached_property
    def discovery(self) -> Discovery:
        """All use cases, those that cannot be read among them."""
        if self.outside.use_cases is not None:
            return Discovery(dict(self.outside.use_cases), ())
        return discover()

    @contextlib.contextmanager
    def keeping_feeds(self) -> Iterator[None]:
        """Keep feeds' rows in memory meanwhile: for many days in a row, one after the other."""
        from ml_platform.features.kept import KeptFeeds

        # Features and labels look at other stretches, and may be computed at once.
        kept = {view: KeptFeeds() for view in ("features", "labels")}
        self.kept_feeds = kept
        try:
            yield
        finally:
            self.kept_feeds = {}
            for each in kept.values():
                each.close()

    @property
    def use_cases(self) -> Mapping[str, UseCase]:
        """All use cases that can be read, by name."""
        return self.discovery.use_cases

    @cached_property
    def lake(self) -> Lake:
        """The lake: a directory under home, or ``$ML_PLATFORM_LAKE``."""
        return open_lake(self._setting(LAKE_VARIABLE, str(self.home / "lake")), self.home / "lake-cache")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger: SQLite under home, or ``$ML_PLATFORM_LEDGER_URL``."""
        from ml_platform.storage.ledger import Ledger

        return Ledger(self._setting(LEDGER_VARIABLE, f"sqlite:///{self.home / 'ledger.db'}"))

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow: SQLite under home, or ``$ML_PLATFORM_MLFLOW_URI``."""
        # Importing MLflow costs 2.8 CPU-seconds; only training and promotion need it.
        from ml_platform.registry.mlflow_projection import Tracking

        return Tracking(self._tracking_uri, self.home / "mlflow-artifacts")

    @property
    def _tracking_uri(self) -> str:
        return self._setting(TRACKING_VARIABLE, f"sqlite:///{self.home / 'mlflow.db'}")

    @property
    def mlflow_is_served(self) -> bool:
        """Whether somebody else starts MLflow's UI: its store is a server, or its address is set."""
        return self._tracking_is_server or bool(self._setting(MLFLOW_PAGES_VARIABLE, ""))

    @property
    def mlflow_url(self) -> str:
        """Where people find MLflow's UI: ``$ML_PLATFORM_MLFLOW_URL``, its server, or this machine."""
        default = self._tracking_uri if self._tracking_is_server else "http://127.0.0.1:5000"
        return self._setting(MLFLOW_PAGES_VARIABLE, default).rstrip("/")

    @property
    def _tracking_is_server(self) -> bool:
        return self._tracking_uri.startswith(("http://", "https://"))

    @property
    def pages_url(self) -> str:
        """Where people find what ``ml-platform pages`` shows: ``$ML_PLATFORM_PAGES_URL``, or this machine."""
        return self._setting(PAGES_VARIABLE, "http://127.0.0.1:8090").rstrip("/")

    @property
    def dagster_url(self) -> str:
        """Where people find Dagster's UI: ``$ML_PLATFORM_DAGSTER_URL``, or this machine."""
        return self._setting(DAGSTER_PAGES_VARIABLE, "http://127.0.0.1:3000").rstrip("/")

    @cached_property
    def cache(self) -> ServingCache:
        """The serving cache: LMDB under home, or ``$ML_PLATFORM_CACHE``."""
        from ml_platform.serving.cache import open_cache

        return open_cache(
            self._setting(CACHE_VARIABLE, f"lmdb:///{str(self.home / 'serving.lmdb').lstrip('/')}")
        )

    def readme_address(self, use_case: UseCase) -> str:
        """Where people read a use case's README; the platform's where it has none of its own."""
        name = use_case.name if (use_case.folder / README).is_file() else PLATFORM
        return f"{self.pages_url}/readme/{name}"

    def clock(self, use_case: UseCase) -> Clock:
        """The clock of a use case's timeline."""
        from ml_platform.storage.clock import Clock

        return Clock(self.ledger, use_case.config.timeline)

    def timeline(self, name: str) -> Clock:
        """The clock with this name."""
        from ml_platform.storage.clock import Clock, find_timeline

        return Clock(self.ledger, find_timeline(self.timelines, name))

    @property
    def timelines(self) -> dict[str, TimelineConfig]:
        """All declared timelines by name."""
        return {u.config.timeline.name: u.config.timeline for u in self.use_cases.values()}

    def use_case(self, name: str) -> UseCase:
        """The use case with this name.

        Raises:
            NotFoundError: There is none.
            ConfigError: It is there and cannot be read.
        """
        if name not in self.use_cases:
            for broken in self.discovery.broken:
                if broken.name == name:
                    raise broken.error
            from ml_platform.lifecycle.absent import no_use_case  # SQLAlchemy, as above

            raise no_use_case(self, name)
        return self.use_cases[name]

    def target(self, name: str) -> Target:
        """A model by ``<use_case>/<model>``; a use case's name alone means its first model.

        Raises:
            NotFoundError: There is no such use case or model.
        """
        use_case_name, _, model_name = name.partition("/")
        use_case = self.use_case(use_case_name)
        if model_name:
            return Target(use_case, use_case.model(model_name))
        return Target(use_case, use_case.config.models[0])

    def targets(self) -> list[Target]:
        """All models of all use cases."""
        return [Target(u, m) for u in self.use_cases.values() for m in u.config.models]

    def _setting(self, variable: str, default: str) -> str:
        return self.environment.get(variable) or default
