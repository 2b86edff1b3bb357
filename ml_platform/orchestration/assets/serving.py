"""Stages 8 and 9: daily predictions, their export, and the serving cache."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    asset,
)

from ml_platform.kinds.names import served_columns
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.assets.models import common
from ml_platform.orchestration.keys import feed_key, model_key, partitions_of, view_key
from ml_platform.orchestration.partial import PartitionMetadata
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of, partition_keys


def serving_assets(target: Target) -> list[AssetsDefinition]:
    """Predictions, export and serving cache of one model."""
    return [_predictions(target), _export(target), _serving_cache(target)]


def accepted_feeds(target: Target) -> list[AssetDep]:
    """Dependencies on the accepted feeds that the views read: any partition of them may count."""
    config = target.use_case.config
    names = config.views.feeds or tuple(f.name for f in config.feeds)
    return [
        AssetDep(
            feed_key(name, "accepted"),
            partition_mapping=None if target.use_case.feed(name).static else AllPartitionMapping(),
        )
        for name in names
    ]


def _predictions(target: Target) -> AssetsDefinition:
    said = f"Of: {target.model.label.description}"
    columns = {f.name: (f.kind, f.description) for f in target.model.features} | {
        "entity_key": ("string", "Partition and entity, joined by '/'."),
        **{name: (kind, said) for name, kind in served_columns(target.model).items()},
        "decision": ("string", "What the score says, in words."),
        "cutoff": ("timestamp", "What was known later did not count."),
        "model_digest": ("string", "SHA-256 of the model's bundle."),
        "feature_code_version": ("string", "Hash of the compiled feature SQL."),
    }

    features = view_key(target.use_case, "features")
    lineage = {
        "dagster/column_schema": metadata.schema(columns),
        "dagster/column_lineage": metadata.same_columns(target.model.feature_names, features),
    }

    @asset(
        **common(target, "predictions", {"parquet", target.model.training.estimator}, **lineage),
        deps=[model_key(target, "champion_model"), *accepted_feeds(target)],
        partitions_def=partitions_of(target.use_case),
        backfill_policy=BackfillPolicy.single_run(),
        output_required=False,
        description="Each partition scored by the champion of its cutoff, on what was known then, with the "
        "features as served: the evidence that a later diagnosis needs.",
    )
    def predictions(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.agenda import left_out
        from ml_platform.lifecycle.scoring import score

        stores = platform.get()
        reason = left_out(stores, target, needs="champion")
        if reason:
            yield from partial.left_out(context, reason, partition_keys(context))
            return
        results = score(stores, target, partition_keys(context), as_of(context, stores, target.use_case))
        shown = [
            PartitionMetadata(
                r.partition,
                {
                    "rows": r.rows,
                    "status": r.status,
                    **r.summary,
                    "model_version": r.model_version,
                    "revision": r.revision,
                },
            )
            for r in results
            if r.rows
        ]
        others = [f"{r.partition} {r.status}" for r in results if not r.rows]
        context.log.info(f"scored {len(shown)} partition(s); left out: {metadata.listed(others, 4)}")
        yield from partial.materialise(context, shown)

    return predictions


def _export(target: Target) -> AssetsDefinition:
    @asset(
        **common(target, "export", {"parquet"}),
        deps=[model_key(target, "predictions")],
        partitions_def=partitions_of(target.use_case),
        backfill_policy=BackfillPolicy.single_run(),
        output_required=False,
        description="One Parquet file per partition for readers of files; `ml-platform export` writes CSV, "
        "Parquet, or a table of any SQLAlchemy database.",
    )
    def export(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.exporting import export_partitions

        written = export_partitions(platform.get(), target, partition_keys(context))
        shown = [
            PartitionMetadata(k, {"file": str(p), "bytes": p.stat().st_size}) for k, p in written.items()
        ]
        yield from partial.materialise(context, shown)

    return export


def _serving_cache(target: Target) -> AssetsDefinition:
    serving = target.model.serving

    @asset(
        **common(target, "serving_cache", {"lmdb"}),
        output_required=False,
        deps=[AssetDep(model_key(target, "predictions"), partition_mapping=AllPartitionMapping())],
        description=f"An immutable generation of the last {serving.segments} partitions, written aside, "
        f"counted and read back, then published; {serving.keep_generations} are kept for rollback.",
    )
    def serving_cache(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.agenda import left_out
        from ml_platform.lifecycle.caching import refresh

        stores = platform.get()
        reason = left_out(stores, target, needs="predictions")
        if reason:
            yield from partial.left_out(context, reason)
            return
        report = refresh(stores, target, as_of(context, stores, target.use_case))
        key, decision = report.sample
        yield MaterializeResult(
            metadata={
                "generation": report.generation,
                "new": report.new,
                "served_partition": report.served_partition,
                "segments": report.segments,
                "rows": report.rows,
                "segments_written": report.written,
                "read_back": f"{key} → {decision}",
            }
        )

    return serving_cache
