"""What SQL can see as of an instant: published Parquet objects by asset, and the ledger's records.

Every asset whose objects are Parquet is a relation named for it: ``feed/<name>/accepted`` is
``feed.<name>_accepted``, ``<use_case>/features`` is ``<use_case>.features`` and
``<use_case>/<model>/predictions`` is ``<use_case>.<model>_predictions``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Boolean, Float, Integer, select

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform
from ml_platform.partitions import PartitionScheme
from ml_platform.storage import tables
from ml_platform.storage.tables import COMMITTED, Base, Publication, UtcDateTime

FEED, ACCEPTED = "feed", "accepted"
_INSTANT = pa.timestamp("us", tz="UTC")
_UTC_DAYS = PartitionScheme("daily", "UTC", date(1970, 1, 1), None)
_MAGIC = b"PAR1"

LEDGER: Mapping[str, tuple[type[Base], str]] = {
    "verdicts": (tables.Verdict, "What each diagnosis said of a model."),
    "incidents": (tables.Incident, "Causes that last, as they stood."),
    "holds": (tables.Hold, "Partitions that must not train until an incident is resolved."),
    "datasets": (tables.Dataset, "Dataset versions."),
    "models": (tables.Model, "Trained models and their metrics."),
    "evaluations": (tables.Evaluation, "What the gates said of each candidate."),
    "promotions": (tables.Promotion, "Champions: first, promotion or rollback."),
    "attempts": (tables.Attempt, "Retrainings, recalibrations, rollbacks and refusals, with their guards."),
    "effects": (tables.Effect, "What actions were worth, as last reckoned."),
    "monitors": (tables.MonitorResult, "What each monitor saw."),
    "publications": (Publication, "Every object that was published: asset, partition, digest."),
}
"""Relations that come from the ledger, with what they hold."""

UNIONS: Mapping[str, tuple[str, str]] = {
    "features": ("features", "Features of all use cases; columns that one lacks are null."),
    "labels": ("labels", "Labels of all use cases; columns that one lacks are null."),
    "predictions": ("predictions", "Predictions of all models, with the features as served."),
}
"""Relations over all use cases, by the last part of their assets' names."""


@dataclass(frozen=True)
class Relation:
    """One thing that SQL can read.

    Attributes:
        schema: Its schema; ``main`` for what spans all use cases.
        name: Its name there.
        source: The asset, or the table of the ledger.
        about: What it holds, for people.
    """

    schema: str
    name: str
    source: str
    about: str

    @property
    def full_name(self) -> str:
        """As it is written in SQL."""
        return self.name if self.schema == "main" else f"{self.schema}.{self.name}"


class Moment:
    """The instant that an answer is as of: the same day is another instant in each use case's zone.

    Args:
        platform: Whose use cases.
        as_of: An instant with its offset, or a local day, which counts to its end; what is in force when
            None.

    Raises:
        ValueError: An instant has no offset.
    """

    def __init__(self, platform: Platform, as_of: datetime | date | None = None) -> None:
        if isinstance(as_of, datetime) and as_of.tzinfo is None:
            raise ValueError(f"'{as_of}' has no UTC offset")
        self.as_of = as_of
        self._use_cases = platform.use_cases
        self._by_feed: dict[str, UseCase] = {}
        for use_case in self._use_cases.values():
            for feed in use_case.config.feeds:
                self._by_feed.setdefault(feed.name, use_case)

    def of(self, key: str) -> datetime | None:
        """The instant for an asset's or a model's key; None for what is in force."""
        if self.as_of is None or isinstance(self.as_of, datetime):
            return self.as_of
        first, *rest = key.split("/")
        use_case = self._by_feed.get(rest[0]) if first == FEED and rest else self._use_cases.get(first)
        return (use_case.scheme if use_case else _UTC_DAYS).end_of_day(self.as_of)


