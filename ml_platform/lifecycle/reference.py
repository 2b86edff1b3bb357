"""The champion's frozen reference: labelled rows on which its scores are out of sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.scoring import SCORE
from ml_platform.modeling.frames import daily_log_losses
from ml_platform.registry import promotions
from ml_platform.statistics.frames import Table
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Evaluation, Promotion
from ml_platform.storage.tables import Model as ModelRow


@dataclass(frozen=True)
class Reference:
    """Frozen rows on which the champion's scores are out of sample, or why there are none.

    Attributes:
        rows: ``partition_key``, key, features, label, ``probability``; None where they cannot be had.
        reason: Why there are none.
    """

    rows: pa.Table | None
    reason: str = ""

    @cached_property
    def partitions(self) -> list[str]:
        """Its partitions, in order."""
        return sorted(set(self.rows["partition_key"].to_pylist())) if self.rows is not None else []


_REFERENCES: dict[tuple[str, int, int], Reference] = {}


def reference_of(platform: Platform, target: Target, promotion: Promotion) -> Reference:
    """The champion's frozen reference: the gate's days, with scores of a model that never saw them.

    Where the gate had fewer partitions than the reference should, it is topped up with cross-fitted
    scores of the last training partitions.
    """
    settings = target.model.diagnosis
    key = (platform.ledger.url, promotion.id, settings.reference_partitions)
    if key not in _REFERENCES or _REFERENCES[key].rows is None:
        _REFERENCES.clear()  # one is enough: it changes with the champion only
        _REFERENCES[key] = _reference(platform, target, promotion)
    return _REFERENCES[key]


def _reference(platform: Platform, target: Target, promotion: Promotion) -> Reference:
    if promotion.evaluation_id is None:
        return Reference(None, "the champion was never evaluated")
    try:
        judged = promotions.evaluation(platform.ledger, promotion.evaluation_id)
        evidence = read_table(platform.lake.get(judged.evidence_digest))
        if set(target.model.feature_names) <= set(evidence.column_names):
            return Reference(_recalibrated(target, evidence))
        dataset = versions.find(platform.ledger, judged.dataset_version)
        manifest = versions.manifest_of(platform.lake, dataset)
        gate = _scored_gate(target, evidence, versions.load(platform.lake, manifest, "gate"))
        short = target.model.diagnosis.reference_partitions - len(manifest.of("gate"))
        if short <= 0:
            return Reference(gate)
        return Reference(_topped_up(platform, target, judged, gate, manifest, short))
    except PlatformError as error:
        return Reference(None, f"the champion's reference cannot be read: {error.what}")


def _recalibrated(target: Target, evidence: pa.Table) -> pa.Table:
    """The rows of a recalibration: its few parameters were fitted to many days, its trees never saw them."""
    keys = sorted(set(evidence["partition_key"].to_pylist()))
    last = keys[-target.model.diagnosis.reference_partitions :]
    rows = evidence.filter(pc.is_in(evidence["partition_key"], pa.array(last, pa.string())))
    rows = rows.drop_columns(["champion"])
    names = [SCORE if n == "candidate" else n for n in rows.column_names]
    return _labelled(target, rows.rename_columns(names))


def _scored_gate(target: Target, scores: pa.Table, rows: pa.Table) -> pa.Table:
    name = "out_of_sample" if "out_of_sample" in scores.column_names else "candidate"
    if scores.num_rows != rows.num_rows:
        raise PlatformError("the evaluation's scores are of other rows", where=target.key)
    return _labelled(target, rows).append_column(SCORE, scores[name].cast(pa.float64()))


def _topped_up(
    platform: Platform,
    target: Target,
    judged: Evaluation,
    gate: pa.Table,
    manifest: versions.Manifest,
    short: int,
) -> pa.Table:
    """The gate's rows after the last training partitions, cross-fitted by the model that was gated."""
    model: ModelRow | None = promotions.model(platform.ledger, judged.model_digest)
    if model is not None and model.dataset_version != judged.dataset_version:
        # A refit, which has been trained on the gate's days: the model that was gated speaks for it.
        model = promotions.latest_model(platform.ledger, target.key, judged.dataset_version)
    if model is None or model.scores_digest is None:
        return gate
    parts = manifest.of("train")[-short:]
    rows = pa.concat_tables([versions.load_partition(platform.lake, manifest, p) for p in parts])
    key = ["partition_key", *manifest.key]
    scores = read_table(platform.lake.get(model.scores_digest)).select([*key, "score"])
    joined = rows.join(scores, keys=key, join_type="inner").rename_columns({"score": SCORE})
    joined = _labelled(target, joined).sort_by([(c, "ascending") for c in key])
    return pa.concat_tables([joined.select(gate.column_names), gate], promote_options="permissive")


def _labelled(target: Target, rows: pa.Table) -> pa.Table:
    column = target.model.label.column
    return rows.set_column(rows.column_names.index(column), column, rows[column].cast(pa.float64()))


def daily_losses(target: Target, rows: Table) -> dict[str, float]:
    """Mean log loss of labelled rows with the champion's score by partition, in order."""
    truth = rows[target.model.label.column].to_numpy().astype(np.float64)
    return daily_log_losses(rows["partition_key"].to_numpy(), truth, rows[SCORE].to_numpy())
