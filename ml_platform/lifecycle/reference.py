"""The champion's frozen reference: labelled rows on which its scores are out of sample.

At first these are the gate's days; they are replaced once, by the first live days without an incident, which
:mod:`ml_platform.lifecycle.guard.live_reference` freezes. The back-test stays what it was at the promotion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.evaluation import with_scores
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.model_config import ModelConfig
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
        source: ``gate``, or ``live`` once the first live days have replaced it.
    """

    rows: pa.Table | None
    reason: str = ""
    source: Literal["gate", "live"] = "gate"

    @cached_property
    def partitions(self) -> list[str]:
        """Its partitions, in order."""
        return sorted(set(self.rows["partition_key"].to_pylist())) if self.rows is not None else []

    def sentence(self) -> str:
        """For people."""
        if self.rows is None:
            return self.reason
        what = "live days without an incident" if self.source == "live" else "the gate's days"
        return f"{what}: {len(self.partitions)} from {self.partitions[0]} to {self.partitions[-1]}"


def with_features_of(rows: pa.Table | None, model: ModelConfig) -> ModelConfig:
    """The model with those of its features that rows have, such as those of the champion's reference.

    Settings may be ahead of what serves: a feature was added, and its candidate waits or was refused.

    Args:
        rows: With a column per feature; None leaves the model as it is.
        model: Its settings.
    """
    if rows is None:
        return model
    there = tuple(f for f in model.features if f.name in rows.column_names)
    return model if len(there) == len(model.features) else model.model_copy(update={"features": there})


_REFERENCES: dict[tuple[str | int, ...], Reference] = {}
_KEPT = 2
"""A champion's back-test and its live reference."""


def reference_of(
    platform: Platform, target: Target, promotion: Promotion, as_of: datetime | None = None
) -> Reference:
    """What the champion is held against, as of an instant: the live reference once there is one.

    It counts from after the instant at which it was frozen, so that a day that is asked about again gets the
    answer that it got.

    Args:
        platform: The stores.
        target: The model.
        promotion: The champion.
        as_of: The instant; now when None.
    """
    name = live_reference_key(promotion)
    found = platform.ledger.heads(live_reference_asset(target), [name], as_of=as_of).get(name)
    if found is None or (as_of is not None and found.as_of >= as_of):
        return backtest_of(platform, target, promotion)
    return _remembered((platform.ledger.url, found.digest), lambda: _live(platform, found.digest))


def backtest_of(platform: Platform, target: Target, promotion: Promotion) -> Reference:
    """The gate's days, with scores of a model that never saw them: what the promotion rested on.

    Where the gate had fewer partitions than the reference should, it is topped up with cross-fitted
    scores of the last training partitions.
    """
    key = (platform.ledger.url, promotion.id, target.model.diagnosis.reference_partitions)
    return _remembered(key, lambda: _reference(platform, target, promotion))


def live_reference_asset(target: Target) -> str:
    """The ledger's name of live references."""
    return target.asset("reference")


def live_reference_key(promotion: Promotion) -> str:
    """A model has one for all its life: a rollback to it finds it again."""
    return f"v{promotion.version}"


def _remembered(key: tuple[str | int, ...], read: Callable[[], Reference]) -> Reference:
    if key not in _REFERENCES or _REFERENCES[key].rows is None:
        while len(_REFERENCES) >= _KEPT:  # they change with the champion only
            _REFERENCES.pop(next(iter(_REFERENCES)))
        _REFERENCES[key] = read()
    return _REFERENCES[key]


def _live(platform: Platform, digest: str) -> Reference:
    try:
        return Reference(read_table(platform.lake.get(digest)), source="live")
    except PlatformError as error:
        return Reference(None, f"the champion's reference cannot be read: {error.what}", "live")


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
