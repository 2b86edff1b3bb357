"""Quarantined rows: each keeps the rule it broke, the value, the reason, and all that was delivered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_platform.contracts.casting import Mask
from ml_platform.contracts.model import KNOWN_AT, PARTITION_KEY, Rule
from ml_platform.contracts.prepared import Prepared

QUARANTINE_SCHEMA = pa.schema(
    [
        (PARTITION_KEY, pa.string()),
        ("row", pa.int64()),
        (KNOWN_AT, pa.timestamp("us", tz="UTC")),
        ("rule", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
        ("further_rules", pa.list_(pa.string())),
        ("record", pa.string()),
    ]
)
"""One row per quarantined row of a delivery.

``row`` is its position (from 0) in the partition's landed rows; ``rule`` the first rule it broke, ``value``
what stood there as JSON, ``further_rules`` the others; ``record`` the delivered row as a JSON object.
"""


@dataclass(frozen=True)
class Breach:
    """A rule and the rows that it sends to quarantine, shape (rows,)."""

    rule: Rule
    broken: Mask


def quarantine_rows(delivery: Prepared, breaches: Sequence[Breach], rows: npt.NDArray[np.int64]) -> pa.Table:
    """The quarantine of one partition.

    Args:
        delivery: The delivery.
        breaches: Quarantining rules in the contract's order.
        rows: Row numbers of the partition.

    Returns:
        A table of :data:`QUARANTINE_SCHEMA`, in order of delivery.
    """
    marks = np.array([b.broken[rows] for b in breaches]).reshape(len(breaches), len(rows))
    flagged = np.flatnonzero(marks.any(axis=0))
    records = delivery.raw.take(rows[flagged]).to_pylist()
    found = [
        _entry(delivery, breaches, marks[:, at], int(at), int(rows[at]), record)
        for at, record in zip(flagged, records, strict=True)
    ]
    return pa.Table.from_pylist(found, schema=QUARANTINE_SCHEMA)


def as_json(value: Any) -> str:
    """A delivered value or row as JSON text; what JSON lacks (instants, NaN, bytes) becomes text."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _entry(
    delivery: Prepared,
    breaches: Sequence[Breach],
    marks: Mask,
    at: int,
    row: int,
    record: dict[str, Any],
) -> dict[str, Any]:
    first, *others = [b.rule for b, marked in zip(breaches, marks, strict=True) if marked]
    column, columns, reason = first.column, first.columns, first.requirement
    if not columns:
        column = next(c for c, mask in delivery.unread.items() if mask[row])
        columns, reason = (column,), f"must be a {delivery.contract.column(column).logical_type}"
    value = record[columns[0]] if len(columns) == 1 else {c: record[c] for c in columns}
    return {
        PARTITION_KEY: record[PARTITION_KEY],
        "row": at,
        KNOWN_AT: record[KNOWN_AT],
        "rule": first.name,
        "column": column,
        "value": as_json(value),
        "reason": reason,
        "further_rules": [r.name for r in others],
        "record": as_json(record),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
