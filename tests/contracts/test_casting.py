"""Types are brought to the promised ones; what cannot be read is marked, never guessed."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from ml_platform.contracts.casting import ARROW_TYPES, cast_column
from ml_platform.contracts.model import LogicalType

NAN = float("nan")
MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (pa.array([1, None], pa.int8()), "integer", [1, None]),
        (pa.array([1.0, NAN, None]), "integer", [1, None, None]),
        (pa.array([1, 2], pa.int32()), "number", [1.0, 2.0]),
        (pa.array([1.5], pa.float32()), "number", [1.5]),
        (pa.array(["x", None]).dictionary_encode(), "string", ["x", None]),
        (pa.array(["x"], pa.large_string()), "string", ["x"]),
        (pa.array(["1", " 2 ", None]), "integer", [1, 2, None]),
        (pa.array(["1", "2.5e1"]), "number", [1.0, 25.0]),
        (pa.array(["true", "False"]), "boolean", [True, False]),
        (pa.array(["2024-01-31"]), "date", [date(2024, 1, 31)]),
        (pa.array(["2024-01-31T01:00:00+01:00", "2024-01-31T00:00:00Z"]), "timestamp", [MIDNIGHT] * 2),
        (pa.array([MIDNIGHT], pa.timestamp("ns", "America/Lima")), "timestamp", [MIDNIGHT]),
        (pa.nulls(2), "timestamp", [None, None]),
    ],
)
def test_other_widths_encodings_and_text_are_read(
    values: pa.Array, kind: LogicalType, read: list[Any]
) -> None:
    result = cast_column(values, kind)
    assert result.values.type == ARROW_TYPES[kind]
    assert result.values.to_pylist() == read
    assert not result.unread.any() and not result.retyped


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (pa.array(["1", "n/a", None]), "integer", [1, None, None]),
        (pa.array(["2.5", "1"]), "integer", [None, 1]),
        (pa.array([2.5, 1.0]), "integer", [None, 1]),
        (pa.array([1e300, 1.0]), "integer", [None, 1]),
        (pa.array([2**63, 1], pa.uint64()), "integer", [None, 1]),
        (pa.array(["", "1"]), "number", [None, 1.0]),
        (pa.array(["2024-02-31", "2024-01-31"]), "date", [None, date(2024, 1, 31)]),
        (pa.array(["2024-01-31T00:00:00", "2024-01-31T00:00:00Z"]), "timestamp", [None, MIDNIGHT]),
    ],
)
def test_single_values_that_cannot_be_read_are_marked(
    values: pa.Array, kind: LogicalType, read: list[Any]
) -> None:
    result = cast_column(values, kind)
    assert result.values.to_pylist() == read
    assert result.unread.tolist() == [v is None and w.is_valid for v, w in zip(read, values, strict=True)]
    assert result.unread.sum() == 1 and not result.retyped


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (pa.array([1, 2]), "string", "int64"),
        (pa.array([True]), "integer", "bool"),
        (pa.array([1]), "boolean", "int64"),
        (pa.array([date(2024, 1, 31)]), "timestamp", "date32"),
        (pa.array([MIDNIGHT.replace(tzinfo=None)]), "timestamp", "needs a zone"),
        (pa.array([[1]]), "number", "list"),
    ],
)
def test_a_column_of_another_kind_was_retyped(values: pa.Array, kind: LogicalType, why: str) -> None:
    result = cast_column(values, kind)
    assert why in result.retyped
    assert result.values.null_count == len(values) and result.unread.all()
