"""Stages 4 to 7: dataset version, candidate, evaluation, champion."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetCheckResult,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.keys import model_key, owners, view_key
from ml_platform.orchestration.limits import pool_of
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of


def model_assets(target: Target) -> list[AssetsDefinition]:
    """The assets from dataset version to champion of one model."""
    return [_training_dataset(target), _candidate_model(target), _evaluation(target), _champion_model(target)]


def common(target: Target, stage: str, kinds: set[str], **shown: Any) -> dict[str, Any]:
    """What all of a model's assets share; ``shown`` is further metadata."""
    return {
        "key": model_key(target, stage),
        "group_name": f"{target.use_case.name}__{target.model.name}",
        "owners": owners(target.use_case),
        "kinds": kinds,
        "metadata": {**metadata.readme(target.use_case), **shown},
        "pool": pool_of(target.use_case),
    }


def _training_dataset(target: Target) -> AssetsDefinition:
    windows = target.model.windows
    trained = str(windows.train) if windows.since is None else f"all since {windows.since}"

    @asset(
        **common(target, "training_dataset", {"parquet"}),
        deps=[
            AssetDep(view_key(target.use_case, view), partition_mapping=AllPartitionMapping())
            for view in ("features", "labels")
        ],
        description=f"A content-addressed version of {trained} training and {windows.gate} later gate "
        "partitions, all with mature labels. The same inputs give the same version, and nothing is rebuilt.",
    )
    def training_dataset(
        context: AssetExecutionContext, platform: PlatformResource
    ) -> MaterializeResult[None]:
        from ml_platform.lifecycle.training_data import build

        stores = platform.get()
        report = build(stores, target, as_of(context, stores, target.use_case))
        context.log.info(f"dataset {report.version} is {'new' if report.new else 'known already'}")
        return MaterializeResult(
            metadata={
                "version": report.version,
                "new": report.new,
                "rows": report.rows,
                "training": f"{report.train.first} to {report.train.last}",
                "gate": f"{report.gate.first} to {report.gate.last}",
                "training_partitions": report.train.partitions,
                "gate_partitions": report.gate.partitions,
                **report.outcomes,
                "left_out": metadata.table({"partition": k, "why": v} for k, v in report.left_out.items()),
            }
        )

    return training_dataset


def _candidate_model(target: Target) -> AssetsDefinition:
    training = target.model.training

    @asset(
        **common(target, "candidate_model", {training.estimator, "mlflow"}),
        deps=[model_key(target, "training_dataset")],
        description=f"A {training.estimator} model and its {training.baseline or 'absent'} baseline, trained "
        "on the named dataset version. The same version, code and seed give the same digest.",
    )
    def candidate_model(
        context: AssetExecutionContext, platform: PlatformResource
    ) -> MaterializeResult[None]:
        from ml_platform.lifecycle.training import train_candidate

        stores = platform.get()
        report = train_candidate(
            stores, target, as_of(context, stores, target.use_case), progress=context.log.info
        )
        return MaterializeResult(metadata=_shown(report.shown()) | _mlflow(stores, report.digest))

    return candidate_model


def _evaluation(target: Target) -> AssetsDefinition:
    from ml_platform.modeling.gate_names import gate_names, gate_title

    key = model_key(target, "evaluation")

    @asset(
        **common(target, "evaluation", {"scikitlearn"}),
        deps=[model_key(target, "candidate_model"), model_key(target, "training_dataset")],
        check_specs=[
            AssetCheckSpec(name, asset=key, description=text)
            for name, text in gate_names(target.model).items()
        ],
        description="The candidate on days after its training window, against its baseline and the champion. "
        "A gate that cannot be judged is UNKNOWN, and UNKNOWN never promotes.",
    )
    def evaluation(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.evaluation import SKIPPED, evaluate_candidate, every_gate

        stores = platform.get()
        report = evaluate_candidate(stores, target, as_of(context, stores, target.use_case))
        gates = every_gate(target, report.gates)
        asked = ("name", "state", "measured", "comparison", "limit", "sentence")
        table = {
            "gates": [{k: gate[k] for k in asked} | {"name": gate_title(gate["name"])} for gate in gates]
        }
        yield MaterializeResult(
            metadata=_shown(report.shown() | table) | _mlflow(stores, report.model_digest)
        )
        for gate in gates:
            if gate["state"] == SKIPPED:
                partial.skip_check(context, gate["name"], gate["sentence"])
                continue
            yield AssetCheckResult(
                asset_key=key,
                check_name=gate["name"],
                passed=gate["state"] == "PASS",
                description=gate["sentence"],
                metadata={
                    "state": gate["state"],
                    "measured": str(gate["measured"]),
                    "limit": str(gate["limit"]),
                },
            )

    return evaluation


def _champion_model(target: Target) -> AssetsDefinition:
    key = model_key(target, "champion_model")

    @asset(
        **common(target, "champion_model", {"mlflow"}),
        deps=[model_key(target, "evaluation")],
        check_specs=[AssetCheckSpec("promoted", asset=key, description="The newest candidate serves.")],
        # A first candidate that the gates refuse leaves nothing to serve: the stages after it are skipped.
        output_required=False,
        description="The model in force. The ledger decides in one transaction; MLflow's alias follows. "
        f"Policy: {target.model.promotion.policy}.",
    )
    def champion_model(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.promotion import promote_candidate

        stores = platform.get()
        report = promote_candidate(stores, target, as_of(context, stores, target.use_case))
        context.log.info(report.sentence())
        if report.champion is not None:
            link = _mlflow(stores, report.champion.model_digest)
            yield MaterializeResult(metadata=_shown(report.shown()) | link)
        yield AssetCheckResult(
            asset_key=key,
            check_name="promoted",
            passed=report.candidate_serves,
            description=report.sentence(),
        )

    return champion_model


def _mlflow(stores: Platform, model_digest: str) -> dict[str, Any]:
    """A link to the model's run, where there is one."""
    from ml_platform.lifecycle.pages import mlflow_address

    url = mlflow_address(stores, model_digest)
    return {} if url is None else {"mlflow": MetadataValue.url(url)}


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values as metadata: PNG bytes become images, records become tables."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            shown[name] = metadata.image(value, name)
        elif isinstance(value, list):
            shown[name] = metadata.table(value)
        elif value is not None:
            shown[name] = metadata.text(value)
    return shown
