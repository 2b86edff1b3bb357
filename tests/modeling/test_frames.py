"""Columns are checked, and folds never split a partition."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.modeling.frames import as_table, blocked_folds, mean_by, partition_keys

from .parcels import parcels


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ConfigError, match=r"the parcels lacks the column\(s\) height"):
        as_table(parcels(days=2), ["depot", "height"], "the parcels")


def test_a_row_without_a_partition_is_an_error() -> None:
    with pytest.raises(ConfigError, match="1 row"):
        partition_keys(pa.table({"partition_key": ["2021-03-01", None]}))


def test_folds_are_whole_neighbouring_partitions_of_about_equal_size() -> None:
    partitions = parcels(days=20)["partition_key"].to_numpy()
    folds = blocked_folds(partitions, 4)
    by_day = pd.Series(folds).groupby(partitions).agg(["min", "max"])
    assert (by_day["min"] == by_day["max"]).all()
    assert by_day["min"].is_monotonic_increasing
    assert np.bincount(folds).tolist() == [600, 600, 600, 600]


def test_folds_do_not_depend_on_the_order_of_rows() -> None:
    partitions = parcels(days=9)["partition_key"].to_numpy()
    order = np.random.default_rng(1).permutation(partitions.size)
    assert (blocked_folds(partitions, 4)[order] == blocked_folds(partitions[order], 4)).all()


def test_a_partition_that_holds_most_rows_still_leaves_two_folds() -> None:
    folds = blocked_folds(["a"] * 1000 + ["b"] * 3, 5)
    assert np.unique(folds).tolist() == [0, 1]


def test_one_partition_cannot_be_cut() -> None:
    with pytest.raises(NotReadyError, match="at least two partitions"):
        blocked_folds(["a"] * 10, 3)


def test_a_group_without_rows_has_no_mean() -> None:
    means = mean_by(np.array([0, 0, 2]), np.array([1.0, 2.0, 5.0]), 3)
    assert np.array_equal(means, [1.5, np.nan, 5.0], equal_nan=True)
