"""What the champion has served and what is known about it by now: the rows that diagnosis judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.monitors import SCORE
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Evaluation, Promotion, Publication
from ml_platform.storage.tables import Model as ModelRow

__all__ = ["SCORE", "Live", "Reference", "reference_of"]


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


@dataclass
class Live:
    """One model's served partitions as of an instant.

    Attributes:
        platform: The stores.
        target: The model.
        as_of: The present of the timeline; nothing later is looked at.
        promotion: The champion in force then.
    """

    platform: Platform
    target: Target
    as_of: datetime
    promotion: Promotion

    @property
    def partition(self) -> str:
        """The partition of the present: the day of the diagnosis."""
        return self.target.use_case.scheme.key_at(self.as_of)

    @property
    def last_mature(self) -> str:
        """The last partition whose labels should all be known."""
        return self.target.use_case.last_mature(self.target.model, self.as_of)

    @cached_property
    def heads(self) -> dict[str, Publication]:
        """Published predictions of partitions that were scored up to now, by partition."""
        found = self.platform.ledger.heads(predictions_asset(self.target))
        return {k: h for k, h in found.items() if self.target.use_case.cutoff(k) <= self.as_of}

    @cached_property
    def by_champion(self) -> list[str]:
        """Partitions scored by the champion in force, in order."""
        return [k for k, h in self.heads.items() if h.details["model_digest"] == self.promotion.model_digest]

    @cached_property
    def matured(self) -> list[str]:
        """Of those, the ones that are old enough to be judged."""
        return [k for k in self.by_champion if k <= self.last_mature]

    def served(self, keys: Sequence[str]) -> pa.Table | None:
        """Predictions with features as served; None where there are none."""
        found = [self.heads[k] for k in keys if k in self.heads]
        if not found:
            return None
        self.platform.lake.paths(h.digest for h in found)
        tables = [read_table(self.platform.lake.get(h.digest)) for h in found]
        return pa.concat_tables(tables, promote_options="default")

    def labels(self, keys: Sequence[str]) -> pa.Table | None:
        """Labels of partitions as known now, by the current label code; None without partitions."""
        ready = views.reached(self.target.use_case, keys, self.as_of)
        if not ready:
            return None
        tables = views.compute(self.platform, self.target.use_case, "labels", ready, self.as_of)
        return pa.concat_tables(tables.values())

    def judged(self, keys: Sequence[str], labels: pa.Table) -> pa.Table | None:
        """Served rows with their known labels; None where there are none."""
        served = self.served(keys)
        if served is None:
            return None
        join = ["partition_key", *self.target.use_case.config.views.key]
        column = self.target.model.label.column
        known = labels.filter(pc.is_valid(labels[column])).select([*join, column])
        if column in served.column_names:
            served = served.drop_columns([column])
        rows = served.join(known, keys=join, join_type="inner")
        numeric = rows[column].cast(pa.float64())
        index = rows.column_names.index(column)
        rows = rows.set_column(index, column, numeric)
        return rows.sort_by([(c, "ascending") for c in join])


_REFERENCES: dict[tuple[str, int], Reference] = {}


def reference_of(platform: Platform, target: Target, promotion: Promotion) -> Reference:
    """The champion's frozen reference: the gate's days, with scores of a model that never saw them.

    Where the gate had fewer partitions than the reference should, it is topped up with cross-fitted
    scores of the last training partitions.
    """
    key = (str(platform.home), promotion.id)
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


def day_losses(rows: pa.Table, label: str) -> tuple[list[str], np.ndarray]:
    """Mean log loss of each partition, in order."""
    truth = rows[label].to_numpy()
    score = np.clip(rows[SCORE].to_numpy(), 1e-15, 1 - 1e-15)
    loss = -(truth * np.log(score) + (1 - truth) * np.log1p(-score))
    table = pa.table({"partition_key": rows["partition_key"], "loss": loss})
    means = table.group_by("partition_key", use_threads=False).aggregate([("loss", "mean")])
    means = means.sort_by("partition_key")
    return means["partition_key"].to_pylist(), means["loss_mean"].to_numpy()
