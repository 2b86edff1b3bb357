"""The relations that a use case's SQL may read beside its own views: cutoffs and feeds."""

from __future__ import annotations

from collections.abc import Iterable

CUTOFFS = "cutoffs"
CUTOFF_COLUMNS = ("partition_key", "partition_start", "partition_end", "cutoff", "as_of")
HISTORY_COLUMNS = ("partition_key", "known_at", "accepted_at", "revision", "visible_from", "visible_to")
"""What an accepted history has beside its contract's columns."""

_PREFIX = "feed_"


def relation_of(feed: str) -> str:
    """Name of the relation in which the SQL finds a feed."""
    return f"{_PREFIX}{feed}"


def feed_of(relation: str) -> str | None:
    """The feed behind a relation; ``None`` where it is something else."""
    return relation.removeprefix(_PREFIX) if relation.startswith(_PREFIX) else None


def history_names(contract: Iterable[str]) -> tuple[str, ...]:
    """Names of all columns of a feed's accepted history, the contract's first."""
    return tuple(dict.fromkeys([*contract, *HISTORY_COLUMNS]))
