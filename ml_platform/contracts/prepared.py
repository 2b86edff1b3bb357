"""A delivery made ready to be judged: columns compared with the contract, values cast, rows numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml_platform.contracts.casting import ARROW_TYPES, RETYPED_SHARE, Mask, cast_column
from ml_platform.contracts.model import KNOWN_AT, PARTITION_KEY, Contract
from ml_platform.errors import ContractError

_LARGEST_EXACT = 2**53


@dataclass(frozen=True)
class Prepared:
    """A delivery beside what its contract promises.

    Attributes:
        contract: The contract.
        raw: Rows as delivered.
        cast: partition_key, the contract's columns in their promised types, known_at; a missing column is
            null throughout.
        partitions: Keys in order, those without a row included.
        codes: Number of each row's partition, shape (rows,).
        missing: Promised columns that were not delivered.
        extra: Delivered columns that were not promised.
        unread: By column, the rows whose value could not be read as the promised type.
        retyped: Why a column cannot be trusted in any partition, by column.
    """

    contract: Contract
    raw: pa.Table
    cast: pa.Table
    partitions: tuple[str, ...]
    codes: npt.NDArray[np.int64]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    unread: dict[str, Mask]
    retyped: dict[str, str]

    @property
    def rows(self) -> int:
        """Rows delivered."""
        return int(self.raw.num_rows)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Rows of each partition."""
        return self.count(np.ones(self.rows, bool))

    @cached_property
    def unread_anywhere(self) -> Mask:
        """Rows with a value that could not be read."""
        found = np.zeros(self.rows, bool)
        for mask in self.unread.values():
            found |= mask
        return found

    @cached_property
    def positions(self) -> list[npt.NDArray[np.int64]]:
        """The row numbers of each partition, in order of delivery."""
        order = np.argsort(self.codes, kind="stable")
        return np.split(order, np.cumsum(self.sizes)[:-1])

    def count(self, mask: Mask) -> npt.NDArray[np.int64]:
        """How many rows of each partition the mask selects."""
        return np.bincount(self.codes[mask], minlength=len(self.partitions)).astype(np.int64)

    def retyped_columns(self, partition: int) -> dict[str, str]:
        """Why columns cannot be trusted in one partition, by column."""
        if not self.sizes[partition]:
            return {}
        found = dict(self.retyped)
        for column, (unread, there) in self._unread_counts.items():
            if column not in found and unread[partition] > RETYPED_SHARE * there[partition]:
                kind = self.contract.column(column).logical_type
                found[column] = f"{unread[partition]} of {there[partition]} values are no {kind}"
        return found

    @cached_property
    def _unread_counts(self) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        def there(column: str, mask: Mask) -> Mask:
            valid: Mask = self.cast[column].is_valid().to_numpy().astype(bool)
            return valid | mask

        return {c: (self.count(m), self.count(there(c, m))) for c, m in self.unread.items()}


def prepare(contract: Contract, delivery: pa.Table, partitions: Sequence[str]) -> Prepared:
    """Compare a delivery's columns with the contract and cast them.

    Raises:
        ContractError: It lacks partition_key or known_at, or has rows of other partitions.
    """
    codes = _codes(contract, delivery, partitions)
    delivered = set(delivery.column_names) - {PARTITION_KEY, KNOWN_AT}
    cast, unread, retyped = {}, {}, {}
    for column in contract.columns:
        kind = column.logical_type
        if column.name not in delivered:
            cast[column.name] = pa.nulls(delivery.num_rows, ARROW_TYPES[kind])
            continue
        result = cast_column(delivery[column.name], kind)
        cast[column.name] = result.values
        if result.unread.any():
            unread[column.name] = result.unread
        if result.retyped:
            retyped[column.name] = result.retyped
    columns = {PARTITION_KEY: delivery[PARTITION_KEY], **cast, KNOWN_AT: delivery[KNOWN_AT]}
    return Prepared(
        contract=contract,
        raw=delivery,
        cast=pa.table(columns),
        partitions=tuple(sorted(set(partitions))),
        codes=codes,
        # A delivery without rows, for example of no file at all, says nothing about columns.
        missing=tuple(c for c in contract.column_names if c not in delivered) if delivery.num_rows else (),
        extra=tuple(sorted(delivered - set(contract.column_names))),
        unread=unread,
        retyped=retyped,
    )


def to_frame(table: pa.Table, columns: Sequence[str]) -> pd.DataFrame:
    """Columns for Great Expectations, indexed by row number."""
    return pd.DataFrame({c: _series(table[c]) for c in columns})


def _codes(contract: Contract, delivery: pa.Table, partitions: Sequence[str]) -> npt.NDArray[np.int64]:
    known = sorted(set(partitions))
    lacking = [c for c in (PARTITION_KEY, KNOWN_AT) if c not in delivery.column_names]
    if lacking or any(delivery[c].null_count for c in (PARTITION_KEY, KNOWN_AT)):
        raise ContractError(
            f"feed {contract.name}: rows need partition_key and known_at to be checked",
            where=f"columns {', '.join(delivery.column_names)}",
            fix="check what the feed's reader returned, which read_feed does",
        )
    encoded = delivery[PARTITION_KEY].combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    foreign = sorted(set(found) - set(known))
    if foreign:
        raise ContractError(
            f"feed {contract.name}: rows of partitions that are not being checked: {', '.join(foreign[:5])}",
            where=f"{len(foreign)} partition(s)",
            fix="name all partitions of the delivery in the acceptance context",
        )
    numbers = np.array([known.index(k) for k in found], np.int64)
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    return numbers[indices] if len(found) else np.empty(0, np.int64)


def _series(column: pa.ChunkedArray) -> pd.Series:
    """The column in pandas; large whole numbers with gaps would lose digits as floats."""
    if pa.types.is_int64(column.type) and column.null_count:
        values = column.drop_null().to_numpy()
        if len(values) and np.abs(values).max() > _LARGEST_EXACT:
            return pd.Series(column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
    return pd.Series(column.to_pandas())
