"""What a stage asks of its run: which partitions, and as of when."""

from __future__ import annotations

from datetime import datetime

from dagster import AssetExecutionContext

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform

ADVANCE_TAG = "ml_platform/advance_clock"
"""A run with this tag may move a replay clock forward to its partition's cutoff."""


def partition_keys(context: AssetExecutionContext) -> list[str]:
    """The run's partitions, in order."""
    return sorted(context.partition_keys)


def as_of(context: AssetExecutionContext, platform: Platform, use_case: UseCase) -> datetime:
    """The timeline's present; the daily schedule's runs first move a replay clock to the cutoff."""
    clock = platform.clock(use_case)
    if context.run.tags.get(ADVANCE_TAG) and context.has_partition_key:
        cutoff = use_case.cutoff(context.partition_key)
        if use_case.config.timeline.clock == "replay" and clock.now() < cutoff:
            return clock.set(cutoff)
    return clock.now()
