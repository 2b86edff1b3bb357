"""Training: a candidate and its baseline on a named dataset version, kept in lake, ledger and MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ml_platform.datasets import versions
from ml_platform.errors import NotReadyError, StoreError
from ml_platform.lifecycle import pointers
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.modeling import bundle, plots
from ml_platform.modeling.train import LIBRARIES, TrainedModel, train
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Dataset, Model

if TYPE_CHECKING:
    from ml_platform.registry.mlflow_projection import TrainingRun

STAGE = "candidate_model"


@dataclass(frozen=True)
class TrainingReport:
    """A candidate and how it was trained.

    Attributes:
        digest: SHA-256 of its bundle: its identity.
        estimator: Kind of model.
        baseline: Digest of the baseline's bundle, if there is one.
        dataset_version: What both were trained on.
        loss: Cross-fitted loss of the candidate, the mean over partitions.
        baseline_loss: The baseline's.
        loss_name: What loss it is.
        calibration: The calibrator that was kept.
        reused: Whether the same training had been done before.
        run_id: MLflow's run.
        importance: PNG.
        constant: Features of one value in all training rows.
        warning: What could not be projected.
    """

    digest: str
    estimator: str
    baseline: str | None
    dataset_version: str
    loss: float
    baseline_loss: float | None
    loss_name: str
    calibration: str
    reused: bool
    run_id: str | None
    importance: bytes | None
    constant: tuple[str, ...] = ()
    warning: str = ""

    def shown(self) -> dict[str, Any]:
        """Facts for the UI."""
        return {
            "model": self.digest,
            "estimator": self.estimator,
            "baseline": self.baseline,
            "dataset_version": self.dataset_version,
            f"cross_fitted_{self.loss_name}": self.loss,
            f"baseline_cross_fitted_{self.loss_name}": self.baseline_loss,
            "calibration": self.calibration,
            "reused": self.reused,
            "mlflow_run": self.run_id,
            "importance": self.importance,
            "features_of_one_value": ", ".join(self.constant) or None,
            "warning": self.warning or None,
        }


def train_candidate(
    platform: Platform,
    target: Target,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> TrainingReport:
    """Train on the dataset version that the model's ``training_dataset`` is at.

    The same version, code, settings and libraries have been trained before: nothing is done again.

    Raises:
        NotReadyError: No dataset version has been built.
    """
    at = pointers.current(platform, target, "training_dataset")
    if at is None:
        raise NotReadyError(
            "there is no dataset version to train on", where=target.key, fix="materialise training_dataset"
        )
    dataset = versions.find(platform.ledger, at.details["version"])
    recipe = recipe_of(target, dataset.version)
    head = pointers.current(platform, target, STAGE)
    if head is not None and head.details["recipe"] == recipe and platform.lake.exists(head.digest):
        return _reported(platform, head.digest, head.details, reused=True, image=None)
    manifest = versions.manifest_of(platform.lake, dataset)
    table = versions.load(platform.lake, manifest, "train")
    code = {"features": manifest.feature_version, "labels": manifest.label_version}
    common: dict[str, Any] = {
        "model_key": target.key,
        "dataset_version": dataset.version,
        "code_versions": code,
        "keys": manifest.key,
        "progress": lambda what, share: progress(f"{what} ({share:.0%})"),
    }
    candidate = train(table, target.model, **common)
    baseline_kind = target.model.training.baseline
    baseline = train(table, target.model, estimator=baseline_kind, **common) if baseline_kind else None
    image = plots.importance(candidate.model.importance)
    details: dict[str, Any] = {"recipe": recipe, "dataset_version": dataset.version, "warning": ""}
    details["loss"] = target.kind.loss
    details |= _numbers(candidate, "candidate")
    details["constant"] = [f.name for f in candidate.features if f.constant]
    if baseline is not None:
        details |= _numbers(baseline, "baseline")
    run_id = None
    if platform.outside.tracked:
        try:
            run_id = platform.tracking.log(
                target.key, _mlflow_run(target, dataset, candidate, baseline, image)
            )
        except StoreError as error:
            details["warning"] = f"MLflow has no run of this training: {error.what}"
    details["run_id"] = run_id
    if baseline is not None:
        # One run holds both, so that a baseline that is promoted has a run to link to.
        details["baseline"] = keep_model(platform, target, baseline, dataset, as_of, run_id)
    digest = keep_model(platform, target, candidate, dataset, as_of, run_id)
    pointers.move(platform, target, STAGE, digest, candidate.out_of_sample.num_rows, details, as_of)
    return _reported(platform, digest, details, reused=False, image=image)


def recipe_of(target: Target, dataset_version: str) -> str:
    """Hash of all that decides what training gives."""
    from importlib.metadata import version

    facts = {
        "dataset": dataset_version,
        "model": target.model.model_dump(
            mode="json", include={"name", "kind", "label", "features", "training"}
        ),
        "libraries": {name: version(name) for name in LIBRARIES},
        "bundle": bundle.BUNDLE_SCHEMA,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _numbers(trained: TrainedModel, name: str) -> dict[str, Any]:
    return {
        f"{name}_estimator": trained.model.estimator,
        f"{name}_loss": trained.loss,
        f"{name}_calibration": trained.model.calibrator.method,
    }


def _metrics(trained: TrainedModel) -> dict[str, float]:
    """Cross-fitted loss, and the mean training outcome of each channel."""
    kind = trained.model.kind
    means = zip(kind.channels, trained.model.constant, strict=True)
    named = {
        f"training_share_{c}" if c else "base_rate" if kind.bounded else "training_mean": v for c, v in means
    }
    return {f"cross_fitted_{kind.loss}": trained.loss} | named


def keep_model(
    platform: Platform,
    target: Target,
    trained: TrainedModel,
    dataset: Dataset,
    as_of: datetime,
    run_id: str | None,
) -> str:
    """Write the bundle and its out-of-sample scores aside, then enter the model in the ledger."""
    digest = platform.lake.put(bundle.to_bytes(trained.model))
    scores = platform.lake.put(write_table(trained.out_of_sample))
    promotions.record_model(
        platform.ledger,
        Model(
            digest=digest,
            model_key=target.key,
            dataset_version=dataset.version,
            estimator=trained.model.estimator,
            metrics=_metrics(trained),
            scores_digest=scores,
            mlflow_run_id=run_id,
            as_of=as_of,
            recorded_at=wall_now(),
        ),
    )
    return digest


def _mlflow_run(
    target: Target,
    dataset: Dataset,
    candidate: TrainedModel,
    baseline: TrainedModel | None,
    image: bytes,
) -> TrainingRun:
    from ml_platform.registry.mlflow_projection import TrainingRun

    model, data = candidate.model, bundle.to_bytes(candidate.model)
    parameters = {f"{model.estimator}.{k}": str(v) for k, v in model.parameters.items()}
    metrics = _metrics(candidate)
    if baseline is not None:
        metrics[f"baseline_cross_fitted_{model.kind.loss}"] = baseline.loss
    return TrainingRun(
        name=f"{model.estimator} {dataset.version}",
        parameters=parameters | {"seed": str(model.provenance.seed), "calibration": model.calibrator.method},
        metrics=metrics,
        tags={
            "digest": bundle.digest(data),
            "dataset_version": dataset.version,
            "training_partitions": " to ".join(model.provenance.partitions),
            "rows": str(model.provenance.rows),
            **{f"{k}_code": v for k, v in model.provenance.code_versions.items()},
        },
        files={"model/bundle.tar": data, "plots/importance.png": image},
    )


def _reported(
    platform: Platform, digest: str, details: dict[str, Any], *, reused: bool, image: bytes | None
) -> TrainingReport:
    return TrainingReport(
        digest=digest,
        estimator=details["candidate_estimator"],
        baseline=details.get("baseline"),
        dataset_version=details["dataset_version"],
        loss=details["candidate_loss"],
        baseline_loss=details.get("baseline_loss"),
        loss_name=details["loss"],
        calibration=details["candidate_calibration"],
        reused=reused,
        run_id=details["run_id"],
        importance=image,
        constant=tuple(details.get("constant", ())),
        warning=details["warning"],
    )
