"""Drives the library use case through its stages as plain functions, as the jobs do."""

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ml_platform.config import SEARCH_PATH_VARIABLE, UseCase, load_use_case
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle import caching, evaluation, promotion, scoring, training, training_data, views
from ml_platform.lifecycle.acceptance import AcceptanceReport, accept
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Outside, Platform, Target
from ml_platform.model_config import FeatureConfig
from ml_platform.storage.lake import LocalLake

FOLDER = Path(__file__).parent / "library_use_case"
NAME = "library_loans"
MODEL = f"{NAME}/late_return"
FIRST_WEEK = "2020-01-06"
SERVED = ["2020-08-31", "2020-09-07"]
NEXT_WEEK = "2020-09-14"


def with_feature(target: Target, name: str) -> Target:
    """A model whose settings are ahead of what serves, by a feature."""
    features = (*target.model.features, FeatureConfig(name=name))
    return Target(target.use_case, target.model.model_copy(update={"features": features}))


@dataclass(frozen=True)
class Library:
    """An installation with the library use case, and its model."""

    platform: Platform
    target: Target

    @property
    def use_case(self) -> UseCase:
        return self.target.use_case

    @property
    def now(self) -> datetime:
        return self.platform.clock(self.use_case).now()

    def weeks(self, first: str, last: str) -> list[str]:
        return self.use_case.scheme.keys(first, last)

    def advance(self, weeks: int = 1) -> datetime:
        return self.platform.clock(self.use_case).advance(timedelta(weeks=weeks))

    def feed(self, name: str, **settings: Any) -> FeedConfig:
        feed = self.use_case.feed(name)
        return feed.model_copy(update={"settings": settings}) if settings else feed

    def deliver(self, name: str, weeks: Sequence[str], **settings: Any) -> AcceptanceReport:
        """Land weeks of a feed, with other settings if given, and accept them."""
        feed = self.feed(name, **settings)
        land(self.platform, self.use_case, feed, weeks, self.now)
        return accept(self.platform, self.use_case, feed, self.now)

    def deliver_all(self, weeks: Sequence[str]) -> None:
        for feed in self.use_case.config.feeds:
            self.deliver(feed.name, weeks)

    def model(self, **changes: Mapping[str, Any]) -> Target:
        """The model with changed sections, for example ``training={"seed": 8}``."""
        sections = {
            name: getattr(self.target.model, name).model_copy(update=dict(update))
            for name, update in changes.items()
        }
        return Target(self.use_case, self.target.model.model_copy(update=sections))

    def build(self, view: views.ViewName, weeks: Sequence[str]) -> list[views.Published]:
        return views.materialise(self.platform, self.use_case, view, weeks, self.now)

    def candidate(self, target: Target | None = None) -> evaluation.EvaluationReport:
        """Train and judge a candidate."""
        training.train_candidate(self.platform, target or self.target, self.now)
        return evaluation.evaluate_candidate(self.platform, target or self.target, self.now)

    def promote(self, target: Target | None = None) -> promotion.PromotionReport:
        return promotion.promote_candidate(self.platform, target or self.target, self.now)

    def score(self, *weeks: str) -> list[scoring.Scored]:
        return scoring.score(self.platform, self.target, weeks, self.now)

    def serve(self) -> caching.CacheReport:
        return caching.refresh(self.platform, self.target, self.now)

    def close(self) -> None:
        """Let go of the stores, so that their files can be copied."""
        self.platform.ledger.engine.dispose()
        self.platform.cache.close()

    def serve_week(self, week: str) -> None:
        """What the daily job does: advance to a week's cutoff, land, score, serve."""
        self.platform.clock(self.use_case).set(self.use_case.cutoff(week))
        self.deliver_all([week])
        self.score(week)
        self.serve()


@cache
def _read() -> UseCase:
    return load_use_case(FOLDER / NAME / "use_case.yaml")


def open_stores(library: Library) -> None:
    """Migrate the ledger and MLflow's database, which take a second and are the same in each home."""
    library.platform.ledger.assets()
    library.platform.tracking.champion_digest(MODEL)


def open_library(home: Path, **environment: str) -> Library:
    """The library's installation in a home folder, alone where the environment names no other use cases."""
    given = {"ML_PLATFORM_HOME": str(home), **environment}
    alone = given.get(SEARCH_PATH_VARIABLE, os.environ.get(SEARCH_PATH_VARIABLE)) == str(FOLDER)
    platform = Platform(given, Outside(use_cases={NAME: _read()}) if alone else None)
    return Library(platform, platform.target(MODEL))


def train_first(library: Library) -> None:
    """All stages up to the first candidate's evaluation."""
    weeks = library.weeks(FIRST_WEEK, SERVED[0])
    library.deliver_all(weeks)
    library.build("features", weeks)
    library.build("labels", weeks[:-1])
    training_data.build(library.platform, library.target, library.now)
    assert library.candidate().passed


def serve_first(library: Library) -> None:
    """Promote the first champion; score and serve two weeks."""
    assert library.promote().outcome == "promoted"
    for week in SERVED:
        library.serve_week(week)


def train_second(library: Library) -> None:
    """A week later, another candidate, which differs by its seed."""
    library.platform.clock(library.use_case).set(library.use_case.cutoff(NEXT_WEEK))
    library.deliver_all([NEXT_WEEK])
    assert library.candidate(second(library)).passed


def promote_second(library: Library) -> None:
    """The second champion serves its first week."""
    assert library.promote(second(library)).outcome == "promoted"
    library.score(NEXT_WEEK)
    library.serve()


def second(library: Library) -> Target:
    """The model with the second candidate's settings."""
    return library.model(training={"seed": 8})


def spoil(library: Library, digest: str) -> None:
    """Change bytes of an object in the lake behind the platform's back."""
    file = library.platform.lake.path(digest)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.unlink()
    file.write_bytes(bytes(data))


class Meanwhile(LocalLake):
    """The lake of a run that is slow: another run goes first, once, when this one writes or reads."""

    def __init__(self, root: Path, other: Callable[[], object]) -> None:
        super().__init__(root)
        self._other: list[Callable[[], object]] = [other]

    def put(self, data: bytes) -> str:
        self._let_go()
        return super().put(data)

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        self._let_go()
        return super().put_many(items)

    def get(self, digest: str) -> bytes:
        self._let_go()
        return super().get(digest)

    def _let_go(self) -> None:
        if self._other:
            self._other.pop()()


def slowed(library: Library, other: Callable[[], object]) -> Library:
    """The installation as a second run sees it, overtaken by another run in the middle."""
    run = open_library(library.platform.home)
    run.platform.__dict__["lake"] = Meanwhile(library.platform.home / "lake", other)
    return run


def killed(home: Path, at: tuple[object, str], step: Callable[[Library], object]) -> None:
    """Run a step in another process that is killed when it calls a function, as by a power cut."""
    child = os.fork()
    if not child:
        try:
            setattr(*at, lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL))
            step(open_library(home))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it ended before it was killed"
