"""Whether something can be learned from the labels that a check looks at, and whether they come in time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.model_config import ModelConfig
from ml_platform.remarks import Remark


def label_remarks(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    """What is wrong with a model's labels.

    Args:
        use_case: The use case.
        model: The model whose label is looked at.
        truth: Rows of the labels view of mature partitions, with all that is known of them.
    """
    yield from _label(use_case, model, truth)
    yield from _early(use_case, model, truth)


def _label(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    where = f"{use_case.dbt_dir / 'models' / (use_case.config.views.labels + '.sql')}: {model.label.column}"
    if model.label.column not in truth.column_names:
        yield Remark("error", f"the labels view has no column {model.label.column}", where, "select it")
        return
    column = truth[model.label.column]
    known = column.drop_null()
    missing = column.null_count / max(1, len(column))
    if missing >= 0.99:
        fix = "look at the join of the labels' SQL, or at not_null and known_at of their feed"
        yield Remark("error", f"the label is missing in {missing:.0%} of mature rows", where, fix)
        return
    if missing > 0.05:
        fix = "raise label.maturity_partitions, or find out why outcomes never come"
        yield Remark("warning", f"the label is missing in {missing:.0%} of mature rows", where, fix)
    values = set(pc.unique(known).to_pylist())
    if len(values) < 2:
        fix = "look further back, or predict something that varies"
        yield Remark("error", f"the label is constant ({values}) in the rows looked at", where, fix)
    if model.kind == "binary" and not {float(v) for v in values if _number(v)} <= {0.0, 1.0}:
        shown = sorted(map(str, values))[:5]
        yield Remark("error", f"a binary label is 0 or 1, this one has {shown}", where, "cast it in SQL")


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _early(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    instant = model.label.known_at
    if instant not in truth.column_names:
        where = f"{use_case.dbt_dir / 'models' / (use_case.config.views.labels + '.sql')}: {instant}"
        fix = "select the instant from which the label is known, or name its column in label.known_at"
        yield Remark("error", f"the labels view has no column {instant}", where, fix)
        return
    known = truth.select(["partition_key", instant]).to_pandas().dropna()
    if known.empty:
        return
    cutoffs = known["partition_key"].map({k: use_case.cutoff(k) for k in known["partition_key"].unique()})
    early = int((known[instant] <= cutoffs).sum())
    share, limit = early / len(known), model.diagnosis.mismatch_share
    if share > limit:
        shown = f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
        file = use_case.folder / "use_case.yaml"
        yield Remark(
            "error",
            f"{shown} of the labels are known before the cutoff ({early:,} of {len(known):,}): nothing is "
            f"left to predict in them. Above {limit:g} (diagnosis.mismatch_share) the first verdict on what "
            "was served is fix_data, and its partitions do not train",
            f"{use_case.dbt_dir / 'models' / (use_case.config.views.entities + '.sql')}, and {file}: cutoff, "
            "and known_at of the label's feed",
            "leave out of the entities' SQL the rows whose outcome is known at the cutoff: left join the "
            "label's feed with visible_from <= cutoff and cutoff < visible_to, and keep the rows without a "
            "match; or score earlier or in narrower partitions, or correct known_at",
        )
