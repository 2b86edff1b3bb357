"""Local wall-clock times to UTC, for whole columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Dates: TypeAlias = "npt.NDArray[np.datetime64]"
Minutes: TypeAlias = "npt.NDArray[np.int64]"

NEW_YORK = "America/New_York"
MISSING = np.iinfo(np.int64).min
"""Stands for a missing whole number, as numpy's NaT does for a missing instant."""
_DAY = np.timedelta64(1, "D")


def wall_times(dates: Dates, clock: Minutes) -> Dates:
    """Local wall-clock times of a date and a number such as 1305 for 13:05.

    Args:
        dates: datetime64[D].
        clock: Hours times 100 plus minutes; 2400 is midnight at the day's end.

    Returns:
        datetime64[m] without zone; NaT where the number is missing or no time of day.
    """
    hours, minutes = np.divmod(np.where(clock == MISSING, -1, clock), 100)
    valid = (clock >= 0) & (minutes < 60) & (hours * 60 + minutes <= 24 * 60)
    wall: Dates = dates.astype("datetime64[m]") + (hours * 60 + minutes).astype("timedelta64[m]")
    wall[~valid] = np.datetime64("NaT")
    return wall


def to_utc(wall: Dates, zone: str) -> Dates:
    """UTC instants (datetime64[m]) of wall-clock times in one zone.

    A time that occurs twice in autumn is its first occurrence. One that does not occur in spring counts
    from the offset before the change, as in :pep:`495` with ``fold=0``.
    """
    zone_info = ZoneInfo(zone)
    days, day = np.unique(wall.astype("datetime64[D]"), return_inverse=True)
    before, after = _offsets(days, zone_info), _offsets(np.add(days, _DAY), zone_info)
    offsets = before[day]
    # Clocks change on the hour and on few days: only there does the hour matter.
    changing = (before != after)[day]
    hours, hour = np.unique(wall[changing].astype("datetime64[h]"), return_inverse=True)
    offsets[changing] = _offsets(hours, zone_info)[hour]
    return wall - offsets


def to_utc_by_zone(wall: Dates, zones: Sequence[str | None], codes: Minutes) -> Dates:
    """UTC instants of wall-clock times, each in its own zone.

    Args:
        wall: datetime64[m].
        zones: Names of zones; None for an unknown one.
        codes: Index into ``zones``, one for each time.

    Returns:
        datetime64[m]; NaT where the zone is unknown.
    """
    instants = np.full(wall.shape, np.datetime64("NaT"), "datetime64[m]")
    for code, zone in enumerate(zones):
        chosen = codes == code
        if zone is not None and chosen.any():
            instants[chosen] = to_utc(wall[chosen], zone)
    return instants


def local_dates(instants: Dates, zone: str) -> Dates:
    """Local dates (datetime64[D]) of UTC instants."""
    zone_info = ZoneInfo(zone)
    hours, inverse = np.unique(instants.astype("datetime64[h]"), return_inverse=True)
    aware = [hour.item().replace(tzinfo=ZoneInfo("UTC")).astimezone(zone_info) for hour in hours]
    return np.asarray([a.date() for a in aware], "datetime64[D]")[inverse]


def next_occurrence(
    after: Dates, dates: Dates, clock: Minutes, zones: Sequence[str | None], codes: Minutes
) -> Dates:
    """The first instant later than ``after`` at which a clock in a zone shows a time.

    Args:
        after: UTC, datetime64[m].
        dates: Date to begin with.
        clock: As for :func:`wall_times`.
        zones: As for :func:`to_utc_by_zone`.
        codes: As for :func:`to_utc_by_zone`.

    Returns:
        UTC, datetime64[m]; NaT where anything is missing.
    """
    same_day = to_utc_by_zone(wall_times(dates, clock), zones, codes)
    next_day = to_utc_by_zone(wall_times(dates + _DAY, clock), zones, codes)
    later = np.where(same_day > after, same_day, next_day)
    later[np.isnat(after)] = np.datetime64("NaT")
    return later


def _offsets(walls: Dates, zone: ZoneInfo) -> npt.NDArray[np.timedelta64]:
    """UTC offsets (timedelta64[m]) of some wall-clock times; NaT stays NaT."""
    return np.asarray([_offset(wall, zone) for wall in walls], "timedelta64[m]")


def _offset(wall: np.datetime64, zone: ZoneInfo) -> np.timedelta64:
    if np.isnat(wall):
        return np.timedelta64("NaT", "m")
    offset = wall.astype("datetime64[s]").item().replace(tzinfo=zone).utcoffset()
    return np.timedelta64(int(offset.total_seconds()) // 60, "m")
