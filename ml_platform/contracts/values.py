"""Values written in a contract, as values of the column they are about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ml_platform.contracts.model import LogicalType

_UNITS: Mapping[str, timedelta] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hr", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(days=7)),
}


def typed_value(kind: LogicalType, value: Any) -> Any:
    """The value as the column's Python type.

    Args:
        kind: Logical type of the column.
        value: What YAML made of the contract's text.

    Returns:
        str, int, float, bool, date, or datetime in UTC.

    Raises:
        ValueError: It is no value of that type; says why.
    """
    readers = {
        "string": _string,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "date": _date,
        "timestamp": _instant,
    }
    return readers[kind](value)


def duration(value: Any, unit: str | None) -> timedelta:
    """A service level's value and unit, for example ``2`` and ``d``.

    Raises:
        ValueError: The value is no number of at least 0, or the unit is unknown.
    """
    if unit is None or unit.lower() not in _UNITS:
        raise ValueError(f"unit {unit!r} is none of s, min, h, d, w")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no number") from None
    if number < 0:
        raise ValueError(f"{value!r} is negative")
    return number * _UNITS[unit.lower()]


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no string; write it in quotes")


def _integer(value: Any) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise ValueError(f"{value!r} is no whole number")


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no number")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is neither true nor false")


def _date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(_string(value))
    except ValueError:
        raise ValueError(f"{value!r} is no ISO date such as 2024-01-31") from None


def _instant(value: Any) -> datetime:
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(_string(value))
    except ValueError:
        raise ValueError(f"{value!r} is no ISO instant such as 2024-01-31T00:00:00Z") from None
    if instant.tzinfo is None:
        raise ValueError(f"{value!r} has no UTC offset; write for example 2024-01-31T00:00:00Z")
    return instant.astimezone(UTC)
