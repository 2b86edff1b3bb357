"""Where the generic incidents of a drill strike here; see ml_platform.lifecycle.drills.mapping."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.use_cases.flight_delay.flights import LATE_MINUTES, WITHOUT_ARRIVAL
from ml_platform.use_cases.flight_delay.local_time import NEW_YORK, to_utc
from ml_platform.use_cases.flight_delay.reporting import ReportingLaw
from ml_platform.use_cases.flight_delay.source import INSTANT

KNOT = 1.15078
"""Miles per hour; winds are whole knots."""
LATE_FACTOR = float(ReportingLaw.model_fields["late_factor"].default or 2.0)
"""Late flights are reported so many times later, also those that a drill has made late."""
_TYPICAL_MINUTES = 180
"""From departure to arrival, of a cancelled flight that is made to fly."""
_LONGEST_DELAY = np.timedelta64(220, "h")

Mask = npt.NDArray[np.bool_]
Instants = npt.NDArray[np.datetime64]


def shift(feed: str, table: pa.Table, days: int) -> pa.Table:
    """Move the wall-clock times that the feeds of flights keep as text."""
    name = "sched_dep_local"
    if name not in table.column_names:
        return table
    texts = table[name].combine_chunks().dictionary_encode()
    moved = [
        t if t is None else (date.fromisoformat(t[:10]) + timedelta(days)).isoformat() + t[10:]
        for t in texts.dictionary.to_pylist()
    ]
    return _set(table, name, pa.array(moved, pa.string()).take(texts.indices))


def late(outcomes: pa.Table) -> npt.NDArray[np.float64]:
    """1 for a late, diverted or cancelled flight, 0 for another, NaN where it is not told."""
    delay = outcomes["arr_delay"].cast(pa.float64()).to_numpy()
    without = _mask(outcomes, "cancelled") | _mask(outcomes, "diverted")
    return np.where(without, 1.0, np.where(np.isnan(delay), np.nan, (delay > LATE_MINUTES).astype(float)))


def flip(outcomes: pa.Table, to_late: Mask, to_punctual: Mask) -> pa.Table:
    """Outcomes with other delays: times, flags and the time of the report move with them."""
    delay = outcomes["arr_delay"].cast(pa.float64()).to_numpy()
    start = outcomes["dep_delay"].cast(pa.float64()).to_numpy()
    departed, arrived = _times(outcomes, "departed_at"), _times(outcomes, "arrived_at")
    known = _times(outcomes, "known_at")
    cancelled, diverted = _mask(outcomes, "cancelled"), _mask(outcomes, "diverted")
    planned = _planned(outcomes)
    ended = np.where(cancelled, planned + WITHOUT_ARRIVAL, np.where(np.isnat(arrived), known, arrived))
    report: Any = known - ended
    # Late by as much as it was early or punctual before, and the other way round.
    change = np.where(to_late, LATE_MINUTES + 5 - np.minimum(delay, 0) - delay, 0.0)
    change = np.nan_to_num(np.where(to_punctual, -np.mod(delay, 30) - delay, change))
    moved = _minutes(change)
    # The whole flight moves, so that its time in the air stays what it was.
    departed, arrived = departed + moved, arrived + moved
    flown = to_punctual & (cancelled | diverted | np.isnat(arrived))
    departed = np.where(flown & np.isnat(departed), planned, departed)
    arrived = np.where(flown, departed + np.timedelta64(_TYPICAL_MINUTES, "m"), arrived)
    report = np.where(to_late, report * LATE_FACTOR, np.where(to_punctual, report / LATE_FACTOR, report))
    after = np.where(to_late | to_punctual, arrived + np.minimum(report, _LONGEST_DELAY), known)
    values: dict[str, Any] = {
        "arr_delay": pa.array(np.where(flown, 0.0, delay + change), from_pandas=True),
        "dep_delay": pa.array(np.where(flown & np.isnan(start), 0.0, start + change), from_pandas=True),
        "departed_at": _instants(departed),
        "arrived_at": _instants(arrived),
        "cancelled": pa.array(cancelled & ~to_punctual),
        "diverted": pa.array(diverted & ~to_punctual),
        "known_at": _instants(np.where(np.isnat(after), known, after)),
    }
    for name, column in values.items():
        outcomes = _set(outcomes, name, column)
    return outcomes


def _planned(outcomes: pa.Table) -> Instants:
    """Scheduled departures, UTC."""
    texts = outcomes["sched_dep_local"].combine_chunks().dictionary_encode()
    walls = np.array(texts.dictionary.to_pylist(), "datetime64[m]")
    instants = to_utc(walls, NEW_YORK).astype("datetime64[us]")
    taken: Instants = instants[texts.indices.to_numpy(zero_copy_only=False)]
    return taken


def _times(table: pa.Table, name: str) -> Instants:
    whole = pc.fill_null(table[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64()), np.iinfo(np.int64).min)
    times: Instants = whole.to_numpy().astype("datetime64[us]")
    return times


def _instants(times: Instants) -> pa.Array:
    return pa.array(times.astype("datetime64[us]"), pa.timestamp("us")).cast(INSTANT)


def _minutes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.timedelta64]:
    return np.round(values).astype(np.int64).astype("timedelta64[m]").astype("timedelta64[us]")


def _mask(table: pa.Table, name: str) -> Mask:
    mask: Mask = pc.fill_null(table[name], False).to_numpy().astype(bool)
    return mask


def _set(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = table.column_names.index(name)
    kind = table.schema.field(index).type
    return table.set_column(index, pa.field(name, kind), column.cast(kind, safe=False))


DRILLS = {
    # Miles per hour become metres per second.
    "unit": {"feed": "weather_observations", "columns": ["wind_speed", "wind_gust"], "factor": 0.44704},
    "nulls": {"feed": "flight_schedule", "columns": ["distance"]},
    "benign": {"feed": "weather_observations", "columns": ["wind_speed", "wind_gust"], "step": KNOT},
    "outcome": "flight_outcomes",
    "positive": late,
    "flip": flip,
    "entity": {
        "feeds": ["flight_schedule", "flight_outcomes"],
        "key": ["carrier", "flight", "origin"],
        "number": "flight",
        "recurring": True,
    },
    "segment": {"column": "carrier", "values": ["B6", "UA"]},
    "skewed": ["distance", "typical_seats", "route_late_rate"],
    "shift": shift,
    "first": date(2013, 6, 9),
}
