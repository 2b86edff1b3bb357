"""One prediction as an application reads it, and its bytes in a cache."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from ml_platform.errors import IntegrityError
from ml_platform.kinds.base import Kind
from ml_platform.model_config import DecisionConfig, KindName
from ml_platform.strict import Strict

RECORD_VERSION: Literal[1] = 1
"""Version of the bytes; part of every segment's id, so that no reader meets another layout."""

_CHECKSUM = 8
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
_REPAIR = "run `ml-platform doctor`, which writes the segment again from the lake"


class PredictionRecord(Strict):
    """What a cache holds for one entity of one partition. Nothing in it depends on the generation."""

    schema_version: Literal[1] = RECORD_VERSION
    key: str = Field(description="Partition and entity, joined by '/'.")
    model_key: str = Field(description="Use case and model, joined by '/'.")
    partition_key: str = Field(description="Partition of event time, an ISO date.")
    event_time: AwareDatetime = Field(description="Instant of the event, UTC.")
    cutoff: AwareDatetime = Field(description="What was known later did not count, UTC.")
    scored_at: AwareDatetime = Field(description="The as_of of the scoring, UTC.")
    probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Of the positive outcome, or likeliest class.",
    )
    threshold: float | None = Field(default=None, description="Binary: positive from here on.")
    positive: bool | None = Field(
        default=None, description="Binary: whether the probability reaches the threshold."
    )
    prediction: float | None = Field(
        default=None, allow_inf_nan=False, description="Regression: the expected number."
    )
    low: float | None = Field(default=None, description="Regression: lower end of its interval.")
    high: float | None = Field(default=None, description="Regression: upper end of its interval.")
    unit: str | None = Field(default=None, description="Regression: unit of the number.")
    predicted_class: str | None = Field(default=None, description="Multiclass: the likeliest class.")
    probabilities: dict[str, float] | None = Field(
        default=None, description="Multiclass: probability of each class."
    )
    decision: str = Field(description="The decision in words.")
    model_version: int = Field(description="The champion's version in the ledger.")
    model_digest: str = Field(description="SHA-256 of the model bundle.")
    arm: str = Field(description="Arm of an experiment.")
    revision: int = Field(description="Scoring revision of the partition, from 1.")

    @model_validator(mode="after")
    def _says_something(self) -> PredictionRecord:
        if self.prediction is None and self.probability is None:
            raise ValueError("neither a probability nor a prediction")
        return self

    @property
    def kind(self) -> KindName:
        """Kind of target, told by the fields that are set."""
        if self.prediction is not None:
            return "regression"
        return "binary" if self.probabilities is None else "multiclass"


@dataclass(frozen=True, slots=True)
class Scoring:
    """What all predictions of one partition's scoring share.

    Attributes:
        model_key: ``<use_case>/<model>``.
        model_version: The champion's version in the ledger.
        model_digest: SHA-256 of its bundle.
        as_of: When the partition was scored, on the use case's timeline.
        kind: Kind of target.
        decision: How a score becomes words.
        arm: Arm of an experiment.
        revision: Scoring revision of the partition, from 1.
    """

    model_key: str
    model_version: int
    model_digest: str
    as_of: datetime
    kind: Kind
    decision: DecisionConfig
    arm: str = "main"
    revision: int = 1


def entity_key(partition_key: str, values: Sequence[object]) -> str:
    """The key of an entity: its partition and key values joined by '/'.

    A '/' or '%' inside a value is written as in an address (%2F, %25), so that no two entities share a
    key.
    """
    return "/".join([partition_key, *(_escaped(str(value)) for value in values)])


