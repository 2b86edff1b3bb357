"""The code location. It composes everything and imports nothing heavy.

A use case that cannot be loaded shows as an asset that says why, and stops no other.
"""

from __future__ import annotations

from dagster import AssetSpec, Definitions

from ml_platform.config import UseCase, load_use_case, use_case_files
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration.assets.feeds import feed_assets
from ml_platform.orchestration.assets.guards import guard_assets
from ml_platform.orchestration.assets.models import model_assets
from ml_platform.orchestration.assets.monitors import monitor_assets
from ml_platform.orchestration.assets.serving import serving_assets
from ml_platform.orchestration.assets.views import dbt_resource, dbt_resource_key, view_assets
from ml_platform.orchestration.freshness import freshness_check
from ml_platform.orchestration.jobs import PERSONS_JOBS, asset_jobs, job_name
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.retraining import ACTION_JOBS, retraining_sensor
from ml_platform.orchestration.schedules import daily_schedule
from ml_platform.orchestration.sensors import alert_sensor


def use_case_definitions(use_case: UseCase, known_feeds: set[str]) -> Definitions:
    """Everything of one use case; feeds that another use case has brought are not brought twice."""
    feeds = [f for f in use_case.config.feeds if f.name not in known_feeds]
    targets = [Target(use_case, m) for m in use_case.config.models]
    jobs = asset_jobs(use_case)
    score_day = next(j for j in jobs if j.name == job_name(use_case, "score_day"))
    monitor = next(j for j in jobs if j.name == job_name(use_case, "monitor"))
    return Definitions(
        assets=[
            *(a for f in feeds for a in feed_assets(use_case, f)),
            *view_assets(use_case),
            *(
                a
                for t in targets
                for build in (model_assets, serving_assets, monitor_assets, guard_assets)
                for a in build(t)
            ),
        ],
        asset_checks=[freshness_check(use_case, f) for f in feeds],
        jobs=jobs,
        schedules=[daily_schedule(use_case, score_day)],
        sensors=[retraining_sensor(use_case, monitor)],
        resources={dbt_resource_key(use_case): dbt_resource(use_case)},
    )


def build() -> Definitions:
    """All use cases, the persons' jobs, and the alert sensor."""
    merged = Definitions(
        jobs=[*PERSONS_JOBS, *ACTION_JOBS.values()],
        sensors=[alert_sensor()],
        resources={"platform": PlatformResource()},
    )
    known: set[str] = set()
    names: set[str] = set()
    for path in use_case_files():
        try:
            use_case = load_use_case(path)
            if use_case.name in names:
                raise PlatformError(f"another use case is named '{use_case.name}'", where=str(path))
            found = use_case_definitions(use_case, known)
        except PlatformError as error:
            merged = Definitions.merge(merged, _broken(path.parent.name, error))
            continue
        names.add(use_case.name)
        known |= {f.name for f in use_case.config.feeds}
        merged = Definitions.merge(merged, found)
    return merged


def _broken(name: str, error: PlatformError) -> Definitions:
    safe = "".join(c if c.isalnum() else "_" for c in name)
    spec = AssetSpec(
        ["broken_use_cases", safe],
        group_name="broken_use_cases",
        description=f"**This use case cannot be loaded.**\n\n```\n{error}\n```",
    )
    return Definitions(assets=[spec])


defs = build()
