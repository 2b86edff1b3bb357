"""Whether a use case can be loaded, told without running any of its code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from ml_platform.config import UseCase
from ml_platform.errors import ConfigError, PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.ingestion.code import check_code
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.feeds_read import absent_feeds


def require_loadable(use_case: UseCase, feeds: Mapping[str, UseCase]) -> None:
    """Raise the first of :func:`load_problems`, with all others in it.

    Args:
        use_case: The use case.
        feeds: The use case that has brought each feed already.

    Raises:
        ConfigError: Something about it is wrong.
    """
    problems = list({str(p): p for p in load_problems(use_case, feeds)}.values())
    if len(problems) == 1:
        raise problems[0]
    if problems:
        told = "\n".join(f"{i}. {problem}" for i, problem in enumerate(problems, 1))
        raise ConfigError(
            f"{len(problems)} things are wrong:\n{told}",
            where=str(use_case.folder),
            fix="mend each as it says",
        )


def feeds_before(use_case: UseCase, found: Iterable[UseCase]) -> dict[str, UseCase]:
    """The use case that has brought each feed when it is this one's turn to be loaded.

    Args:
        use_case: The one whose turn it is.
        found: All that can be read, in the order in which they are loaded.
    """
    earlier = list(takewhile(lambda u: u.folder != use_case.folder, found))
    own = {f.name for f in use_case.config.feeds}
    feeds: dict[str, UseCase] = {}
    # Most share no feed; then nobody else's dbt project need be compiled.
    if any(own & {f.name for f in u.config.feeds} for u in earlier):
        for each in earlier:
            if next(load_problems(each, feeds), None) is None:
                for feed in each.config.feeds:
                    feeds.setdefault(feed.name, each)
    return feeds


def load_problems(use_case: UseCase, feeds: Mapping[str, UseCase]) -> Iterator[PlatformError]:
    """What keeps a use case from being loaded: contracts, feed code, dbt project; each named once."""
    for feed in use_case.config.feeds:
        other = feeds.get(feed.name)
        try:
            contract = contract_of(use_case, feed.name)
            if feed.reader:
                check_code(use_case.folder, feed.reader)
            if other is not None:
                _require_same(use_case, other, feed.name, contract.digest)
        except PlatformError as error:
            yield error
    try:
        yield from absent_feeds(use_case, compiled_views(use_case))
    except PlatformError as error:
        yield error


def _require_same(use_case: UseCase, other: UseCase, feed: str, digest: str) -> None:
    """Use cases may share a feed; two different feeds of one name would be mixed in silence."""
    differs = []
    if contract_of(other, feed).digest != digest:
        differs.append("contract")
    here, there = use_case.feed(feed), other.feed(feed)
    settings = [k for k in type(here).model_fields if getattr(here, k) != getattr(there, k)]
    if settings:
        differs.append(f"declaration in use_case.yaml ({', '.join(settings)})")
    if differs:
        verb = "differs" if len(differs) == 1 else "differ"
        raise ConfigError(
            f"feed '{feed}' is another one in use case '{other.name}': its {' and '.join(differs)} {verb}",
            where=f"{use_case.folder / 'use_case.yaml'} and {other.folder / 'use_case.yaml'}: feed {feed}",
            fix="rename the feed and its contract file here, or declare it exactly as there to share it",
        )
