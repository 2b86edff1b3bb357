"""Asset keys, groups, owners and partitions of the graph, derived from use cases alone."""

from __future__ import annotations

import re
from datetime import datetime, time

from dagster import AssetKey, TimeWindowPartitionsDefinition

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Target

_SHORT_ENDING = re.compile(r"\.[A-Za-z]{2,7}$")
_CRON = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * {weekday}",
    "monthly": "0 0 1 * *",
}


def feed_key(feed: str, stage: str) -> AssetKey:
    """``feed/<name>/<stage>``: a feed may serve several use cases."""
    return AssetKey(["feed", feed, stage])


def view_key(use_case: UseCase, view: str) -> AssetKey:
    """``<use_case>/<view>``."""
    return AssetKey([use_case.name, view])


def model_key(target: Target, stage: str) -> AssetKey:
    """``<use_case>/<model>/<stage>``."""
    return AssetKey([target.use_case.name, target.model.name, stage])


def partitions_of(use_case: UseCase) -> TimeWindowPartitionsDefinition:
    """The use case's partitions as Dagster's."""
    scheme = use_case.scheme
    weekday = (scheme.first.weekday() + 1) % 7
    end = None
    if scheme.last_key is not None:
        end = scheme.begins(scheme.shift(scheme.last_key, 1)).astimezone(scheme.zone)
    return TimeWindowPartitionsDefinition(
        start=datetime.combine(scheme.first, time(0), tzinfo=scheme.zone),
        end=end,
        cron_schedule=_CRON[scheme.width].format(weekday=weekday),
        fmt="%Y-%m-%dT%H" if scheme.width == "hourly" else "%Y-%m-%d",
        timezone=scheme.timezone,
    )


def owners(use_case: UseCase) -> list[str]:
    """The use case's owners, as Dagster writes them.

    Dagster refuses an address that ends in more than seven letters, as in ``.technology``, and the use case
    with it: the team stands for such an owner.
    """
    owner = use_case.config.owner
    return [*([owner.email] if _SHORT_ENDING.search(owner.email) else []), f"team:{owner.team}"]