def segment_id(prediction_digest: str, scoring: Scoring) -> str:
    """The id of the segment that :func:`encode_table` makes of a predictions object.

    It covers all that goes into the bytes, so that a change of the decision's words makes another
    segment instead of changing one that readers use.
    """
    facts = [
        RECORD_VERSION,
        prediction_digest,
        scoring.model_key,
        scoring.model_version,
        scoring.model_digest,
        scoring.as_of.astimezone(UTC).isoformat(),
        scoring.decision.model_dump(mode="json"),
        scoring.arm,
        scoring.revision,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def encode_table(table: pa.Table, key: Sequence[str], scoring: Scoring) -> list[tuple[str, bytes]]:
    """The items of a segment, ordered by key.

    Args:
        table: Predictions of one partition: ``partition_key``, the key columns, ``event_time`` and
            ``cutoff`` (UTC), and the kind's served columns. Other columns are left out.
        key: Names of the key columns, in the use case's order.
        scoring: What the rows share.

    Returns:
        (entity key, record bytes) per row.

    Raises:
        IntegrityError: A column is missing, a value is null, a score is none of the kind, or two rows have
            one key.
    """
    _check(table, key, scoring)
    columns = [table["partition_key"].to_pylist(), *(table[name].to_pylist() for name in key)]
    keys = [entity_key(row[0], row[1:]) for row in zip(*columns, strict=True)]
    if len(set(keys)) < len(keys):
        twice = next(k for k in sorted(keys) if keys.count(k) > 1)
        raise _broken(f"two predictions have the key '{twice}'", scoring.model_key)
    records = zip(
        keys,
        columns[0],
        _instants(table["event_time"]),
        _instants(table["cutoff"]),
        table.select([name for name, _, _ in scoring.kind.served()]).to_pylist(),
        scoring.kind.decide(scoring.kind.scores(table), scoring.decision),
        strict=True,
    )
    shared = _shared(scoring)
    return sorted((row[0], _encode(_row(scoring, *row) | shared)) for row in records)


def encode(record: PredictionRecord) -> bytes:
    """The bytes of one record: a CRC-32 in hex, then JSON."""
    return _encode(record.model_dump(mode="json", exclude_none=True))


def decode(data: bytes, *, model_key: str, key: str) -> PredictionRecord:
    """The record in a cache's bytes.

    Raises:
        IntegrityError: The bytes are corrupt, of another layout, or belong to another key or model.
    """
    where = f"{model_key}, key {key}"
    body = data[_CHECKSUM:]
    if data[:_CHECKSUM] != b"%08x" % zlib.crc32(body):
        raise IntegrityError("the cached prediction is corrupt", where=where, fix=_REPAIR)
    try:
        record = PredictionRecord.model_validate_json(body)
    except ValidationError as error:
        raise IntegrityError(
            f"the cached prediction has another layout: {error.errors()[0]['msg']}", where=where, fix=_REPAIR
        ) from error
    if (record.model_key, record.key) != (model_key, key):
        raise IntegrityError(
            f"the cached prediction is that of {record.model_key}, key {record.key}", where=where, fix=_REPAIR
        )
    return record


def _encode(fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%08x" % zlib.crc32(body) + body


def _shared(scoring: Scoring) -> dict[str, Any]:
    return {
        "schema_version": RECORD_VERSION,
        "model_key": scoring.model_key,
        "model_version": scoring.model_version,
        "model_digest": scoring.model_digest,
        "scored_at": scoring.as_of.astimezone(UTC).isoformat(),
        "arm": scoring.arm,
        "revision": scoring.revision,
    }


def _row(
    scoring: Scoring,
    key: str,
    partition_key: str,
    event_time: str,
    cutoff: str,
    score: dict[str, Any],
    decision: str,
) -> dict[str, Any]:
    facts = scoring.kind.facts(score, scoring.decision)
    return {
        "key": key,
        "partition_key": partition_key,
        "event_time": event_time,
        "cutoff": cutoff,
        **{name: value for name, value in facts.items() if value is not None},
        "decision": decision,
    }


def _check(table: pa.Table, key: Sequence[str], scoring: Scoring) -> None:
    where, served = scoring.model_key, scoring.kind.served()
    always = ["partition_key", *key, "event_time", "cutoff"]
    missing = [n for n in (*always, *(name for name, _, _ in served)) if n not in table.column_names]
    needed = [*always, *(name for name, _, nullable in served if not nullable)]
    if missing:
        raise _broken(f"the predictions lack the column {', '.join(missing)}", where)
    empty = [name for name in needed if table[name].null_count]
    if empty:
        raise _broken(f"the predictions have nulls in {', '.join(empty)}", where)
    naive = [n for n in ("event_time", "cutoff") if getattr(table.schema.field(n).type, "tz", None) is None]
    if naive:
        raise _broken(f"{', '.join(naive)} must be instants with a time zone", where)
    if not scoring.kind.valid(scoring.kind.scores(table)).all():
        allowed = "outside 0 to 1" if scoring.kind.bounded else "infinite"
        raise _broken(f"a {scoring.kind.column} is NaN or {allowed}", where)


def _instants(column: pa.ChunkedArray) -> list[str]:
    utc = column.cast(pa.timestamp("us", tz="UTC"))
    return list(pc.strftime(utc, format=_INSTANT).to_pylist())


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("/", "%2F")


def _broken(what: str, where: str) -> IntegrityError:
    return IntegrityError(what, where=where, fix="correct the scoring step and score the partition again")
