"""The health of use cases in the graph: a broken one is an asset that says why, with a check that fails."""

import hashlib
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    AssetSpec,
    DefaultSensorStatus,
    Definitions,
    MetadataValue,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    asset_check,
    sensor,
)

from ml_platform.discovery import BrokenUseCase, Discovery
from ml_platform.orchestration.resources import PlatformResource

GROUP = "broken_use_cases"
USE_CASES = AssetKey(["platform", "use_cases"])
ALL_LOAD = "all_load"
NONE_REMOVED = "none_removed_with_predictions"
LOADS = "loads"


def health_definitions(discovery: Discovery) -> Definitions:
    """An asset for all use cases, one for each that is broken, their checks, and the sensor that judges."""
    found = ", ".join(sorted(discovery.use_cases)) or "none"
    health = AssetSpec(
        USE_CASES,
        group_name="platform",
        owners=["team:platform"],
        kinds={"yaml"},
        description=f"The use cases of this code location: {found}.",
        metadata={
            "use_cases": MetadataValue.json(sorted(discovery.use_cases)),
            "broken": MetadataValue.json([b.name for b in discovery.broken]),
        },
    )
    names = _distinct_names(discovery)
    return Definitions(
        assets=[health, *(_asset(n, b) for n, b in names.items())],
        asset_checks=[_all_load(), _none_removed(), *(_loads(n, b) for n, b in names.items())],
        sensors=[_health_sensor(names)],
    )


def broken_key(name: str) -> AssetKey:
    """``broken_use_cases/<name>``."""
    return AssetKey([GROUP, name])


def _distinct_names(discovery: Discovery) -> dict[str, BrokenUseCase]:
    names: dict[str, BrokenUseCase] = {}
    for broken in discovery.broken:
        safe = "".join(c if c.isalnum() else "_" for c in broken.name)
        while safe in names:
            safe += "_again"
        names[safe] = broken
    return names


def _asset(name: str, broken: BrokenUseCase) -> AssetSpec:
    return AssetSpec(
        broken_key(name),
        group_name=GROUP,
        owners=["team:platform"],
        kinds={"yaml"},
        description=f"**This use case cannot be loaded.**\n\n```\n{broken.error}\n```",
        metadata={
            "file": str(broken.path),
            "what": broken.error.what,
            "where": broken.error.where or "–",
            "fix": broken.error.fix or "–",
        },
        tags={"broken": "true"},
    )


def _loads(name: str, broken: BrokenUseCase) -> AssetChecksDefinition:
    @asset_check(
        name=LOADS,
        asset=broken_key(name),
        description="Whether the use case can be loaded; reload the code location after mending it.",
    )
    def loads() -> AssetCheckResult:
        return AssetCheckResult(passed=False, severity=AssetCheckSeverity.ERROR, metadata=_told(broken))

    return loads


def _told(broken: BrokenUseCase) -> dict[str, Any]:
    return {"error": MetadataValue.md(f"```\n{broken.error}\n```"), "file": str(broken.path)}


def _all_load() -> AssetChecksDefinition:
    @asset_check(
        name=ALL_LOAD,
        asset=USE_CASES,
        description="Every use case can be read, and its feed code imported, each in a process of its own.",
    )
    def all_load(platform: PlatformResource) -> AssetCheckResult:
        return _judged(platform, "broken", run_code=True)

    return all_load


def _none_removed() -> AssetChecksDefinition:
    @asset_check(
        name=NONE_REMOVED,
        asset=USE_CASES,
        description="No use case with a champion or predictions has gone from the search paths.",
    )
    def none_removed_with_predictions(platform: PlatformResource) -> AssetCheckResult:
        return _judged(platform, "removed", run_code=False)

    return none_removed_with_predictions


def _judged(platform: PlatformResource, state: str, *, run_code: bool) -> AssetCheckResult:
    from ml_platform.lifecycle.health import examine

    ill = [h for h in examine(platform.get(), run_code=run_code) if h.state == state]
    told = {h.name: MetadataValue.md(f"```\n{h.error}\n```") for h in ill}
    return AssetCheckResult(passed=not ill, severity=AssetCheckSeverity.ERROR, metadata=told)


def _health_sensor(broken: dict[str, BrokenUseCase]) -> SensorDefinition:
    """Judges the checks by itself: a person should see a broken use case without asking for it."""

    @sensor(
        name="use_case_health",
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
        description="Records a failed check for each use case that is broken or gone, when that changes.",
    )
    def use_case_health(
        context: SensorEvaluationContext, platform: PlatformResource
    ) -> SensorResult | SkipReason:
        from ml_platform.lifecycle.health import examine

        healths = examine(platform.get(), run_code=False)
        told = "\n".join(f"{h.name} {h.state} {h.error or ''}" for h in healths)
        cursor = hashlib.sha256(told.encode()).hexdigest()
        if cursor == context.cursor:
            return SkipReason("nothing has changed")
        events = [_evaluation(broken_key(name), LOADS, False, _told(one)) for name, one in broken.items()]
        for check, state in ((ALL_LOAD, "broken"), (NONE_REMOVED, "removed")):
            ill = {h.name: str(h.error) for h in healths if h.state == state}
            events.append(_evaluation(USE_CASES, check, not ill, ill))
        return SensorResult(asset_events=events, cursor=cursor)

    return use_case_health


def _evaluation(key: AssetKey, check: str, passed: bool, metadata: dict[str, Any]) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(
        asset_key=key,
        check_name=check,
        passed=passed,
        metadata=metadata,
        severity=AssetCheckSeverity.ERROR,
    )
