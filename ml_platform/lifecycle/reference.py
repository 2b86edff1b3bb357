"""The champion's frozen reference: labelled rows on which its scores are out of sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.evaluation import with_scores
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.modeling import frames
from ml_platform.registry import promotions
from ml_platform.statistics.frames import Table
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Evaluation, Promotion
from ml_platform.storage.tables import Model as ModelRow


@dataclass(frozen=True)
class Reference:
    """Frozen rows on which the champion's scores are out of sample, or why there are none.

    Attributes:
        rows: ``partition_key``, key, features, the label as code, scores; None where they cannot be had.
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
    kind = target.kind
    scores = kind.scores(rows, "candidate")
    rows = rows.drop_columns([*kind.names("candidate"), *kind.names("champion")])
    return with_scores(target, _labelled(target, rows), kind.column, scores)


def _scored_gate(target: Target, scores: pa.Table, rows: pa.Table) -> pa.Table:
    kind = target.kind
    gated = set(kind.names("out_of_sample")) <= set(scores.column_names)
    if scores.num_rows != rows.num_rows:
        raise PlatformError("the evaluation's scores are of other rows", where=target.key)
    found = kind.scores(scores, "out_of_sample" if gated else "candidate")
    return with_scores(target, _labelled(target, rows), kind.column, found)


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
    kind = target.kind
    scores = read_table(platform.lake.get(model.scores_digest)).select([*key, *kind.names("score")])
    names = dict(zip(kind.names("score"), kind.names(), strict=True))
    joined = rows.join(scores, keys=key, join_type="inner").rename_columns(names)
    joined = _labelled(target, joined).sort_by([(c, "ascending") for c in key])
    return pa.concat_tables([joined.select(gate.column_names), gate], promote_options="permissive")


def _labelled(target: Target, rows: pa.Table) -> pa.Table:
    return target.kind.encoded(rows, target.model.label.column)


def daily_losses(target: Target, rows: Table) -> dict[str, float]:
    """Mean loss of rows with codes of their labels and the champion's score by partition, in order."""
    codes = np.asarray(rows[target.model.label.column], dtype=np.float64)
    keys = np.asarray(rows["partition_key"], dtype=object)
    return frames.daily_losses(target.kind, keys, codes, target.kind.scores(rows))
