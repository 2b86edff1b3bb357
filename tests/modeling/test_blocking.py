"""Blocks of rows: what folds may not split and what bounds take as the sample."""

import numpy as np
import pyarrow as pa
import pytest

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import ModelConfig
from ml_platform.modeling.blocking import GROUPS, block_names, entity_groups, partition_runs
from ml_platform.modeling.day_bounds import mean_of_days
from ml_platform.modeling.evaluate import evaluate

from .parcels import settings

WEEKS = [f"2021-{m:02}-01" for m in range(1, 13)]


def model(sample: str, length: int = 1) -> ModelConfig:
    config = settings()
    diagnosis = config.diagnosis.model_copy(update={"block_partitions": length})
    return config.model_copy(update={"sample": sample, "diagnosis": diagnosis})


def panel(entities: int = 2000, weeks: int = 6, seed: int = 0) -> pa.Table:
    """The same entities each week; what an entity does is nearly the same in all weeks."""
    rng = np.random.default_rng(seed)
    taste = rng.random(entities)
    bought = rng.random(entities) < taste
    return pa.table(
        {
            "partition_key": np.repeat(WEEKS[:weeks], entities),
            "parcel": np.tile([f"P{i:05}" for i in range(entities)], weeks),
            "late": np.tile(bought, weeks),
            "taste": np.tile(taste, weeks),
        }
    )


def test_one_partition_is_one_block_by_default() -> None:
    table = panel(5)
    assert block_names(table, model("partition"), ["parcel"]).tolist() == table["partition_key"].to_pylist()


def test_runs_are_counted_from_the_first_partition() -> None:
    keys = np.array(WEEKS[:8], dtype=object)
    assert partition_runs(keys, 3).tolist() == [WEEKS[0]] * 3 + [WEEKS[3]] * 3 + [WEEKS[6]] * 2


def test_all_rows_of_an_entity_are_in_one_group_whatever_the_table() -> None:
    table = panel(300)
    groups = block_names(table, model("entity"), ["parcel"])
    by_entity = {}
    for parcel, group in zip(table["parcel"].to_pylist(), groups, strict=True):
        assert by_entity.setdefault(parcel, group) == group
    part = table.slice(300, 40)
    assert entity_groups(part, ["parcel"]).tolist() == groups[300:340].tolist()
    assert 100 < len(set(groups)) <= GROUPS


def test_keys_of_several_columns_do_not_run_into_each_other() -> None:
    table = pa.table({"a": ["1", "11", "1"], "b": ["11", "1", "11"]})
    one, other, same = entity_groups(table, ["a", "b"], groups=10**9)
    assert one == same != other


def test_the_bound_over_groups_is_that_over_entities() -> None:
    """Weeks that repeat each other add no certainty: the error is that of the entities' own means."""
    table = panel()
    labels = table["late"].to_numpy(zero_copy_only=False).astype(float)
    gap = labels - table["taste"].to_numpy()
    truth = gap[:2000].std(ddof=1) / np.sqrt(2000)
    days = evaluate(
        table,
        table["taste"].to_numpy(),
        kind=Binary(),
        label="late",
        blocks=block_names(table, model("entity"), ["parcel"]),
    ).days
    assert len(days) > 150 and sum(d.rows for d in days) == table.num_rows
    rows = np.array([d.rows for d in days], dtype=float)
    bound = mean_of_days(np.array([d.scores[0] - d.outcomes[0] for d in days]), rows)
    assert bound.se == pytest.approx(truth, rel=0.25)
    assert bound.se > 2 * gap.std() / np.sqrt(gap.size), "rows would be far too sure"


def test_weeks_in_one_block_leave_nothing_to_bound() -> None:
    table = panel(50, weeks=12)
    blocks = block_names(table, model("partition", length=13), ["parcel"])
    judged = evaluate(table, table["taste"].to_numpy(), kind=Binary(), label="late", blocks=blocks)
    assert len(judged.days) == 1 and judged.bias.low is None
