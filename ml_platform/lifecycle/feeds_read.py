"""Which feeds each of a use case's views reads, and which of them its settings do not give to the views."""

from __future__ import annotations

from collections.abc import Iterator

from ml_platform.config import UseCase
from ml_platform.config_errors import read_yaml
from ml_platform.errors import ConfigError
from ml_platform.features.dbt import CompiledViews, compiled_views
from ml_platform.features.lineage import relations_read
from ml_platform.features.relations import feed_of


def view_readers(use_case: UseCase) -> dict[str, tuple[str, ...]]:
    """By feed, which of ``features`` and ``labels`` are made of it: both where the entities are.

    SQL that sqlglot does not understand may read any of them.

    Raises:
        ConfigError: dbt refuses the project.
    """
    views = compiled_views(use_case)
    read = _read(views)
    made = {"features": (views.entities, views.features), "labels": (views.entities, views.labels)}
    unknown = [what for what, each in made.items() if not all(map(relations_read, each))]
    return {
        feed.name: tuple(
            what
            for what, each in made.items()
            if what in unknown or any(view.name in read.get(feed.name, {}) for view in each)
        )
        for feed in use_case.config.feeds
    }


def entity_feeds(use_case: UseCase) -> list[str]:
    """Feeds with partitions that the entities are made of; all such, where that is not known.

    Raises:
        ConfigError: dbt refuses the project.
    """
    views = compiled_views(use_case)
    read = _read(views)
    dated = [f.name for f in use_case.config.feeds if not f.static]
    return [name for name in dated if views.entities.name in read.get(name, {})] or dated


def label_feeds(use_case: UseCase) -> set[str]:
    """Feeds with partitions that the labels' SQL itself reads: the outcomes come by them.

    Raises:
        ConfigError: dbt refuses the project.
    """
    views = compiled_views(use_case)
    read = _read(views)
    return {
        f.name for f in use_case.config.feeds if not f.static and views.labels.name in read.get(f.name, {})
    }


def absent_feeds(use_case: UseCase, views: CompiledViews) -> Iterator[ConfigError]:
    """Feeds that the SQL reads and will not find: left out of ``views.feeds``, or not declared at all."""
    config, file = use_case.config, use_case.folder / "use_case.yaml"
    declared = {f.name for f in config.feeds}
    given = set(config.views.feeds) or declared
    for feed, places in sorted(_read(views).items()):
        if feed in given:
            continue
        what = f"the SQL of {' and '.join(places)} reads feed {feed}, which "
        place = "feeds" if feed not in declared else "views.feeds"
        line = read_yaml(file, "the use case", ConfigError, "").line(tuple(place.split(".")))
        if feed not in declared:
            what += "is not declared"
            fix = f"declare it under `feeds` ({file}:{line}), or take it out of the SQL"
        else:
            what += f"`views.feeds` does not name: only {', '.join(config.views.feeds)} can be read"
            fix = (
                f"add {feed} to `views.feeds` ({file}:{line}), or take that key out: then all feeds are read"
            )
        yield ConfigError(what, where=", ".join(places.values()), fix=fix)


def _read(views: CompiledViews) -> dict[str, dict[str, str]]:
    """By feed, the views whose SQL reads it, each with its file and line."""
    found: dict[str, dict[str, str]] = {}
    each = (views.entities, views.features, views.labels)
    own = {view.name for view in each}  # may begin like a feed's relation
    for view in each:
        for relation, line in relations_read(view).items():
            if relation not in own and (feed := feed_of(relation)):
                found.setdefault(feed, {})[view.name] = view.where(line)
    return found
