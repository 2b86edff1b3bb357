"""Whether something can be learned from the labels that a check looks at, and whether they come in time."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.config_errors import read_yaml
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.feeds_read import label_feeds
from ml_platform.model_config import ModelConfig
from ml_platform.remarks import Remark
from ml_platform.strict import Place

_CERTAIN = 0.999
"""The share of labels that are waited for, as `use-case new` proposes it."""


def label_remarks(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    """What is wrong with a model's labels; a column that is not there is told without data.

    Args:
        use_case: The use case.
        model: The model whose label is looked at.
        truth: Rows of the labels view of mature partitions, with all that is known of them.
    """
    yield from _label(use_case, model, truth)
    yield from _early(use_case, model, truth)
    yield from _late(use_case, model, truth)


def _late(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    """Labels that come after their partition counts as mature, or after deliveries still look for them."""
    instant, scheme = model.label.known_at, use_case.scheme
    if instant not in truth.column_names:
        return
    known = truth.select(["partition_key", instant]).to_pandas().dropna()
    after = sorted(
        scheme.distance(key, scheme.key_at(at.to_pydatetime()))
        for key, at in zip(known["partition_key"], known[instant], strict=True)
    )
    if not after:
        return
    most, tolerated = after[ceil(_CERTAIN * len(after)) - 1], 1 - model.diagnosis.mature_share
    file, place = use_case.folder / "use_case.yaml", use_case.config.models.index(model)
    wait, at = model.label.maturity_partitions, ("models", place, "label", "maturity_partitions")
    harm = "their partitions count as mature, and train, without them"
    settings: list[tuple[str, int, int, Place, str]] = [
        (f"label.maturity_partitions of model {model.name}", wait, most + 1, at, harm)
    ]
    outcomes, case = label_feeds(use_case), set(use_case.config.views.key)
    for i, feed in enumerate(use_case.config.feeds):
        # Where a label follows from other rows, such as later orders, those come with their own partitions.
        if feed.name in outcomes and set(contract_of(use_case, feed.name).key) == case:
            lost = "no later delivery asks for their partition, so that they are never seen"
            name = f"lookback of feed {feed.name}"
            settings.append((name, feed.lookback, most, ("feeds", i, "lookback"), lost))
    for name, value, needed, key, harm in settings:
        late = sum(n + needed - most > value for n in after) / len(after)
        if late > tolerated:
            line = read_yaml(file, "the use case", ConfigError, "").line(key)
            yield Remark(
                "warning",
                f"{late:.0%} of the labels come later than {name} allows ({scheme.counted(value)}): {harm}",
                f"{file}:{line}",
                f"let it be {needed} or more: by then {_CERTAIN:.1%} of the labels looked at are known",
            )


def _label(use_case: UseCase, model: ModelConfig, truth: pa.Table) -> Iterator[Remark]:
    where = f"{use_case.dbt_dir / 'models' / (use_case.config.views.labels + '.sql')}: {model.label.column}"
    if model.label.column not in truth.column_names:
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
