"""Freshness by the ledger's clock, which Dagster's own policy cannot read."""

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    asset_check,
)

from ml_platform.config import UseCase
from ml_platform.feed_config import FeedConfig
from ml_platform.orchestration.keys import feed_key
from ml_platform.orchestration.resources import PlatformResource


def freshness_check(use_case: UseCase, feed: FeedConfig) -> AssetChecksDefinition:
    """The newest partition that is due has come, by the clock of the use case's timeline."""

    @asset_check(
        asset=feed_key(feed.name, "accepted"),
        name="fresh",
        description="The newest partition that is due has come, by the clock of the timeline "
        f"'{use_case.config.timeline.name}'.",
    )
    def fresh(context: AssetCheckExecutionContext, platform: PlatformResource) -> AssetCheckResult:
        from ml_platform.lifecycle.freshness import feed_freshness

        found = feed_freshness(platform.get(), use_case, feed)
        return AssetCheckResult(
            passed=found.state == "PASS",
            severity=AssetCheckSeverity.ERROR if found.state == "FAIL" else AssetCheckSeverity.WARN,
            description=f"{found.state}: {found.reason}",
            metadata={
                "state": found.state,
                "partition": found.partition,
                "hours_since_delivery": found.age_hours,
                "hours_late": found.late_hours,
            },
        )

    return fresh
