"""A delivery's columns, brought to the promised types.

Sources differ in width, unit and encoding of one type (int32 for int64, nanoseconds, dictionaries); that is
cast silently. Text that stands for another type is parsed value by value. What cannot be read is missing
in the result and marked: single values can be quarantined, while a column of another kind, or one of which
more than half cannot be read, was *retyped*, and nobody can say what its values mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.contracts.model import LogicalType

ARROW_TYPES: dict[LogicalType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""The type in which accepted data is kept, by logical type."""

RETYPED_SHARE = 0.5
"""A column of which a larger share of a partition's values cannot be read was retyped there."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CastColumn:
    """A column in its promised type.

    Attributes:
        values: Array of the promised type, null where a value could not be read.
        unread: True where a value was there but could not be read, shape (rows,).
        retyped: Why no value of the column can be trusted; empty when they can be read.
    """

    values: pa.Array
    unread: Mask
    retyped: str = ""


def cast_column(column: pa.ChunkedArray | pa.Array, kind: LogicalType) -> CastColumn:
    """Bring a column to a logical type.

    Args:
        column: Values as delivered.
        kind: The type that the contract promises.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    source, target = values.type, ARROW_TYPES[kind]
    if source == target or pa.types.is_null(source):
        return CastColumn(values.cast(target), np.zeros(len(values), bool))
    if _is_text(source):
        return _judged(values, values.cast(target) if kind == "string" else _parsed(values, target))
    if kind in ("integer", "number") and _is_numeric(source):
        return _judged(values, _numeric(values, target))
    if kind == "date" and pa.types.is_date(source):
        return _judged(values, values.cast(target))
    if kind == "timestamp" and pa.types.is_timestamp(source) and source.tz is not None:
        return _judged(values, values.cast(target, safe=False))
    reason = f"{source} was delivered where {kind} was promised"
    if pa.types.is_timestamp(source) and kind == "timestamp":
        reason += " (an instant needs a zone)"
    return CastColumn(pa.nulls(len(values), target), _mask(values.is_valid()), reason)


def _judged(before: pa.Array, after: pa.Array) -> CastColumn:
    """NaN where whole numbers were promised is how floats say missing, so it is no unread value."""
    there = before.is_valid()
    if pa.types.is_floating(before.type):
        there = pc.and_(there, pc.invert(pc.fill_null(pc.is_nan(before), False)))
    return CastColumn(after, _mask(pc.and_(there, after.is_null())))


def _numeric(values: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if pa.types.is_floating(target):
        return values.cast(target, safe=False)
    if pa.types.is_floating(values.type):
        # Above 2^53 a double no longer holds each whole number, so it could be another key by now.
        whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less_equal(pc.abs(values), 2.0**53))
        values = pc.if_else(whole, values, pa.scalar(None, values.type))
    elif pa.types.is_uint64(values.type):
        fits = pc.less_equal(values, pa.scalar(2**63 - 1, pa.uint64()))
        values = pc.if_else(fits, values, pa.scalar(None, values.type))
    return values.cast(target)


def _parsed(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Text to values: all at once where all can be read, else each distinct text by itself."""
    encoded = pc.utf8_trim_whitespace(values.cast(pa.string())).dictionary_encode()
    texts = encoded.dictionary
    try:
        read = texts.cast(target)
    except pa.ArrowInvalid:
        read = pa.array([_parse_one(text, target) for text in texts], target)
    return read.take(encoded.indices)


def _parse_one(text: pa.Scalar, target: pa.DataType) -> object:
    try:
        return text.cast(target).as_py()
    except pa.ArrowInvalid:
        return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False).astype(bool)
    return mask
