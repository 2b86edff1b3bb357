"""From feature columns to the one matrix that every estimator reads.

Vocabularies are fixed at training and travel with the model, so that a category has the same code for
ever. Code 0 is *unknown*: missing, or never seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import ConfigError
from ml_platform.model_config import FeatureConfig
from ml_platform.modeling.frames import Floats, as_table
from ml_platform.statistics.frames import Table

FeatureKind = Literal["numeric", "categorical"]
UNKNOWN_CODE = 0
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class Encoder:
    """How feature columns become a matrix.

    Attributes:
        features: Name and kind of each feature, in the order of the matrix's columns.
        vocabularies: By categorical feature its categories; the first has code 1.
    """

    features: tuple[tuple[str, FeatureKind], ...]
    vocabularies: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, table: Table, features: Sequence[FeatureConfig]) -> Encoder:
        """The encoder whose vocabularies are the categories of a training table, sorted.

        Raises:
            ConfigError: A feature column is missing.
        """
        arrow = as_table(table, [f.name for f in features], "the training table")
        vocabularies = {
            f.name: tuple(sorted(pc.unique(as_text(arrow[f.name]).drop_null()).to_pylist()))
            for f in features
            if f.kind == "categorical"
        }
        return cls(tuple((f.name, f.kind) for f in features), vocabularies)

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [name for name, _ in self.features]

    def columns(self, kind: FeatureKind) -> list[int]:
        """Positions of the features of one kind."""
        return [i for i, (_, k) in enumerate(self.features) if k == kind]

    def encode(self, table: Table) -> Floats:
        """The matrix (rows, features): numbers, NaN where missing or infinite; codes of categories.

        Raises:
            ConfigError: A column is missing, or a numeric one holds no numbers.
        """
        arrow = as_table(table, self.names, "the table of features")
        matrix = np.empty((arrow.num_rows, len(self.features)), dtype=np.float64)
        for position, (name, kind) in enumerate(self.features):
            column = arrow[name]
            matrix[:, position] = (
                _numbers(column, name)
                if kind == "numeric"
                else _codes(as_text(column), self.vocabularies[name])
            )
        return matrix


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Categories as strings, the same whether whole numbers came as integers or (with nulls) as floats."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type))
    if pa.types.is_floating(kind):
        finite = pc.if_else(pc.is_finite(column), column, None).cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(finite), finite), pc.less(pc.abs(finite), _EXACT))
        integers = pc.if_else(whole, finite, None).cast(pa.int64())
        return pc.if_else(whole, integers.cast(pa.string()), finite.cast(pa.string()))
    return column.cast(pa.string())


def _codes(text: pa.ChunkedArray, vocabulary: Sequence[str]) -> Floats:
    found = pc.index_in(text, value_set=pa.array(vocabulary, pa.string()), skip_nulls=True)
    codes: Floats = pc.add(pc.fill_null(found, UNKNOWN_CODE - 1), 1).to_numpy().astype(np.float64)
    return codes


def _numbers(column: pa.ChunkedArray, name: str) -> Floats:
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise ConfigError(
            f"numeric feature {name} has type {kind}",
            where=f"column {name}",
            fix="cast it to a number in the features model, or declare it as categorical",
        )
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)
