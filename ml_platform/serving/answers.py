"""A prediction as a person and a program read it, from the command line or over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ml_platform.model_config import KindName
from ml_platform.numbers import number
from ml_platform.serving.client import Prediction
from ml_platform.serving.generations import Generation
from ml_platform.serving.records import PredictionRecord

_SCORES = (
    "positive",
    "probability",
    "threshold",
    "prediction",
    "low",
    "high",
    "unit",
    "predicted_class",
    "probabilities",
)
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))

EXAMPLE: dict[str, Any] = {
    "text": "2024-05-01/K7/1042: will be late (73.1 % probable), says model version 3, scored 14 hours ago.",
    "key": "2024-05-01/K7/1042",
    "decision": "will be late",
    "kind": "binary",
    "positive": True,
    "probability": 0.731,
    "threshold": 0.5,
    "model": {"key": "parcels/late", "version": 3, "digest": "9f2c…"},
    "event_time": "2024-05-01T15:30:00Z",
    "cutoff": "2024-05-01T02:00:00Z",
    "scored_at": "2024-05-01T02:00:00Z",
    "age_seconds": 50400.0,
    "age": "14 hours",
    "generation": {
        "id": "5d41402abc4b2a76",
        "served_partition": "2024-05-01",
        "as_of": "2024-05-01T02:00:00Z",
    },
    "segment_id": "b1946ac92492d234…",
    "revision": 1,
    "arm": "main",
}


class ModelInfo(BaseModel):
    """Which model said it."""

    key: str = Field(description="Use case and model.")
    version: int = Field(description="The champion's version in the ledger.")
    digest: str = Field(description="SHA-256 of the model bundle.")


class GenerationInfo(BaseModel):
    """Which generation of the cache was read."""

    id: str = Field(description="Content-derived id.")
    served_partition: str = Field(description="The newest partition in it.")
    as_of: AwareDatetime = Field(description="When it was made, on the use case's timeline.")

    @classmethod
    def of(cls, generation: Generation) -> GenerationInfo:
        """The part of a generation that an answer shows."""
        return cls(id=generation.id, served_partition=generation.served_partition, as_of=generation.as_of)


class PredictionAnswer(BaseModel):
    """One prediction."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    text: str = Field(description="All that matters, in one sentence.")
    key: str = Field(description="Partition and entity.")
    decision: str = Field(description="The decision in words.")
    kind: KindName = Field(description="Kind of target; it tells which of the next fields are there.")
    positive: bool | None = Field(
        default=None, description="Binary: whether the probability reaches the threshold."
    )
    probability: float | None = Field(
        default=None, description="Of the positive outcome, or of the likeliest class; 0 to 1."
    )
    threshold: float | None = Field(default=None, description="Binary: positive from here on.")
    prediction: float | None = Field(default=None, description="Regression: the expected number.")
    low: float | None = Field(
        default=None, description="Regression: the outcome lies above with a chance of nine in ten."
    )
    high: float | None = Field(
        default=None, description="Regression: the outcome lies below with a chance of nine in ten."
    )
    unit: str | None = Field(default=None, description="Regression: unit of the number.")
    predicted_class: str | None = Field(default=None, description="Multiclass: the likeliest class.")
    probabilities: dict[str, float] | None = Field(
        default=None, description="Multiclass: probability of each class."
    )
    model: ModelInfo
    event_time: AwareDatetime = Field(description="Instant of the event.")
    cutoff: AwareDatetime = Field(description="What was known later did not count.")
    scored_at: AwareDatetime = Field(description="When it was scored, on the use case's timeline.")
    age_seconds: float = Field(description="Since then, on the same timeline; negative when it lies ahead.")
    age: str = Field(description="The same in words.")
    generation: GenerationInfo
    segment_id: str = Field(description="The segment that it was read from.")
    revision: int = Field(description="Scoring revision of the partition.")
    arm: str = Field(description="Arm of an experiment.")


def answer(prediction: Prediction, now: datetime) -> PredictionAnswer:
    """What a reader of a prediction is told.

    Args:
        prediction: The prediction.
        now: Now on the use case's timeline.
    """
    record, age = prediction.record, prediction.age(now)
    return PredictionAnswer(
        text=sentence(prediction, now),
        key=record.key,
        decision=record.decision,
        kind=record.kind,
        **{name: getattr(record, name) for name in _SCORES},
        model=ModelInfo(key=record.model_key, version=record.model_version, digest=record.model_digest),
        event_time=record.event_time,
        cutoff=record.cutoff,
        scored_at=record.scored_at,
        age_seconds=age.total_seconds(),
        age=in_words(age),
        generation=GenerationInfo.of(prediction.generation),
        segment_id=prediction.segment_id,
        revision=record.revision,
        arm=record.arm,
    )


def sentence(prediction: Prediction, now: datetime) -> str:
    """A prediction in one sentence, with how sure it is of what it says."""
    record, age = prediction.record, prediction.age(now)
    if abs(age) < timedelta(seconds=1):
        ago = "just now"
    else:
        ago = f"{in_words(age)} ago" if age > timedelta(0) else f"{in_words(-age)} ahead of the clock"
    return (
        f"{record.key}: {record.decision} ({_SURE[record.kind](record)}), "
        f"says model version {record.model_version}, scored {ago}."
    )


def _binary(record: PredictionRecord) -> str:
    """How probable what is said is; where it is the less probable of the two, from where on it is said."""
    probability = record.probability or 0.0
    chance = probability if record.positive else 1 - probability
    told = f"{100 * chance:.1f} % probable"
    if chance >= 0.5 or record.threshold is None:
        return told
    bound = record.threshold if record.positive else 1 - record.threshold
    return f"only {told}, but said from {100 * bound:g} % on"


def _multiclass(record: PredictionRecord) -> str:
    return f"{100 * (record.probability or 0.0):.1f} % probable"


def _regression(record: PredictionRecord) -> str:
    unit = f" {record.unit}" if record.unit else ""
    told = f"{number(record.prediction, 4)}{unit}"
    if record.low is None or record.high is None:
        return told
    span = f"in four cases of five between {number(record.low, 4)} and {number(record.high, 4)}"
    # Without words of its own the decision is the number.
    return span if record.decision.endswith(told) else f"{told}, {span}"


_SURE: Mapping[KindName, Callable[[PredictionRecord], str]] = {
    "binary": _binary,
    "regression": _regression,
    "multiclass": _multiclass,
}


def in_words(age: timedelta) -> str:
    """A span of time, rounded down to its largest unit: ``3 hours``."""
    seconds = int(abs(age).total_seconds())
    sign = "-" if age < timedelta(0) and seconds else ""
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{sign}{count} {unit}{'' if count == 1 else 's'}"
    return "0 seconds"


def in_full(span: timedelta) -> str:
    """A span of time in all its units: ``1 day 12 hours``."""
    left, told = int(span.total_seconds()), []
    for size, _ in _UNITS:
        if left >= size:
            told.append(in_words(timedelta(seconds=left)))
            left %= size
    return " ".join(told) or in_words(span)
