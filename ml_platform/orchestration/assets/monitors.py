"""Stage 10: how labels arrive, how the model does on matured days, what drifts."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.assets.models import common
from ml_platform.orchestration.assets.serving import accepted_feeds
from ml_platform.orchestration.keys import model_key
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of


def monitor_assets(target: Target) -> list[AssetsDefinition]:
    """The monitors of one model."""
    return [_label_maturity(target), _live_performance(target), _drift(target)]


def served(target: Target) -> AssetDep:
    """The model's predictions, whatever partition."""
    return AssetDep(model_key(target, "predictions"), partition_mapping=AllPartitionMapping())


def state_check(target: Target, stage: str, name: str, state: str, text: str) -> AssetCheckResult:
    """A monitor's state as a check: only PASS passes, and what could not be judged warns."""
    return AssetCheckResult(
        asset_key=model_key(target, stage),
        check_name=name,
        passed=state == "PASS",
        severity=AssetCheckSeverity.ERROR if state == "FAIL" else AssetCheckSeverity.WARN,
        description=f"{state}: {text}",
        metadata={"state": state},
    )


def _label_maturity(target: Target) -> AssetsDefinition:
    key = model_key(target, "label_maturity")

    @asset(
        **common(target, "label_maturity", {"matplotlib"}),
        deps=accepted_feeds(target),
        check_specs=[
            AssetCheckSpec(
                "labels_arrive_as_usual",
                asset=key,
                description="Recent cohorts' labels arrive as aged ones' did, and none is overdue.",
            )
        ],
        description="The law by which labels arrive, from fully aged cohorts: which partitions may be judged "
        "and trained on, which only with weights, and from when on the rest. A partition is aged after "
        f"{target.model.label.maturity_partitions} partitions.",
    )
    def label_maturity(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.monitors import label_arrival

        stores = platform.get()
        view = label_arrival(stores, target, as_of(context, stores, target.use_case))
        report = view.report
        young = report.named("weighted", "immature", "overdue")
        yield MaterializeResult(
            metadata={
                "chart": metadata.image(view.chart, "label arrival"),
                "state": report.state,
                "last_mature": report.last_mature or "none",
                "immature_partitions": len(young),
                "weighted_partitions": len(report.named("weighted")),
                "known": sum(c.known for c in report.cohorts),
                "cohorts": metadata.table(
                    {
                        "partition": c.partition_key,
                        "maturity": c.maturity,
                        "rows": c.rows,
                        "share_known": round(c.share_known, 4),
                        "expected": c.expected,
                        "missing": c.missing,
                        "effective_share": round(c.effective_share, 4),
                        "mature_at": c.mature_at or "",
                    }
                    for c in reversed(report.cohorts)
                ),
            }
        )
        yield state_check(target, "label_maturity", "labels_arrive_as_usual", report.state, report.sentence())

    return label_maturity


def _live_performance(target: Target) -> AssetsDefinition:
    key = model_key(target, "live_performance")

    @asset(
        **common(target, "live_performance", {"matplotlib"}),
        output_required=False,
        deps=[served(target), model_key(target, "label_maturity"), *accepted_feeds(target)],
        check_specs=[
            AssetCheckSpec(
                "no_harm", asset=key, description="Loss and bias on matured days, by day-blocked bounds."
            )
        ],
        description="Predictions as served against matured labels. The loss of young days, weighted by the "
        "law of label arrival, and the loss estimated without labels stand beside it and are never mixed in. "
        "The one chart of the model is here.",
    )
    def live_performance(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.agenda import left_out
        from ml_platform.lifecycle.guard.showing import story_page
        from ml_platform.lifecycle.monitors import performance
        from ml_platform.lifecycle.pages import address, publish

        stores = platform.get()
        reason = left_out(stores, target, needs="predictions")
        if reason:
            yield from partial.left_out(context, reason, checks=["no_harm"])
            return
        now = as_of(context, stores, target.use_case)
        view = performance(stores, target, now)
        report = view.report
        html = story_page(stores, target, now, view.chart).encode()
        page = publish(stores, target, "chart", target.use_case.scheme.key_at(now), html, now)
        numbers: dict[str, Any] = {
            m.name: metadata.text(m.value) for m in report.metrics if m.value is not None
        }
        yield MaterializeResult(
            metadata={
                "chart": metadata.image(view.chart, "realised loss by day"),
                "page": MetadataValue.url(address(stores, page)),
                "state": report.state,
                "matured_partitions": len(report.mature),
                "immature_partitions": metadata.listed(report.immature),
                "weighted_partitions": metadata.listed(report.weighted),
                "rows": report.rows,
                "reference": view.reference,
                "density_weighted_unknown": metadata.listed(sorted(set(view.estimated.unknown.values()))),
                **numbers,
                "losses": metadata.table(
                    {
                        "partition": d.partition_key,
                        "labels": d.maturity,
                        "realised": d.loss,
                        "weighted": d.weighted_loss,
                        "effective_share": d.effective_share,
                        "estimated without labels": view.estimated.cbpe.get(d.partition_key),
                        "the same, density-weighted": view.estimated.weighted.get(d.partition_key),
                    }
                    for d in reversed(report.days)
                ),
                "metrics": metadata.table(asdict(m) for m in report.metrics),
            }
        )
        text = f"{len(report.mature)} matured, {len(report.immature)} immature partitions"
        yield state_check(target, "live_performance", "no_harm", report.state, text)

    return live_performance


def _drift(target: Target) -> AssetsDefinition:
    key = model_key(target, "drift")
    settings = target.model.monitoring

    @asset(
        **common(target, "drift", {"evidently"}),
        output_required=False,
        deps=[served(target)],
        check_specs=[AssetCheckSpec("no_drift", asset=key, description="Columns and score, by day.")],
        description=f"The last {settings.current_partitions} served partitions against the champion's "
        "frozen reference, blocked by day. Shown, and never a reason to retrain by itself.",
    )
    def drift(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.agenda import left_out
        from ml_platform.lifecycle.monitors import drifting
        from ml_platform.lifecycle.pages import address

        stores = platform.get()
        reason = left_out(stores, target, needs="predictions")
        if reason:
            yield from partial.left_out(context, reason, checks=["no_drift"])
            return
        view = drifting(stores, target, as_of(context, stores, target.use_case))
        report = view.report
        shown: dict[str, Any] = {
            "chart": metadata.image(view.chart, "drift by column"),
            "state": report.state,
            "alarms": metadata.listed(report.alarms),
            "columns_drifted": len(report.alarms),
            "columns": metadata.table(
                {
                    "column": c.name,
                    "state": c.state,
                    "decides": c.deciding,
                    "effect": c.values.effect,
                    "psi": c.information.psi,
                }
                for c in report.columns
            ),
        }
        if view.evidently:
            shown["evidently_report"] = MetadataValue.url(address(stores, view.evidently))
        yield MaterializeResult(metadata=shown)
        yield state_check(
            target, "drift", "no_drift", report.state, f"alarms: {metadata.listed(report.alarms)}"
        )

    return drift
