"""When rows could be known and when partitions are scored, by the settings: kept with what they made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from ml_platform.config import UseCase
from ml_platform.feed_config import FeedConfig

TIMING = "timing"
"""Under this name publications keep it; those that were made before it was kept have none."""
_DURATION = TypeAdapter(timedelta)


def feed_timing(use_case: UseCase, feed: FeedConfig) -> dict[str, str]:
    """How a feed's rows are placed and dated, in words; empty where its reader does it."""
    if not feed.declared:
        return {}
    return {
        "known_at": _known_at(feed),
        "event_time": feed.event_time or "none",
        "timezone": feed.timezone or use_case.scheme.timezone,
        "time_format": feed.time_format or "ISO",
    }


def another_known_at(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> bool:
    """Whether known_at alone differs: rows stand in the same partitions, with the same instants."""
    if not old or not new or old["known_at"] == new["known_at"]:
        return False
    return all(old[n] == new[n] for n in new if n != "known_at")


def views_timing(use_case: UseCase, key: str) -> dict[str, Any]:
    """What a partition's features, labels and predictions rest on: its cutoff, and known_at of the feeds."""
    names = use_case.config.views.feeds or tuple(f.name for f in use_case.config.feeds)
    feeds = [use_case.feed(n) for n in names]
    return {
        "cutoff": use_case.cutoff(key).isoformat(),
        "known_at": {f.name: _known_at(f) for f in feeds if f.declared},
    }


def is_current(use_case: UseCase, key: str, details: Mapping[str, Any]) -> bool:
    """Whether a publication of a partition rests on the cutoff and known_at of today's settings.

    Of one that was made before they were kept nothing else is known than that it was in order then. A feed
    that the views have begun to read, or do no more, makes them other code, and not older.
    """
    kept = details.get(TIMING)
    return kept is None or not timing_differences(kept, views_timing(use_case, key))


def timing_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What of two :func:`views_timing` differs, as it was and as it is: ``cutoff``, or a feed's name."""
    told = {"cutoff": (old["cutoff"], new["cutoff"])}
    before, after = old["known_at"], new["known_at"]
    told |= {feed: (before[feed], after[feed]) for feed in sorted(before.keys() & after.keys())}
    return {name: pair for name, pair in told.items() if pair[0] != pair[1]}


def _known_at(feed: FeedConfig) -> str:
    rule = feed.known_at
    if rule is None or rule.delay == timedelta(0):
        return "the event itself"
    if rule.column is not None:
        return f"column {rule.column}"
    if rule.arrival:
        return "arrival"
    assert rule.delay is not None
    return f"delay {_DURATION.dump_python(rule.delay, mode='json')}"
