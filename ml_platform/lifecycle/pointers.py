"""Which dataset version and which candidate a model's stages are at: publications without partitions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.tables import Publication

CURRENT = "current"


def current(platform: Platform, target: Target, stage: str) -> Publication | None:
    """What a stage of a model is at."""
    return platform.ledger.head(target.asset(stage), CURRENT)


def move(
    platform: Platform,
    target: Target,
    stage: str,
    digest: str,
    rows: int,
    details: dict[str, Any],
    as_of: datetime,
) -> None:
    """Put a stage at an object, unless it is there already."""
    head = current(platform, target, stage)
    if head is not None and head.digest == digest and head.details == details:
        return
    expects = head.id if head else None
    item = NewPublication(target.asset(stage), CURRENT, digest, rows, details, expects)
    platform.ledger.publish([item], as_of)
