"""A made-up shop's deliveries, which keep its contract where a test does not change them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

CONTRACT_FILE = Path(__file__).parent / "orders.yaml"
KNOWN = datetime(2024, 5, 1, tzinfo=UTC)


def days(count: int, first: str = "2024-05-01", *, step: int = 1) -> list[str]:
    start = date.fromisoformat(first)
    return [(start + timedelta(days=step * i)).isoformat() for i in range(count)]


def orders(partition: str = "2024-05-01", rows: int = 4, **columns: Sequence[Any]) -> pa.Table:
    """A good delivery of one partition; keyword arguments replace columns, None leaves one out."""
    table: dict[str, Any] = {
        "partition_key": pa.array([partition] * rows, pa.string()),
        "known_at": pa.array([KNOWN] * rows, pa.timestamp("us", "UTC")),
        "shop": pa.array([("north", "south")[i % 2] for i in range(rows)], pa.string()),
        "number": pa.array(range(1, rows + 1), pa.int64()),
        "status": pa.array(["paid"] * rows, pa.string()),
        "ordered_at": pa.array([KNOWN] * rows, pa.timestamp("us", "UTC")),
        "price": pa.array([10.0] * rows, pa.float64()),
        "discount": pa.array([0.5] * rows, pa.float64()),
    }
    table |= columns
    return pa.table({k: v for k, v in table.items() if v is not None})
