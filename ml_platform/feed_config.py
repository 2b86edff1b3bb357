"""What ``use_case.yaml`` says about feeds: where the records are, and when the world could know them."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from ml_platform.strict import Duration, Identifier, LocalTime, Strict

_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")


class ArrivalConfig(Strict):
    """When a partition's data can be expected, counted in local days from the partition's first."""

    due_days: int = Field(default=1, description="Days after the partition's first day when data is due.")
    due_at: LocalTime = Field(default=time(0), description="Local time on that day.")
    complete_days: int = Field(
        default=1,
        description="Days after the partition's first day from which nothing new is expected.",
    )
    due_after: Duration | None = Field(
        default=None, description="Instead of due_days: so long after the partition's end, for example PT10M."
    )
    complete_after: Duration | None = Field(
        default=None, description="Instead of complete_days: so long after the partition's end."
    )


class SourceConfig(Strict):
    """Where a feed's records are, without a line of Python: exactly one of path, query and s3."""

    path: str | None = Field(
        default=None,
        description="File or pattern such as data/orders_*.csv; relative to the use case's folder, "
        "with ${VARIABLE} from the environment.",
    )
    s3: str | None = Field(
        default=None,
        description="s3://bucket/prefix; every object below it whose name ends in the format. Address and "
        "credentials come from the environment, as boto3 reads them.",
    )
    query: str | None = Field(
        default=None,
        description="SQL through SQLAlchemy; :start and :end, where used, are the first and last instant "
        "(UTC) of the partitions asked for.",
    )
    url_from: str | None = Field(
        default=None,
        description="Name of the environment variable that holds the database's SQLAlchemy URL.",
    )
    format: Literal["csv", "parquet"] | None = Field(
        default=None, description="Format of files; read from their names when empty."
    )
    delimiter: str | None = Field(default=None, description="Of CSV; found out by itself when empty.")
    columns: dict[Identifier, str] = Field(
        default={}, description="Contract column: name in the source. All, by their own names, when empty."
    )
    missing: tuple[str, ...] = Field(
        default=(), description="Texts of CSV that mean missing, besides an empty cell; for example NA."
    )
    decimal_comma: tuple[Identifier, ...] = Field(
        default=(), description="Columns of CSV whose numbers have a decimal comma, such as 1.234,5."
    )
    not_null: tuple[Identifier, ...] = Field(
        default=(), description="Rows without a value here are left out: they are not known yet."
    )

    @model_validator(mode="after")
    def _one_place(self) -> SourceConfig:
        given = [n for n in ("path", "s3", "query") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, query and s3, not {' and '.join(given) or 'none'}")
        if (self.query is None) != (self.url_from is None):
            raise ValueError("'query' and 'url_from' go together")
        if self.url_from is not None and not _VARIABLE.match(self.url_from):
            raise ValueError("'url_from' is the name of an environment variable, never an address")
        if self.s3 is not None and not re.match(r"^s3://[^/]+(/.*)?$", self.s3):
            raise ValueError("'s3' is s3://bucket/prefix")
        return self


class KnownAtConfig(Strict):
    """When the world could first have told a row; exactly one of column, arrival and delay."""

    column: Identifier | None = Field(default=None, description="Column that holds the instant.")
    arrival: bool = Field(
        default=False, description="When its file was last written (path), or its object (s3)."
    )
    delay: Duration | None = Field(
        default=None, description="A rule: so long after the event, for example P2D or PT6H."
    )

    @model_validator(mode="after")
    def _one_way(self) -> KnownAtConfig:
        given = [self.column is not None, self.arrival, self.delay is not None]
        if sum(given) != 1:
            raise ValueError("needs exactly one of column, arrival: true and delay")
        return self


class FeedConfig(Strict):
    """A source of records and how it arrives."""

    name: Identifier = Field(description="Name; also the stem of its contract file.")
    reader: str = Field(
        default="",
        description="'module:function' in the use case's folder; see ml_platform.ingestion.reader. "
        "Or leave it out and give a source.",
    )
    source: SourceConfig | None = Field(default=None, description="Where the records are, without Python.")
    event_time: str = Field(
        default="",
        description="Column of the source that places a row in a partition. With it, a reader need not "
        "return partition_key and known_at.",
    )
    timezone: str = Field(
        default="", description="Zone of instants without an offset; that of the partitions when empty."
    )
    time_format: str = Field(
        default="",
        description="strptime format of the instants, for example %d.%m.%Y %H:%M, or epoch_seconds or "
        "epoch_milliseconds for numbers that count from 1970; else ISO.",
    )
    timestamps: tuple[str, ...] = Field(
        default=(), description="Other columns of the source that hold instants without an offset."
    )
    known_at: KnownAtConfig | None = Field(
        default=None,
        description="When a row could be known. When empty the event itself is taken: nothing tells then "
        "what came late, and `ml-platform use-case check` says what that costs.",
    )
    static: bool = Field(default=False, description="A reference feed without event time.")
    landing_lag: Duration = Field(
        default=timedelta(0), description="Usual time from known_at to landed, for example PT5M."
    )
    lookback: int = Field(
        default=0,
        ge=0,
        description="Earlier partitions that one delivery may still add to or revise.",
    )
    arrival: ArrivalConfig = Field(default=ArrivalConfig(), description="When data is due and complete.")
    settings: dict[str, Any] = Field(default={}, description="Passed to the reader as they are.")

    @property
    def declared(self) -> bool:
        """Whether the platform places the rows and dates them, rather than the reader."""
        return self.source is not None or bool(self.event_time)

    @property
    def origin(self) -> str:
        """Where the records come from, for people."""
        if self.source is None:
            return self.reader
        return self.source.path or self.source.s3 or f"query on ${self.source.url_from}"

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"'{value}' is no IANA zone such as Europe/Berlin") from None
        return value

    @field_validator("time_format")
    @classmethod
    def _format_exists(cls, value: str) -> str:
        try:
            datetime.strptime("", value)  # noqa: DTZ007
        except ValueError as error:
            if "bad directive" in str(error) or "stray" in str(error):
                raise ValueError(f"'{value}' is no strptime format such as %d.%m.%Y %H:%M: {error}") from None
        return value

    @model_validator(mode="after")
    def _readable(self) -> FeedConfig:
        if bool(self.reader) == (self.source is not None):
            raise ValueError(f"feed {self.name}: needs either 'reader' or 'source'")
        if self.source is not None and not self.event_time and not self.static:
            raise ValueError(f"feed {self.name}: a source needs 'event_time', or 'static: true'")
        if self.known_at is None:
            return self
        if not self.declared:
            raise ValueError(f"feed {self.name}: known_at needs 'event_time'; else its reader returns it")
        if self.known_at.arrival and (self.source is None or self.source.query is not None):
            raise ValueError(f"feed {self.name}: known_at: arrival needs files or objects")
        if self.known_at.delay is not None and not self.event_time:
            raise ValueError(f"feed {self.name}: known_at: delay needs 'event_time'")
        return self
