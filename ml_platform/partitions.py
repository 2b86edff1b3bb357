"""Partitions: units of event time in a feed's or use case's own zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from ml_platform.errors import PartitionError

Width = Literal["daily", "weekly"]
STATIC_KEY = "static"
"""The only partition of a reference feed, which has no event time."""

_DAYS: dict[Width, int] = {"daily": 1, "weekly": 7}


@dataclass(frozen=True, slots=True)
class Partition:
    """One unit of event time.

    Attributes:
        key: ISO date of the first local day, for example ``2013-06-09``.
        start: First instant, UTC.
        end: First instant after it, UTC (23, 24 or 25 hours later for a day).
    """

    key: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class PartitionScheme:
    """A run of equal partitions from ``first`` to ``last`` (both inclusive) in one zone.

    Weekly partitions begin on the weekday of ``first``.
    """

    width: Width
    timezone: str
    first: date
    last: date | None = None

    @property
    def step(self) -> int:
        """Days per partition."""
        return _DAYS[self.width]

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the local dates are meant."""
        return ZoneInfo(self.timezone)

    def instant(self, day: date, at: time = time(0)) -> datetime:
        """The UTC instant of a local wall-clock time (the earlier one where it occurs twice)."""
        return datetime.combine(day, at, tzinfo=self.zone).astimezone(UTC)

    def day(self, key: str) -> date:
        """The first local day of a partition.

        Raises:
            PartitionError: The key is malformed, off the grid, or outside the declared range.
        """
        try:
            day = date.fromisoformat(key)
        except ValueError:
            raise PartitionError(
                f"'{key}' is not a partition key",
                where="partition key",
                fix=f"use an ISO date such as {self.first.isoformat()}",
            ) from None
        if day < self.first or (self.last is not None and day > self.last):
            raise PartitionError(
                f"partition {key} is outside {self.first} to {self.last or 'now'}",
                where="partition key",
                fix="choose a date inside the declared range, or extend it in the use case's YAML",
            )
        if (day - self.first).days % self.step:
            raise PartitionError(
                f"partition {key} is not the first day of a {self.width} partition",
                where="partition key",
                fix=f"the nearest one before it is {self.key_of_day(day)}",
            )
        return day

    def end_of_day(self, day: date) -> datetime:
        """The instant (UTC) at which a local day ends."""
        return self.instant(day + timedelta(days=1))

    def key_of_day(self, day: date) -> str:
        """The key of the partition that holds a local day (not checked against the range)."""
        offset = (day - self.first).days % self.step
        return (day - timedelta(days=offset)).isoformat()

    def key_at(self, instant: datetime) -> str:
        """The key of the partition that holds an instant (not checked against the range)."""
        return self.key_of_day(instant.astimezone(self.zone).date())

    def partition(self, key: str) -> Partition:
        """The partition with this key.

        Raises:
            PartitionError: As for :meth:`day`.
        """
        day = self.day(key)
        return Partition(key, self.instant(day), self.instant(day + timedelta(days=self.step)))

    def shift(self, key: str, steps: int) -> str:
        """The key ``steps`` partitions later (earlier when negative); not checked against the range."""
        return (date.fromisoformat(key) + timedelta(days=steps * self.step)).isoformat()

    def keys(self, first: str, last: str) -> list[str]:
        """All keys from ``first`` to ``last``, both inclusive, cut to the declared range."""
        return list(self._between(first, last))

    def _between(self, first: str, last: str) -> Iterator[str]:
        day = max(date.fromisoformat(self.key_of_day(date.fromisoformat(first))), self.first)
        end = date.fromisoformat(last)
        if self.last is not None:
            end = min(end, self.last)
        while day <= end:
            yield day.isoformat()
            day += timedelta(days=self.step)
