"""The code location. It composes everything and imports nothing heavy.

A use case that cannot be loaded shows as an asset that says why, and stops no other.
"""

from __future__ import annotations

import logging

from dagster import Definitions

from ml_platform.config import UseCase
from ml_platform.discovery import discover
from ml_platform.errors import ConfigError, PlatformError
from ml_platform.lifecycle.loadable import require_loadable
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration.assets.catalogue import catalogue_asset
from ml_platform.orchestration.assets.feeds import feed_assets
from ml_platform.orchestration.assets.guards import guard_assets
from ml_platform.orchestration.assets.models import model_assets
from ml_platform.orchestration.assets.monitors import monitor_assets
from ml_platform.orchestration.assets.serving import serving_assets
from ml_platform.orchestration.assets.views import dbt_resource, dbt_resource_key, view_assets
from ml_platform.orchestration.freshness import freshness_check
from ml_platform.orchestration.health import health_definitions
from ml_platform.orchestration.jobs import PERSONS_JOBS, SCORING_JOB, asset_jobs, job_name
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.retraining import ACTION_JOBS, retraining_sensor
from ml_platform.orchestration.schedules import partition_schedule
from ml_platform.orchestration.sensors import alert_sensor

_log = logging.getLogger(__name__)


def use_case_definitions(use_case: UseCase, known_feeds: set[str]) -> Definitions:
    """Everything of one use case; feeds that another use case has brought are not brought twice."""
    feeds = [f for f in use_case.config.feeds if f.name not in known_feeds]
    targets = [Target(use_case, m) for m in use_case.config.models]
    jobs = asset_jobs(use_case)
    scoring = next(j for j in jobs if j.name == job_name(use_case, SCORING_JOB))
    monitor = next(j for j in jobs if j.name == job_name(use_case, "monitor"))
    return Definitions(
        assets=[
            *(a for f in feeds for a in feed_assets(use_case, f)),
            *view_assets(use_case),
            catalogue_asset(use_case),
            *(
                a
                for t in targets
                for build in (model_assets, serving_assets, monitor_assets, guard_assets)
                for a in build(t)
            ),
        ],
        asset_checks=[freshness_check(use_case, f) for f in feeds],
        jobs=jobs,
        schedules=[partition_schedule(use_case, scoring)],
        sensors=[retraining_sensor(use_case, monitor)],
        resources={dbt_resource_key(use_case): dbt_resource(use_case)},
    )


def build() -> Definitions:
    """All use cases, the persons' jobs, the sensor of alerts, and the health of use cases."""
    composed: list[Definitions] = []
    feeds: dict[str, UseCase] = {}

    def compose(use_case: UseCase) -> None:
        require_loadable(use_case, feeds)
        composed.append(_composed(use_case, set(feeds)))
        for feed in use_case.config.feeds:
            feeds.setdefault(feed.name, use_case)

    discovery = discover(probe=compose)
    for broken in discovery.broken:
        _log.warning("use case %s is broken and not loaded: %s", broken.name, broken.error)
    return Definitions.merge(
        Definitions(
            jobs=[*PERSONS_JOBS, *ACTION_JOBS.values()],
            sensors=[alert_sensor({n: u.config.owner for n, u in discovery.use_cases.items()})],
            resources={"platform": PlatformResource()},
            metadata={"use_cases": len(discovery.use_cases), "broken_use_cases": len(discovery.broken)},
        ),
        health_definitions(discovery),
        *composed,
    )


def _composed(use_case: UseCase, known_feeds: set[str]) -> Definitions:
    """The definitions of a use case; whatever goes wrong in it stays its own."""
    try:
        return use_case_definitions(use_case, known_feeds)
    except PlatformError:
        raise
    except Exception as error:
        raise ConfigError(
            f"its assets cannot be composed: {type(error).__name__}: {error}",
            where=str(use_case.folder),
            fix=f"`ml-platform use-case check {use_case.name}` says what is wrong",
        ) from error


defs = build()
