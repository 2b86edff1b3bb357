"""Stages 1 and 2: what a feed delivered, what was accepted of it, what was quarantined."""

from collections.abc import Iterator, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Output,
    asset,
    multi_asset,
)

from ml_platform.config import UseCase
from ml_platform.contracts.model import Contract
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.keys import feed_key, owners, partitions_of
from ml_platform.orchestration.partial import PartitionMetadata
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of, partition_keys
from ml_platform.partitions import STATIC_KEY

Events = Iterator[AssetMaterialization | AssetCheckResult | Output[None]]


def feed_assets(use_case: UseCase, feed: FeedConfig) -> list[AssetsDefinition]:
    """``landed``, and ``accepted`` with ``quarantine``, of one feed."""
    contract = contract_of(use_case, feed.name)
    return [_landed(use_case, feed, contract), _accepted(use_case, feed, contract)]


def _common(use_case: UseCase, feed: FeedConfig) -> dict[str, Any]:
    return {
        "group_name": "reference_feeds" if feed.static else "feeds",
        "owners": owners(use_case),
    }


def _landed(use_case: UseCase, feed: FeedConfig, contract: Contract) -> AssetsDefinition:
    @asset(
        key=feed_key(feed.name, "landed"),
        description=f"Deliveries of {feed.name}, as they came: append-only revisions with known_at.\n\n"
        f"{contract.description}",
        partitions_def=None if feed.static else partitions_of(use_case),
        backfill_policy=None if feed.static else BackfillPolicy.single_run(),
        kinds={"parquet"},
        metadata={"reader": feed.origin, "landing_lag": str(feed.landing_lag), "lookback": feed.lookback},
        output_required=False,
        **_common(use_case, feed),
    )
    def landed(context: AssetExecutionContext, platform: PlatformResource) -> Events:
        from ml_platform.lifecycle.landing import land

        stores = platform.get()
        keys = [STATIC_KEY] if feed.static else partition_keys(context)
        results = land(stores, use_case, feed, keys, as_of(context, stores, use_case))
        counts = {s: sum(r.status == s for r in results) for s in ("new", "unchanged", "empty", "not_due")}
        context.log.info(f"{feed.name}: {counts}")
        shown = [r for r in results if r.revision and (r.partition in keys or r.status == "new")]
        if feed.static:
            yield Output(None, metadata={"rows": results[0].rows, "status": results[0].status})
            return
        yield from partial.materialise(
            context,
            [
                PartitionMetadata(r.partition, {"rows": r.rows, "status": r.status, "revision": r.revision})
                for r in shown
            ],
        )

    return landed


def _accepted(use_case: UseCase, feed: FeedConfig, contract: Contract) -> AssetsDefinition:
    accepted, quarantine = feed_key(feed.name, "accepted"), feed_key(feed.name, "quarantine")
    columns = {c.name: (c.logical_type, c.description) for c in contract.columns}
    partitions = None if feed.static else partitions_of(use_case)

    @multi_asset(
        name=f"feed__{feed.name}__accept",
        specs=[
            AssetSpec(
                accepted,
                deps=[AssetDep(feed_key(feed.name, "landed"))],
                description=f"{contract.description}\n\nRows that kept contract {contract.version}, with the "
                "history of their revisions and when each became visible.",
                kinds={"parquet", "greatexpectations"},
                metadata={
                    "dagster/column_schema": metadata.schema(columns),
                    "dagster/column_lineage": metadata.same_columns(
                        contract.column_names, feed_key(feed.name, "landed")
                    ),
                    "contract": str(use_case.contracts_dir / f"{feed.name}.yaml"),
                    "contract_version": contract.version,
                },
                skippable=True,
                partitions_def=partitions,
                **_common(use_case, feed),
            ),
            AssetSpec(
                quarantine,
                deps=[AssetDep(feed_key(feed.name, "landed"))],
                description=f"Rows of {feed.name} that broke a rule, with rule, value and reason. "
                "`ml-platform quarantine replay` brings them back after a fix.",
                kinds={"parquet"},
                skippable=True,
                partitions_def=partitions,
                **_common(use_case, feed),
            ),
        ],
        check_specs=check_specs(feed, contract),
        # Also makes the checks optional: where nothing has been delivered, their last results stand.
        can_subset=True,
        backfill_policy=None if feed.static else BackfillPolicy.single_run(),
    )
    def accept_feed(context: AssetExecutionContext, platform: PlatformResource) -> Events:
        from ml_platform.lifecycle.acceptance import accept

        stores = platform.get()
        report = accept(stores, use_case, feed, as_of(context, stores, use_case))
        context.log.info(report.sentence())
        for part in report.partitions:
            shown = None if feed.static else part.partition
            if part.published:
                yield AssetMaterialization(accepted, metadata=part.numbers(), partition=shown)
            if part.quarantined:
                numbers: dict[str, Any] = {"rows": part.quarantined, "reasons": "; ".join(part.reasons)}
                yield AssetMaterialization(quarantine, metadata=numbers, partition=shown)
        if report.partitions:
            chosen = {key.name for key in context.selected_asset_check_keys}
            yield from (c for c in _check_results(feed, report) if c.check_name in chosen)
        for name in ("accepted", "quarantine"):
            if feed_key(feed.name, name) in context.selected_asset_keys:
                partial.finish(context, f"feed__{feed.name}__{name}")

    return accept_feed


def check_specs(feed: FeedConfig, contract: Contract) -> list[AssetCheckSpec]:
    """One check per rule of the contract, and one for the sums."""
    key = feed_key(feed.name, "accepted")
    rules = [
        AssetCheckSpec(
            rule.name,
            asset=key,
            description=f"{rule.description or rule.requirement} On breach: {rule.on_breach}.".strip(),
            metadata={"column": rule.column or "", "dimension": rule.dimension or ""},
        )
        for rule in contract.rules
    ]
    sums = AssetCheckSpec(
        "nothing_lost", asset=key, description="Rows landed = accepted + quarantined + held back."
    )
    return [sums, *rules]


def _check_results(feed: FeedConfig, report: Any) -> Iterator[AssetCheckResult]:
    key = feed_key(feed.name, "accepted")
    landed, rest = report.total("landed"), report.total("accepted", "quarantined", "held")
    yield AssetCheckResult(
        asset_key=key,
        check_name="nothing_lost",
        passed=landed == rest,
        metadata={"landed": landed, "accepted + quarantined + held": rest},
    )
    for rule in report.rules:
        yield AssetCheckResult(
            asset_key=key,
            check_name=rule.name,
            passed=rule.state == "PASS",
            severity=AssetCheckSeverity.ERROR if rule.on_breach == "hold" else AssetCheckSeverity.WARN,
            description=rule.sentence(),
            metadata={
                "state": rule.state,
                "failed_rows": rule.failed_rows,
                "checked_rows": rule.checked_rows,
                "partitions_failed": metadata.listed(rule.failed_partitions),
                "observed": str(rule.observed),
                "limit": str(rule.limit),
            },
        )


def keys_of(feeds: Sequence[FeedConfig], stage: str) -> list[AssetDep]:
    """Dependencies on one stage of some feeds."""
    return [AssetDep(feed_key(f.name, stage)) for f in feeds]
