"""Tables of examples: the columns that modeling needs, checked, and folds blocked by partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.kinds.base import Kind
from ml_platform.statistics.frames import PARTITION, Table

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Strings: TypeAlias = npt.NDArray[np.object_]


def as_table(table: Table, needed: Collection[str], what: str) -> pa.Table:
    """The table as Arrow.

    Args:
        table: Arrow table or data frame.
        needed: Columns that must be there.
        what: Name of the table for the error.

    Raises:
        ConfigError: A needed column is missing.
    """
    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    missing = [c for c in needed if c not in arrow.column_names]
    if missing:
        raise ConfigError(
            f"{what} lacks the column(s) {', '.join(missing)}",
            where=what,
            fix=f"it has {', '.join(arrow.column_names)}; check the view that makes it, or use_case.yaml",
        )
    return arrow


def partition_keys(table: pa.Table) -> Strings:
    """The partition key of each row.

    Raises:
        ConfigError: A row has none.
    """
    column = table[PARTITION]
    if column.null_count:
        raise ConfigError(
            f"{column.null_count} row(s) have no {PARTITION}",
            where=PARTITION,
            fix="select the partition key in the view that makes the table",
        )
    keys: Strings = column.cast(pa.string()).to_numpy(zero_copy_only=False)
    return keys


def daily_losses(kind: Kind, partitions: Strings, labels: Floats, scores: Floats) -> dict[str, float]:
    """Mean loss of each partition, in the order of their keys: the day is the sample, not the row.

    Args:
        kind: Kind of target.
        partitions: Partition key of each row (rows,).
        labels: Codes (rows,).
        scores: Scores of the kind (rows,) or (rows, classes).
    """
    codes, keys = codes_of(partitions)
    means = mean_by(codes, kind.losses(labels, scores), keys.size)
    return dict(zip(map(str, keys), means.tolist(), strict=True))


def log_odds(scores: Floats, limit: float = 1e-6) -> Floats:
    """Log-odds of probabilities, kept ``limit`` off 0 and 1."""
    clipped = np.clip(scores, limit, 1 - limit)
    odds: Floats = np.log(clipped / (1 - clipped))
    return odds


def mean_by(codes: Ints, values: Floats, groups: int) -> Floats:
    """Mean of the values of each group; NaN where a group has no rows."""
    counts = np.bincount(codes, minlength=groups)
    sums = np.bincount(codes, weights=values, minlength=groups)
    means: Floats = np.divide(sums, counts, out=np.full(groups, np.nan), where=counts > 0)
    return means


def codes_of(partitions: Sequence[str] | Strings) -> tuple[Ints, Strings]:
    """Number of each row's partition in the order of keys, and the keys; numpy would sort all rows for it."""
    codes, keys = pd.factorize(np.asarray(partitions, dtype=object), sort=True)
    return codes, keys


def blocked_folds(partitions: Sequence[str] | Strings, folds: int) -> Ints:
    """Fold of each row: runs of neighbouring partitions with about as many rows each.

    Rows of one partition share its shocks and neighbouring partitions share outcomes, so a partition is
    never split and folds are contiguous in time. There are fewer folds where there are fewer partitions.

    Raises:
        NotReadyError: There is only one partition.
    """
    codes, keys = codes_of(partitions)
    if keys.size < 2:
        raise NotReadyError(
            f"{keys.size} partition(s) cannot be cut into folds",
            where="training window",
            fix="train on at least two partitions",
        )
    wanted = min(folds, keys.size)
    middle = np.cumsum(np.bincount(codes)) - np.bincount(codes) / 2
    by_rows = np.minimum(middle / codes.size * wanted, wanted - 1).astype(np.int64)
    # A fold may come out empty where one partition holds most rows: number those that are left.
    used, numbered = np.unique(by_rows, return_inverse=True)
    fold_of_key = numbered if used.size > 1 else (np.arange(keys.size) > 0).astype(np.int64)
    rows: Ints = fold_of_key[codes].astype(np.int64)
    return rows
