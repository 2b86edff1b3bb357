"""What the flights file says before a flight (its schedule) and after it (its outcome)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import FeedError
from ml_platform.use_cases.flight_delay.airports import zone_by_airport
from ml_platform.use_cases.flight_delay.local_time import (
    MISSING,
    NEW_YORK,
    next_occurrence,
    to_utc,
    wall_times,
)
from ml_platform.use_cases.flight_delay.partitioned import PartitionedTable, partition_by_date
from ml_platform.use_cases.flight_delay.reporting import ReportingLaw, text_hashes, uniform_of_key
from ml_platform.use_cases.flight_delay.source import (
    COLUMNS,
    INSTANT,
    Version,
    read_source,
    source_version,
)

Instants: TypeAlias = "npt.NDArray[np.datetime64]"
Whole: TypeAlias = "npt.NDArray[np.int64]"

LATE_MINUTES = 15
"""More than this is late, for the reporting law; the label's own definition is SQL."""
WITHOUT_ARRIVAL = np.timedelta64(6, "h")
"""A diversion is known this long after the scheduled arrival, a cancellation after the departure."""
SCHEDULE_KNOWN_AT = np.timedelta64(-9, "h")
"""When a day's schedule is known, from its midnight on the clocks of New York: 15:00 on the day before."""
_DAY = np.timedelta64(1, "D")
_FILES = ("flights", "airports")


@dataclass(frozen=True)
class FlightTimes:
    """Times of all flights of the file, in its order; missing ones are NaT.

    Attributes:
        dates: Scheduled New York dates, datetime64[D].
        departure: Scheduled departure, UTC, datetime64[m].
        arrival: Scheduled arrival, UTC, datetime64[m]: the first after the departure at which the clock at
            the destination shows the scheduled time.
    """

    dates: Instants
    departure: Instants
    arrival: Instants


def schedule(folder: Path) -> PartitionedTable:
    """What is scheduled, by partition: nothing in it tells what became of the flight.

    Args:
        folder: Folder of the source's files.

    Returns:
        carrier, flight, origin, dest, distance (miles), scheduled_departure and scheduled_arrival (UTC),
        sched_dep_local (New York wall-clock time as text such as ``2013-06-09T13:05``), known_at.

    Raises:
        FeedError: As for :func:`.source.read_source`, or a row has no valid date.
    """
    return _schedule(folder, source_version(folder, _FILES))


def outcomes(folder: Path, law: ReportingLaw) -> PartitionedTable:
    """What became of the flights, by partition, each row known when the law has it reported.

    Columns of the file that nobody has told us about are passed on here: what is not known to be a plan
    is taken to be known afterwards.

    Args:
        folder: Folder of the source's files.
        law: When outcomes are reported.

    Returns:
        carrier, flight, origin, dest, tailnum, dep_delay, arr_delay and air_time (minutes),
        sched_dep_local, departed_at and arrived_at (UTC), cancelled and diverted (boolean), known_at.

    Raises:
        FeedError: As for :func:`schedule`.
    """
    return _outcomes(folder, source_version(folder, _FILES), law)


@lru_cache(maxsize=4)
def _schedule(folder: Path, version: Version) -> PartitionedTable:
    flights, times = read_source(folder, "flights"), _times(folder, version)
    midnight: Instants = times.dates.astype("datetime64[m]")
    columns = {
        "scheduled_departure": _instant(times.departure),
        "scheduled_arrival": _instant(times.arrival),
        "sched_dep_local": _wall_text(times.dates, flights["sched_dep_time"]),
        "known_at": _instant(to_utc(midnight + SCHEDULE_KNOWN_AT, NEW_YORK)),
    }
    planned = flights.select(["carrier", "flight", "origin", "dest", "distance"])
    return partition_by_date(_with(planned, columns), times.dates)


