"""Tables of examples: the columns that modeling needs, checked, and folds blocked by partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.statistics.frames import PARTITION, Table

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Strings: TypeAlias = npt.NDArray[np.object_]
_SMALLEST = float(np.finfo(np.float64).eps)


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


def binary_labels(table: pa.Table, column: str) -> Floats:
    """The labels as 0.0 and 1.0.

    Raises:
        NotReadyError: A label is null: it is not known yet.
        ConfigError: The column holds anything but 0, 1, true and false.
    """
    labels = table[column]
    if labels.null_count:
        unknown = table.filter(pc.is_null(labels))
        first = pc.min(unknown[PARTITION]).as_py() if PARTITION in table.column_names else "?"
        raise NotReadyError(
            f"{labels.null_count} of {table.num_rows} labels are null, the first in partition {first}",
            where=f"column {column}",
            fix="use partitions whose labels are mature, or leave rows without a label out",
        )
    numeric = pa.types.is_boolean(labels.type) or _is_number(labels.type)
    values: Floats = labels.cast(pa.float64()).to_numpy() if numeric else np.array([np.nan])
    if not np.isin(values, (0.0, 1.0)).all():
        raise ConfigError(
            f"a label is neither 0 nor 1 (type {labels.type})",
            where=f"column {column}",
            fix="select a BOOLEAN or 0/1 in the labels model",
        )
    return values


def log_losses(labels: Floats, scores: Floats) -> Floats:
    """Log loss of each row (natural logarithm; scores are kept off 0 and 1 by the machine epsilon)."""
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    losses: Floats = -np.log(np.where(labels == 1, clipped, 1 - clipped))
    return losses


def daily_log_losses(partitions: Strings, labels: Floats, scores: Floats) -> dict[str, float]:
    """Mean log loss of each partition, in the order of their keys: the day is the sample, not the row.

    Args:
        partitions: Partition key of each row (rows,).
        labels: 0.0 or 1.0 (rows,).
        scores: Probabilities of a positive (rows,).
    """
    keys, codes = np.unique(partitions, return_inverse=True)
    means = mean_by(codes, log_losses(labels, scores), keys.size)
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


def blocked_folds(partitions: Sequence[str] | Strings, folds: int) -> Ints:
    """Fold of each row: runs of neighbouring partitions with about as many rows each.

    Rows of one partition share its shocks and neighbouring partitions share outcomes, so a partition is
    never split and folds are contiguous in time. There are fewer folds where there are fewer partitions.

    Raises:
        NotReadyError: There is only one partition.
    """
    keys, codes = np.unique(np.asarray(partitions, dtype=object), return_inverse=True)
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


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