def relations(platform: Platform) -> list[Relation]:
    """All relations there could be: those over all use cases, then each asset's own.

    An asset's objects are looked at only when it is read, so one that holds no Parquet is among them.
    """
    found = [Relation("main", n, f"*/{last}", about) for n, (last, about) in UNIONS.items()]
    found += [Relation("main", n, t.__tablename__, about) for n, (t, about) in LEDGER.items()]
    for asset in platform.ledger.assets():
        schema, *rest = asset.split("/")
        if schema == FEED and rest[-1] == ACCEPTED:
            about = "Rows of the feed that were visible then."
            found.append(Relation(schema, "_".join(rest[:-1]), asset, about))
        found.append(Relation(schema, "_".join(rest), asset, f"Published objects of {asset}."))
    return found


def objects(platform: Platform, asset: str, moment: Moment) -> list[Publication]:
    """An asset's publications in force then, by partition in order; none when they are not Parquet."""
    found = list(platform.ledger.heads(asset, as_of=_published_by(asset, moment)).values())
    if found and platform.lake.path(found[-1].digest).open("rb").read(len(_MAGIC)) != _MAGIC:
        return []
    return found


def _published_by(asset: str, moment: Moment) -> datetime | None:
    # An accepted history is bitemporal: its rows say themselves when they became visible, and a first load
    # that happened later counts from when it could have come.
    return None if asset.startswith(f"{FEED}/") and asset.endswith(f"/{ACCEPTED}") else moment.of(asset)


def records(platform: Platform, name: str, moment: Moment) -> pa.Table:
    """The ledger's records of one kind as they stood then: instants UTC, structures as JSON text.

    Args:
        platform: The stores.
        name: A key of :data:`LEDGER`.
        moment: What came later is left out.
    """
    table, _ = LEDGER[name]
    key = "asset" if table is Publication else "model_key"
    query: Any = select(table)
    if hasattr(table, "status") and table in (Publication, tables.Promotion):
        query = query.where(table.status == COMMITTED)
    with platform.ledger.begin() as session:
        rows = list(session.scalars(query))
    columns = table.__table__.columns
    then = [_then(row, moment.of(getattr(row, key))) for row in rows]
    kept = [values for values in then if values is not None]
    return pa.table(
        {
            c.name: pa.array([_plain(values[c.name]) for values in kept], _arrow_type(c.type))
            for c in columns
            if c.name != "status" or table not in (Publication, tables.Promotion)
        }
    )


def _then(row: Any, instant: datetime | None) -> dict[str, Any] | None:
    """A record's values as of an instant; None when it was not there yet."""
    values = {c.name: getattr(row, c.name) for c in row.__table__.columns}
    if instant is None:
        return values
    born = values["opened_at"] if isinstance(row, tables.Incident) else values["as_of"]
    if born > instant:
        return None
    rewind: dict[type[Any], Callable[[dict[str, Any], datetime], None]] = {
        tables.Incident: _incident_then,
        tables.Hold: _hold_then,
    }
    rewind.get(type(row), _unchanged)(values, instant)
    return values


def _unchanged(values: dict[str, Any], instant: datetime) -> None:
    """Records of this kind are appended and never changed."""


def _incident_then(values: dict[str, Any], instant: datetime) -> None:
    if values["closed_at"] is not None and values["closed_at"] > instant:
        values["closed_at"], values["status"] = None, "open"
    if values["updated_at"] > instant:
        # Only the newest report is kept; it holds what nobody knew then.
        values["report"], values["updated_at"] = None, values["opened_at"]


def _hold_then(values: dict[str, Any], instant: datetime) -> None:
    if values["released_at"] is not None and values["released_at"] > instant:
        values["released_at"] = None


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _arrow_type(kind: Any) -> pa.DataType:
    known: Iterator[tuple[type[Any], pa.DataType]] = iter(
        (
            (UtcDateTime, _INSTANT),
            (JSON, pa.string()),
            (Boolean, pa.bool_()),
            (Integer, pa.int64()),
            (Float, pa.float64()),
        )
    )
    return next((arrow for sql, arrow in known if isinstance(kind, sql)), pa.string())