@lru_cache(maxsize=4)
def _outcomes(folder: Path, version: Version, law: ReportingLaw) -> PartitionedTable:
    flights, times = read_source(folder, "flights"), _times(folder, version)
    dep_delay, arr_delay = _whole(flights["dep_delay"]), _whole(flights["arr_delay"])
    cancelled = _whole(flights["dep_time"]) == MISSING
    diverted = ~cancelled & (arr_delay == MISSING)
    late = cancelled | diverted | (arr_delay > LATE_MINUTES)
    delay = law.minutes(uniform_of_key(law.seed, _key_numbers(flights, times.dates)), late)
    columns = {
        "sched_dep_local": _wall_text(times.dates, flights["sched_dep_time"]),
        "departed_at": _instant(times.departure + _delta(dep_delay)),
        "arrived_at": _instant(times.arrival + _delta(arr_delay)),
        "cancelled": pa.array(cancelled),
        "diverted": pa.array(diverted),
        "known_at": _instant(_ended(times, arr_delay, cancelled) + _delta(delay)),
    }
    kept = ["carrier", "flight", "origin", "dest", "tailnum", "dep_delay", "arr_delay", "air_time"]
    kept += [name for name in flights.column_names if name not in COLUMNS["flights"]]
    return partition_by_date(_with(flights.select(kept), columns), times.dates)


@lru_cache(maxsize=4)
def _times(folder: Path, _version: Version) -> FlightTimes:
    flights = read_source(folder, "flights")
    dates = _dates(flights)
    departure = to_utc(wall_times(dates, _whole(flights["sched_dep_time"])), NEW_YORK)
    destinations = flights["dest"].combine_chunks().dictionary_encode()
    zone_of = zone_by_airport(read_source(folder, "airports"))
    zone_names = pa.array([zone_of.get(d) for d in destinations.dictionary.to_pylist()], pa.string())
    zones = zone_names.take(destinations.indices).dictionary_encode()
    codes = _whole(zones.indices)
    clock = _whole(flights["sched_arr_time"])
    return FlightTimes(
        dates, departure, next_occurrence(departure, dates, clock, zones.dictionary.to_pylist(), codes)
    )


def _ended(times: FlightTimes, arr_delay: Whole, cancelled: npt.NDArray[np.bool_]) -> Instants:
    """When there was something to report."""
    ended = np.where(cancelled, times.departure, times.arrival) + WITHOUT_ARRIVAL
    arrived = times.arrival + _delta(arr_delay)
    ended = np.where(np.isnat(arrived), ended, arrived)
    # A row without usable times is for the contract to judge, so it needs a known_at all the same.
    return np.where(np.isnat(ended), (times.dates + _DAY).astype("datetime64[m]"), ended)


def _dates(flights: pa.Table) -> Instants:
    year, month, day = (_whole(flights[n]) for n in ("year", "month", "day"))
    known = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(known, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    dates: Instants = months.astype("datetime64[D]") + np.where(known, day - 1, 0).astype("timedelta64[D]")
    wrong = np.flatnonzero(~known | (dates.astype("datetime64[M]") != months))
    if wrong.size:
        raise FeedError(
            f"{wrong.size} row(s) of flights.csv have no valid date, so they belong to no partition",
            where=f"flights.csv, row {wrong[0] + 1} after the header",
            fix="correct year, month and day there",
        )
    return dates


def _key_numbers(flights: pa.Table, dates: Instants) -> list[npt.NDArray[np.uint64]]:
    numbers = [dates.astype(np.int64).astype(np.uint64)]
    for name in ("carrier", "origin"):
        texts = flights[name].combine_chunks().dictionary_encode(null_encoding="encode")
        numbers.append(text_hashes(texts.dictionary.to_pylist())[_whole(texts.indices)])
    return [*numbers, _whole(flights["flight"]).astype(np.uint64)]


def _whole(column: pa.ChunkedArray | pa.Array) -> Whole:
    filled = pc.fill_null(column.cast(pa.int64()), MISSING)
    return np.asarray(filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled)


def _delta(minutes: Whole) -> npt.NDArray[np.timedelta64]:
    # numpy's NaT has the value of MISSING, so that missing minutes give missing instants.
    return minutes.astype("timedelta64[m]")


def _instant(times: Instants) -> pa.Array:
    return pa.array(times.astype("datetime64[us]"), pa.timestamp("us")).cast(INSTANT)


def _wall_text(dates: Instants, clock: pa.ChunkedArray) -> pa.Array:
    """Local wall-clock times as ISO text such as 2013-06-09T13:05."""
    days, day = np.unique(dates, return_inverse=True)
    times = clock.combine_chunks().dictionary_encode()
    texts = [f"{number // 100:02}:{number % 100:02}" for number in times.dictionary.to_pylist()]
    date_text = pa.array([str(d) for d in days], pa.string()).take(pa.array(day))
    time_text = pa.array(texts, pa.string()).take(times.indices)
    return pc.binary_join_element_wise(date_text, time_text, "T")


def _with(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table
