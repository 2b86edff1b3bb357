"""Settings of time that changed under accepted rows and built partitions: what rests on older ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.timing import (
    TIMING,
    another_known_at,
    feed_timing,
    is_current,
    timing_differences,
    views_timing,
)
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.remarks import Remark
from ml_platform.storage.tables import Publication


@dataclass(frozen=True)
class TimingChange:
    """What of a use case stands under older settings of time.

    Attributes:
        subject: What it is: a feed, or the features and labels.
        differences: Each setting, as it was and as it is, for people.
        partitions: Those that stand under the older settings, in order.
        last: When the last of them was accepted or built, on the timeline.
        recompute: What makes them anew.
    """

    subject: str
    differences: tuple[str, ...]
    partitions: tuple[str, ...]
    last: datetime
    recompute: str


def timing_changes(platform: Platform, use_case: UseCase) -> list[TimingChange]:
    """Feeds and views whose known_at, placement or cutoff is no longer that of the settings."""
    found = [c for feed in use_case.config.feeds for c in _of_feed(platform, use_case, feed.name)]
    return found + list(_of_views(platform, use_case))


def timing_remarks(platform: Platform, use_case: UseCase) -> Iterator[Remark]:
    """The same, as remarks of a check."""
    for change in timing_changes(platform, use_case):
        zone = use_case.scheme.zone
        span = f"{change.partitions[0]} to {change.partitions[-1]}"
        yield Remark(
            "warning",
            f"{change.subject} of {len(change.partitions)} partition(s) rest on older settings: "
            + "; ".join(change.differences),
            f"{use_case.folder / 'use_case.yaml'}; {span}, the last of them made as of "
            f"{change.last.astimezone(zone):%Y-%m-%d %H:%M}",
            change.recompute,
        )


def _of_feed(platform: Platform, use_case: UseCase, name: str) -> Iterator[TimingChange]:
    now = feed_timing(use_case, use_case.feed(name))
    groups: dict[tuple[str, ...], list[Publication]] = {}
    heads = platform.ledger.heads(accepted_asset(name))
    for head in (heads[k] for k in sorted(heads)):
        old = head.details.get(TIMING)
        if old and now and old != now:
            told = tuple(f"{n}: {old[n]} → {now[n]}" for n in now if old[n] != now[n])
            groups.setdefault(told, []).append(head)
    for differences, made in groups.items():
        if another_known_at(made[0].details[TIMING], now):
            recompute = (
                f"recompute: `ml-platform run {use_case.name}` dates rows that come as they stand by the new "
                "known_at, and builds features, labels and a candidate anew; what was served stays as it was"
            )
        else:
            recompute = (
                "where the source only writes the same instants otherwise, "
                f"`ml-platform run {use_case.name}` sees that they are the same. Where they are others, rows "
                "belong to other partitions: declare a feed with a new name, which is loaded as at first; in "
                f"{name} they would count as corrections from now on"
            )
        yield _change(f"feed {name}: accepted rows", differences, made, recompute)


def _of_views(platform: Platform, use_case: UseCase) -> Iterator[TimingChange]:
    older: dict[str, list[Publication]] = {"features": [], "labels": []}
    for view, made in older.items():
        heads = platform.ledger.heads(f"{use_case.name}/{view}")
        made += [heads[k] for k in sorted(heads) if not is_current(use_case, k, heads[k].details)]
    found = [p for made in older.values() for p in made]
    if not found:
        return
    last = max(found, key=lambda p: p.partition)
    differences = tuple(_differences(use_case, last.partition, last.details[TIMING]))
    what = " and ".join(view for view, made in older.items() if made)
    yield _change(
        what,
        differences,
        found,
        f"recompute: `ml-platform run {use_case.name}` builds them and a candidate anew; until then they "
        "train nothing. What was served stays as it was",
    )


def _differences(use_case: UseCase, key: str, old: Mapping[str, Any]) -> Iterator[str]:
    for name, pair in timing_differences(old, views_timing(use_case, key)).items():
        if name != "cutoff":
            yield f"known_at of feed {name}: {pair[0]} → {pair[1]}"
            continue
        zone = use_case.scheme.zone
        then, today = (f"{datetime.fromisoformat(t).astimezone(zone):%Y-%m-%d %H:%M}" for t in pair)
        yield f"cutoff, for example of {key}: {then} → {today}"


def _change(
    subject: str, differences: tuple[str, ...], made: list[Publication], recompute: str
) -> TimingChange:
    keys = tuple(sorted({p.partition for p in made}))
    return TimingChange(subject, differences, keys, max(p.as_of for p in made), recompute)
