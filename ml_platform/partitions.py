"""Partitions: units of event time in a feed's or use case's own zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from ml_platform.errors import PartitionError

Width = Literal["hourly", "daily", "weekly", "monthly"]
STATIC_KEY = "static"
"""The only partition of a reference feed, which has no event time."""

_DAYS: dict[Width, float] = {"hourly": 1 / 24, "daily": 1, "weekly": 7, "monthly": 365.2425 / 12}
_NOUNS: dict[Width, str] = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_HOUR_KEY = "%Y-%m-%dT%H"
_MONTH = re.compile(r"^\d{4}-\d{2}$")
_WEEK = re.compile(r"^\d{4}-?W\d{2}$")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def require_order(first: str, last: str, where: str) -> None:
    """Refuse a range whose ends are exchanged.

    Raises:
        PartitionError: The first key is after the last.
    """
    if first > last:
        what = f"the first partition, {first}, is after the last, {last}"
        raise PartitionError(what, where=where, fix="exchange them")


def key_time(key: str) -> datetime:
    """The local date and time (naive) that a partition's key names.

    Raises:
        ValueError: It is no partition key.
    """
    return datetime.fromisoformat(key)


@dataclass(frozen=True, slots=True)
class Partition:
    """One unit of event time.

    Attributes:
        key: ISO date of the first local day, for example ``2013-06-09``; of an hour ``2013-06-09T05`` (UTC).
        start: First instant, UTC.
        end: First instant after it, UTC (23, 24 or 25 hours later for a day).
    """

    key: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class PartitionScheme:
    """A run of equal partitions from ``first`` to ``last`` (both inclusive) in one zone.

    Weekly partitions begin on the weekday of ``first``, monthly ones on the first of a month. Hours are
    those of UTC, because a local hour may occur twice.

    Raises:
        ValueError: Hours of another zone, or months that begin later.
    """

    width: Width
    timezone: str
    first: date
    last: date | None = None

    def __post_init__(self) -> None:
        if self.width == "hourly" and self.timezone not in ("UTC", "Etc/UTC"):
            raise ValueError("hourly partitions are hours of UTC: a local hour may occur twice")
        if self.width == "monthly" and self.first.day != 1:
            raise ValueError("monthly partitions start on the first of a month")

    @property
    def days(self) -> float:
        """Days per partition; of months the mean, 30.44."""
        return _DAYS[self.width]

    @property
    def noun(self) -> str:
        """What people call one partition: hour, day, week or month."""
        return _NOUNS[self.width]

    def counted(self, number: int) -> str:
        """A number of partitions for people, such as ``26 weeks``."""
        return f"{number} {self.noun}{'' if number == 1 else 's'}"

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the local dates are meant."""
        return ZoneInfo(self.timezone)

    @property
    def first_key(self) -> str:
        """Key of the first partition."""
        return self.key_of_day(self.first)

    @property
    def last_key(self) -> str | None:
        """Key of the last partition; None while it goes on."""
        if self.last is None:
            return None
        return f"{self.last}T23" if self.width == "hourly" else self.key_of_day(self.last)

    def instant(self, day: date, at: time = time(0)) -> datetime:
        """The UTC instant of a local wall-clock time (the earlier one where it occurs twice)."""
        return datetime.combine(day, at, tzinfo=self.zone).astimezone(UTC)

    def day(self, key: str) -> date:
        """The first local day of a partition.

        Raises:
            PartitionError: The key is malformed, off the grid, or outside the declared range.
        """
        try:
            moment = key_time(key)
        except ValueError:
            moment = None
        # The text must be the canonical one too: keys are compared as text.
        if moment is None or key != self._written(moment):
            raise PartitionError(
                f"'{key}' is not a partition key",
                where="partition key",
                fix=f"use an ISO date such as {self._written(datetime.combine(self.first, time(0)))}",
            )
        day = moment.date()
        if day < self.first or (self.last is not None and day > self.last):
            raise PartitionError(
                f"partition {key} is outside {self.first} to {self.last or 'now'}",
                where="partition key",
                fix="choose a date inside the declared range, or extend it in the use case's YAML",
            )
        if self.width != "hourly" and self.key_of_day(day) != key:
            raise PartitionError(
                f"partition {key} is not the first day of a {self.width} partition",
                where="partition key",
                fix=f"the nearest one before it is {self.key_of_day(day)}",
            )
        return day

    def read(self, text: str, *, end: bool = False) -> str:
        """A key as people write it: ``2023-08`` is a month, ``2023-W31`` a week that begins on a Monday.

        Args:
            text: What was written.
            end: Whether a day that is given for hours means its last one: the end of a range.

        Returns:
            The key; neither held against the grid nor against the range.

        Raises:
            PartitionError: It cannot be read without doubt.
        """
        whole = f"{text}-01" if self.width == "monthly" and _MONTH.match(text) else text
        try:
            moment = key_time(whole)
        except ValueError:
            moment = None
        doubtful = moment is None or moment.tzinfo is not None or self._finer(moment)
        if moment is None or doubtful or (_WEEK.match(text) and self._off_grid(moment)):
            example = self.last_key or self.first_key
            form = "" if self.width != "monthly" else f", or {example[:7]}"
            raise PartitionError(
                f"'{text}' is not a partition key",
                where="partition key",
                fix=f"partitions are {self.width}: write one as {example}{form}",
            )
        if self.width == "hourly" and end and _DAY.match(text):
            moment = moment.replace(hour=23)
        return self._written(moment)

    def key(self, text: str) -> str:
        """The one partition that a person means, as :meth:`read`.

        Raises:
            PartitionError: It cannot be read, is off the grid, or outside the declared range.
        """
        found = self.read(text)
        self.day(found)
        return found

    def _finer(self, moment: datetime) -> bool:
        """Whether an instant is given more finely than a partition begins."""
        return moment.time() != (time(moment.hour) if self.width == "hourly" else time(0))

    def _off_grid(self, moment: datetime) -> bool:
        return self.width != "hourly" and self.key_of_day(moment.date()) != self._written(moment)

    def end_of_day(self, day: date) -> datetime:
        """The instant (UTC) at which a local day ends."""
        return self.instant(day + timedelta(days=1))

    def key_of_day(self, day: date) -> str:
        """The key of the partition that holds the begin of a local day (not checked against the range)."""
        if self.width == "hourly":
            return f"{day}T00"
        if self.width == "monthly":
            return day.replace(day=1).isoformat()
        offset = (day - self.first).days % int(self.days)
        return (day - timedelta(days=offset)).isoformat()

    def key_at(self, instant: datetime) -> str:
        """The key of the partition that holds an instant (not checked against the range)."""
        local = instant.astimezone(self.zone)
        return self._written(local) if self.width == "hourly" else self.key_of_day(local.date())

    def key_of(self, moment: date) -> str:
        """The key of the partition that holds an instant, or the begin of a local day (not checked)."""
        if isinstance(moment, datetime):
            return self.key_at(moment if moment.tzinfo else moment.replace(tzinfo=self.zone))
        return self.key_of_day(moment)

    def local_day(self, instant: datetime) -> date:
        """The day of the partitions' own zone in which an instant lies."""
        return instant.astimezone(self.zone).date()

    def partition(self, key: str) -> Partition:
        """The partition with this key.

        Raises:
            PartitionError: As for :meth:`day`.
        """
        self.day(key)
        return Partition(key, self.begins(key), self.begins(self.shift(key, 1)))

    def shift(self, key: str, steps: int) -> str:
        """The key ``steps`` partitions later (earlier when negative); not checked against the range."""
        moment = key_time(key)
        if self.width == "hourly":
            return self._written(moment + timedelta(hours=steps))
        if self.width == "monthly":
            months = moment.year * 12 + moment.month - 1 + steps
            return date(months // 12, months % 12 + 1, 1).isoformat()
        return (moment.date() + timedelta(days=steps * int(self.days))).isoformat()

    def distance(self, first: str, last: str) -> int:
        """How many partitions ``last`` is after ``first``; negative when before."""
        one, other = key_time(first), key_time(last)
        if self.width == "monthly":
            return (other.year - one.year) * 12 + other.month - one.month
        if self.width == "hourly":
            return (other - one) // timedelta(hours=1)
        return (other - one).days // int(self.days)

    def whole(self, span: timedelta) -> int:
        """How many whole partitions a span of time is, months at their mean length."""
        return span // timedelta(days=self.days)

    def keys(self, first: str, last: str) -> list[str]:
        """All keys from ``first`` to ``last``, both inclusive, cut to the declared range."""
        return list(self._between(first, last))

    def _between(self, first: str, last: str) -> Iterator[str]:
        moment = key_time(first)
        begin = self._written(moment) if self.width == "hourly" else self.key_of_day(moment.date())
        key, end = max(begin, self.first_key), self._written(key_time(last))
        end = end if self.last_key is None else min(end, self.last_key)
        while key <= end:
            yield key
            key = self.shift(key, 1)

    def begins(self, key: str) -> datetime:
        """The first instant (UTC) of a partition, which may lie outside the declared range."""
        moment = key_time(key)
        return self.instant(moment.date(), moment.time())

    def _written(self, moment: datetime) -> str:
        return moment.strftime(_HOUR_KEY) if self.width == "hourly" else moment.date().isoformat()
