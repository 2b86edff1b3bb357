"""Outcomes of raw rows, as the label's own SQL reads them, and raw values that make another outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.contracts.casting import cast_column
from ml_platform.contracts.model import Contract
from ml_platform.features.lineage import RowExpression
from ml_platform.lifecycle.drills.mapping import Mask
from ml_platform.lifecycle.drills.scenario import with_column
from ml_platform.storage.memory import scratch


@dataclass(frozen=True)
class LabelRows:
    """Evaluates a label that follows from one row of one feed.

    Attributes:
        expression: How it follows.
        contract: Of the feed: raw values are read as the types that it promises.
        usual: The usual class, of several; every other one counts as positive. None for a yes or no.
    """

    expression: RowExpression
    contract: Contract
    usual: str | None = None

    def positive(self, table: pa.Table) -> npt.NDArray[np.float64]:
        """1, 0 or NaN (unknown) for each raw row (rows,)."""
        columns = {
            c: cast_column(table[c], self.contract.column(c).logical_type).values
            for c in self.expression.columns
        }
        rows = pa.table({**columns, "__row": pa.array(np.arange(table.num_rows))})
        with scratch() as connection:
            connection.register("rows", rows)
            query = f"SELECT {self._truth()} AS y FROM rows ORDER BY __row"
            found = connection.sql(query).to_arrow_table()
        known: npt.NDArray[np.float64] = found["y"].to_numpy().astype(np.float64)
        return known

    def flip(self, table: pa.Table, to_positive: Mask, to_negative: Mask) -> pa.Table:
        """Raw rows of which some get a value that makes them positive, and some one that makes them negative.

        It is the commonest such value of these rows; where none of them has one, one that the label's SQL
        or the contract names. Where nobody names one either, the rows stay what they are.
        """
        (name,) = self.expression.columns
        outcome, raw = self.positive(table), table[name].combine_chunks()
        flipped = raw
        for hit, wanted in ((to_positive, 1.0), (to_negative, 0.0)):
            if not hit.any():
                continue
            value = self._commonest(raw, outcome == wanted) or self._named(raw.type, wanted)
            if value is not None:
                flipped = pc.if_else(pa.array(hit), value, flipped)
        return with_column(table, name, flipped)

    def _truth(self) -> str:
        if self.usual is None:
            return f"CAST({self.expression.sql} AS DOUBLE)"
        usual = self.usual.replace("'", "''")
        return f"CAST(CAST({self.expression.sql} AS VARCHAR) <> '{usual}' AS DOUBLE)"

    def _commonest(self, raw: pa.Array, among: Mask) -> pa.Scalar | None:
        counted = pc.value_counts(raw.filter(pa.array(among)).drop_null())
        # The first of equals in the order of their texts, so that a drill can be repeated.
        pairs = zip(counted.field(1).to_pylist(), counted.field(0), strict=True)
        return min(pairs, key=lambda p: (-p[0], str(p[1])), default=(0, None))[1]

    def _named(self, kind: pa.DataType, wanted: float) -> pa.Scalar | None:
        (name,) = self.expression.columns
        allowed = (str(v) for v in self.contract.column(name).enum)
        raw = pa.array(list(_read([*self.expression.literals, *allowed], kind)), kind)
        making = np.flatnonzero(self.positive(pa.table({name: raw})) == wanted)
        return raw[int(making[0])] if making.size else None


def _read(texts: Iterable[str], kind: pa.DataType) -> Iterable[pa.Scalar]:
    for text in texts:
        try:
            yield pa.scalar(text).cast(kind)
        except pa.ArrowException:
            continue
