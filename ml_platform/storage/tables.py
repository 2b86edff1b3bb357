"""The ledger's tables. They change only by a migration in ``migrations/versions``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeDecorator

REQUESTED, COMMITTED, ABANDONED = "requested", "committed", "abandoned"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, stored as naive UTC, which SQLite and Postgres order alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to naive UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the ledger takes instants with their offset, not {value!r}")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC to aware."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime: UtcDateTime,
    }


class Timeline(Base):
    """A named clock."""

    __tablename__ = "timelines"
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    now: Mapped[datetime | None]
    recorded_at: Mapped[datetime]


class Publication(Base):
    """One immutable object published for an asset and partition."""

    __tablename__ = "publications"
    id: Mapped[int] = mapped_column(primary_key=True)
    asset: Mapped[str]
    partition: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    status: Mapped[str]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    schema_version: Mapped[int]
    supersedes: Mapped[int | None]
    details: Mapped[dict[str, Any]]
    __table_args__ = (Index("publications_asset_partition", "asset", "partition"),)


class Head(Base):
    """Which publication of an asset's partition is in force."""

    __tablename__ = "heads"
    asset: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    publication_id: Mapped[int] = mapped_column(ForeignKey("publications.id"))


class Delivery(Base):
    """What a feed delivered for a partition: ``new``, ``unchanged``, ``empty`` or ``not_due``."""

    __tablename__ = "deliveries"
    id: Mapped[int] = mapped_column(primary_key=True)
    feed: Mapped[str]
    partition: Mapped[str]
    status: Mapped[str]
    digest: Mapped[str | None] = mapped_column(String(64))
    rows: Mapped[int]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    accepted: Mapped[bool]
    __table_args__ = (Index("deliveries_feed_partition", "feed", "partition"),)


class Acceptance(Base):
    """What became of a delivery: landed = accepted + quarantined + held."""

    __tablename__ = "acceptances"
    id: Mapped[int] = mapped_column(primary_key=True)
    feed: Mapped[str]
    partition: Mapped[str]
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"))
    status: Mapped[str]
    landed: Mapped[int]
    accepted: Mapped[int]
    quarantined: Mapped[int]
    held: Mapped[int]
    contract_version: Mapped[str]
    contract_digest: Mapped[str] = mapped_column(String(64))
    evidence_digest: Mapped[str | None] = mapped_column(String(64))
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("acceptances_feed_partition", "feed", "partition"),)


class Dataset(Base):
    """A dataset version: its manifest names partition objects, schema and code versions."""

    __tablename__ = "datasets"
    version: Mapped[str] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    status: Mapped[str]
    manifest_digest: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    first_partition: Mapped[str]
    last_partition: Mapped[str]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    details: Mapped[dict[str, Any]]


class Model(Base):
    """A trained model: its bundle in the lake and where it came from."""

    __tablename__ = "models"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_key: Mapped[str]
    dataset_version: Mapped[str]
    estimator: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    scores_digest: Mapped[str | None] = mapped_column(String(64))
    mlflow_run_id: Mapped[str | None]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Evaluation(Base):
    """The gates' verdict on a candidate."""

    __tablename__ = "evaluations"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    model_digest: Mapped[str] = mapped_column(String(64))
    against_digest: Mapped[str | None] = mapped_column(String(64))
    dataset_version: Mapped[str]
    passed: Mapped[bool]
    gates: Mapped[list[Any]]
    evidence_digest: Mapped[str] = mapped_column(String(64))
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Approval(Base):
    """A person's word on an evaluation."""

    __tablename__ = "approvals"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"))
    decision: Mapped[str]
    who: Mapped[str]
    why: Mapped[str]
    recorded_at: Mapped[datetime]


class Promotion(Base):
    """A champion: ``first``, ``promotion`` or ``rollback``. The latest committed one is in force."""

    __tablename__ = "promotions"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    action: Mapped[str]
    model_digest: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    evaluation_id: Mapped[int | None]
    previous_id: Mapped[int | None]
    status: Mapped[str]
    who: Mapped[str]
    why: Mapped[str]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("promotions_model_key", "model_key"),)


class CacheGeneration(Base):
    """A generation of the serving cache. The latest committed one is served."""

    __tablename__ = "cache_generations"
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str]
    model_key: Mapped[str]
    status: Mapped[str]
    promotion_id: Mapped[int | None]
    model_digest: Mapped[str] = mapped_column(String(64))
    served_partition: Mapped[str]
    segments: Mapped[list[Any]]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("cache_generations_model_key", "model_key"),)


class MonitorResult(Base):
    """What a monitor saw, appended each time: evidence is stored from the first day on."""

    __tablename__ = "monitor_results"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    monitor: Mapped[str]
    partition: Mapped[str]
    state: Mapped[str]
    summary: Mapped[dict[str, Any]]
    evidence_digest: Mapped[str | None] = mapped_column(String(64))
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("monitor_results_model_key", "model_key", "monitor"),)


class Verdict(Base):
    """What a diagnosis said of a model on one day. Appended; the latest of a partition is the day's."""

    __tablename__ = "verdicts"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    partition: Mapped[str]
    verdict: Mapped[str]
    kind: Mapped[str | None]
    cause: Mapped[str]
    sentence: Mapped[str]
    fingerprint: Mapped[str]
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"))
    diagnosis_digest: Mapped[str] = mapped_column(String(64))
    recheck_at: Mapped[datetime | None]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("verdicts_model_key", "model_key", "partition"),)


class Incident(Base):
    """A cause that lasts: opened by a fingerprint, updated while it lasts, closed by a cause."""

    __tablename__ = "incidents"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    fingerprint: Mapped[str]
    status: Mapped[str]
    report: Mapped[dict[str, Any]]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("incidents_model_key", "model_key", "status"),)


class Hold(Base):
    """A partition that must not train or be promoted on, until an incident is resolved."""

    __tablename__ = "holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    partition: Mapped[str]
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    reason: Mapped[str]
    as_of: Mapped[datetime]
    released_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime]
    __table_args__ = (Index("holds_model_key", "model_key", "partition"),)


class Attempt(Base):
    """An action that a verdict or a person asked for, with its guards and what came of it.

    ``run_key`` is unique: two sensors, a restarted daemon and a duplicate tick make one attempt.
    """

    __tablename__ = "attempts"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    run_key: Mapped[str] = mapped_column(unique=True)
    action: Mapped[str]
    kind: Mapped[str | None]
    verdict_id: Mapped[int | None] = mapped_column(ForeignKey("verdicts.id"))
    fingerprint: Mapped[str]
    number: Mapped[int]
    status: Mapped[str]
    outcome: Mapped[str]
    who: Mapped[str]
    why: Mapped[str]
    override: Mapped[bool]
    guards: Mapped[list[Any]]
    details: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    promotion_id: Mapped[int | None] = mapped_column(ForeignKey("promotions.id"))
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    __table_args__ = (Index("attempts_model_key", "model_key", "status"),)


class Effect(Base):
    """What an action or a refusal was worth, once later days are mature."""

    __tablename__ = "effects"
    id: Mapped[int] = mapped_column(primary_key=True)
    model_key: Mapped[str]
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"), unique=True)
    state: Mapped[str]
    loss_change: Mapped[float | None]
    partitions: Mapped[int]
    rows: Mapped[int]
    worth: Mapped[float | None]
    cost: Mapped[float]
    reason: Mapped[str]
    as_of: Mapped[datetime]
    recorded_at: Mapped[datetime]
