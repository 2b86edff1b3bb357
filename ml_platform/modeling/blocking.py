"""The independent blocks of rows: what folds may not split, and what bounds take as the sample.

Rows of a partition share its shocks, and partitions share outcomes for as long as an outcome takes: weekly
partitions with an outcome of 90 days are independent in blocks of 13 only. Where that leaves too few blocks
for any bound, the entities are the sample instead, dealt at random into groups (the method of random groups,
Wolter 2007, "Introduction to Variance Estimation", ch. 2): every row of an entity is in one group, so that
the groups are independent of each other *within the time they are from*. Such a bound says nothing about
other times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.model_config import ModelConfig
from ml_platform.modeling.frames import Strings, partition_keys

GROUPS = 200
"""Groups of entities: many enough for a t quantile near the normal one, few enough to be listed."""


def block_names(table: pa.Table, config: ModelConfig, keys: Sequence[str]) -> Strings:
    """The independent block of each row.

    Args:
        table: ``partition_key`` and the key columns.
        config: ``sample`` decides what a block is, ``diagnosis.block_partitions`` how long one of time is.
        keys: Key columns of an entity within a partition.

    Returns:
        (rows,) the first partition of a run of partitions, or the name of a group of entities.

    Raises:
        ConfigError: A row has no partition key.
    """
    if config.sample == "entity":
        return entity_groups(table, keys)
    return partition_runs(partition_keys(table), config.diagnosis.block_partitions)


def partition_runs(partitions: Strings, length: int) -> Strings:
    """(rows,) the first of each ``length`` neighbouring partitions, counted from the earliest one."""
    if length == 1:
        return partitions
    names, codes = np.unique(partitions, return_inverse=True)
    runs: Strings = names[codes // length * length]
    return runs


def entity_groups(table: pa.Table, keys: Sequence[str], groups: int = GROUPS) -> Strings:
    """(rows,) a group for each entity, by a hash of its key: the same in every table and on every machine."""
    texts = [table[k].cast(pa.string()).combine_chunks() for k in keys]
    joined = pc.binary_join_element_wise(*texts, "\x1f") if len(texts) > 1 else texts[0]
    entities = joined.dictionary_encode()
    numbers = [_hash(e) % groups for e in entities.dictionary.to_pylist()]
    width = len(str(groups - 1))
    names = np.array([f"entities {n:0{width}}" for n in numbers], dtype=object)
    found: Strings = names[entities.indices.to_numpy(zero_copy_only=False)]
    return found


def _hash(text: str | None) -> int:
    return int.from_bytes(hashlib.blake2b((text or "").encode(), digest_size=8).digest(), "little")
