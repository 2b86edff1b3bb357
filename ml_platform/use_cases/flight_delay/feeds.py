"""The six feeds: each function returns the raw rows of the partitions asked for, and when they were known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from ml_platform.errors import FeedError
from ml_platform.ingestion.reader import FeedRequest
from ml_platform.partitions import STATIC_KEY
from ml_platform.use_cases.flight_delay import flights
from ml_platform.use_cases.flight_delay.airports import completed
from ml_platform.use_cases.flight_delay.local_time import NEW_YORK, local_dates
from ml_platform.use_cases.flight_delay.partitioned import PartitionedTable, partition_by_date
from ml_platform.use_cases.flight_delay.reporting import ReportingLaw
from ml_platform.use_cases.flight_delay.source import (
    INSTANT,
    Version,
    data_folder,
    read_source,
    source_version,
)

BEFORE_EVERYTHING = datetime(2012, 12, 31, tzinfo=UTC)
"""``known_at`` of the reference feeds: before the first flight."""
OBSERVATION_HOUR = pa.scalar(3600 * 10**6, pa.duration("us"))
"""An hour's weather is known when the hour is over."""


def read_flight_schedule(request: FeedRequest) -> pa.Table:
    """Scheduled flights, known at 15:00 in New York on the day before; see :func:`.flights.schedule`."""
    return _select(flights.schedule(_folder(request)), request)


def read_flight_outcomes(request: FeedRequest) -> pa.Table:
    """What became of the flights, reported by the law in the setting ``reporting_law``."""
    folder = _folder(request, "reporting_law")
    return _select(flights.outcomes(folder, _law(request.settings.get("reporting_law") or {})), request)


def read_weather_observations(request: FeedRequest) -> pa.Table:
    """Hourly weather at the three origins, known an hour after the hour observed."""
    folder = _folder(request)
    return _select(_weather(folder, source_version(folder, ["weather"])), request)


def read_planes(request: FeedRequest) -> pa.Table:
    """Aircraft by tail number."""
    return _reference(read_source(_folder(request), "planes"))


def read_airports(request: FeedRequest) -> pa.Table:
    """Airports with their zones, the four that the file forgets included."""
    return _reference(completed(read_source(_folder(request), "airports")))


def read_airlines(request: FeedRequest) -> pa.Table:
    """Names of the carriers."""
    return _reference(read_source(_folder(request), "airlines"))


@lru_cache(maxsize=4)
def _weather(folder: Path, _version: Version) -> PartitionedTable:
    raw = read_source(folder, "weather")
    unknown = raw["time_hour"].null_count
    if unknown:
        raise FeedError(
            f"{unknown} row(s) of weather.csv have no time_hour, so they belong to no partition",
            where=str(folder),
            fix="correct time_hour there",
        )
    table = raw.rename_columns(["observed_at" if n == "time_hour" else n for n in raw.column_names])
    table = table.append_column("known_at", pc.add(table["observed_at"], OBSERVATION_HOUR))
    hours = np.asarray(table["observed_at"].cast(pa.int64())).astype("datetime64[us]")
    return partition_by_date(table, local_dates(hours, NEW_YORK))


def _select(table: PartitionedTable, request: FeedRequest) -> pa.Table:
    return table.select(p.key for p in request.partitions)


def _reference(table: pa.Table) -> pa.Table:
    rows = table.num_rows
    table = table.append_column("partition_key", pa.repeat(pa.scalar(STATIC_KEY, pa.string()), rows))
    return table.append_column("known_at", pa.repeat(pa.scalar(BEFORE_EVERYTHING, INSTANT), rows))


def _folder(request: FeedRequest, *settings: str) -> Path:
    """The source's folder, after a look at the names of the settings: a typing error is an error."""
    unknown = sorted(set(request.settings) - {"path", *settings})
    if unknown:
        raise FeedError(
            f"unknown setting(s): {', '.join(unknown)}",
            where=f"use_case.yaml, feed {request.feed}",
            fix=f"known settings: {', '.join(('path', *settings))}",
        )
    return data_folder(request.settings)


def _law(settings: Mapping[str, Any]) -> ReportingLaw:
    try:
        return ReportingLaw.model_validate(settings)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise FeedError(
            f"the reporting law is malformed: {problems}",
            where="use_case.yaml, setting reporting_law",
            fix=f"its keys are {', '.join(ReportingLaw.model_fields)}",
        ) from error
