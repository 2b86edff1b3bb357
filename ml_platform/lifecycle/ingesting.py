"""What every day begins with: land what has come, and accept it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ml_platform.config import UseCase
from ml_platform.lifecycle.acceptance import AcceptanceReport, accept
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Platform


def ingest(
    platform: Platform, use_case: UseCase, keys: Sequence[str], as_of: datetime, *, static: bool = False
) -> list[AcceptanceReport]:
    """Land and accept some partitions of all feeds with event time (with ``static``, of the others too)."""
    reports = []
    for feed in use_case.config.feeds:
        if feed.static and not static:
            continue
        land(platform, use_case, feed, keys, as_of)
        reports.append(accept(platform, use_case, feed, as_of))
    return reports
