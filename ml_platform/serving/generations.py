"""Generations of a serving cache: immutable lists of day segments, and which comes next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from ml_platform.errors import ConflictError, IntegrityError, NotReadyError
from ml_platform.strict import Strict

REPAIR = "run `ml-platform doctor`, which writes it again from the lake"


class Segment(Strict):
    """One partition's predictions, immutable."""

    partition_key: str = Field(description="Partition of event time, an ISO date.")
    segment_id: str = Field(min_length=1, description="Content-derived; see records.segment_id.")
    rows: int = Field(ge=0, description="Predictions in it.")


class Generation(Strict):
    """What a model serves: segments, oldest partition first.

    Its id is derived from its content, so that equal content is one generation, and a manifest that was
    altered does not match its own id.
    """

    schema_version: Literal[1] = 1
    id: str
    model_key: str
    model_digest: str = Field(description="SHA-256 of the champion's bundle when it was made.")
    segments: tuple[Segment, ...] = Field(min_length=1)
    as_of: AwareDatetime = Field(description="When it was made, on the use case's timeline.")

    @classmethod
    def of(cls, model_key: str, model_digest: str, segments: Iterable[Segment], as_of: datetime) -> Self:
        """The generation of these segments, in any order."""
        ordered = tuple(sorted(segments, key=lambda s: s.partition_key))
        return cls(
            id=_content_id(model_key, model_digest, ordered),
            model_key=model_key,
            model_digest=model_digest,
            segments=ordered,
            as_of=as_of,
        )

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        partitions = [s.partition_key for s in self.segments]
        if partitions != sorted(set(partitions)):
            raise ValueError("partitions must be unique and in order")
        if self.id != _content_id(self.model_key, self.model_digest, self.segments):
            raise ValueError("the id does not match the content")
        return self

    @property
    def served_partition(self) -> str:
        """The newest partition in it."""
        return self.segments[-1].partition_key

    @property
    def rows(self) -> int:
        """Predictions in all its segments."""
        return sum(s.rows for s in self.segments)

    @cached_property
    def by_partition(self) -> Mapping[str, Segment]:
        """Its segments by partition key."""
        return {s.partition_key: s for s in self.segments}

    def to_json(self) -> str:
        """The manifest as it stands in a cache."""
        return self.model_dump_json()


def next_generation(
    current: Generation | None,
    new: Iterable[Segment],
    *,
    model_key: str,
    model_digest: str,
    as_of: datetime,
    keep_segments: int,
) -> Generation:
    """The generation after ``current`` with new segments in it.

    A segment of a partition that is served already replaces that one; a partition older than the window
    is left out. The served partition never moves backwards.

    Args:
        current: The generation in force, if any.
        new: Segments to bring in.
        model_key: The model.
        model_digest: SHA-256 of the champion's bundle.
        as_of: Now, on the use case's timeline.
        keep_segments: Newest partitions that are served.

    Returns:
        ``current`` itself where nothing changes.

    Raises:
        ConflictError: ``current`` belongs to another model.
        NotReadyError: There is nothing to serve.
    """
    if current is not None and current.model_key != model_key:
        raise ConflictError(
            f"generation {current.id} belongs to {current.model_key}", where=model_key, fix="pass its own"
        )
    merged = dict(current.by_partition) if current else {}
    merged |= {segment.partition_key: segment for segment in new}
    newest = sorted(merged)[-keep_segments:]
    if not newest:
        raise NotReadyError("there is no segment to serve", where=model_key, fix="score a partition first")
    planned = Generation.of(model_key, model_digest, (merged[key] for key in newest), as_of)
    return current if current is not None and current.id == planned.id else planned


def droppable(
    generations: Mapping[str, Iterable[Generation]], model_key: str, keep: Collection[str]
) -> tuple[list[Generation], list[str]]:
    """What a prune may drop.

    Args:
        generations: All stored generations, by model.
        model_key: The model to prune.
        keep: Ids of its generations to keep.

    Returns:
        Its other generations, and the ids of segments that only these list.
    """
    doomed = [g for g in generations.get(model_key, ()) if g.id not in keep]
    gone = {(g.model_key, g.id) for g in doomed}
    left = (g for stored in generations.values() for g in stored if (g.model_key, g.id) not in gone)
    used = {s.segment_id for g in left for s in g.segments}
    return doomed, sorted({s.segment_id for g in doomed for s in g.segments} - used)


@lru_cache(maxsize=256)
def parse_generation(raw: bytes, where: str) -> Generation:
    """The generation in a manifest's bytes.

    Raises:
        IntegrityError: The bytes are no manifest, or do not match its id.
    """
    try:
        return Generation.model_validate_json(raw)
    except ValidationError as error:
        raise IntegrityError(
            f"a generation's manifest is corrupt: {error.errors()[0]['msg']}", where=where, fix=REPAIR
        ) from error


def _content_id(model_key: str, model_digest: str, segments: Sequence[Segment]) -> str:
    facts = [1, model_key, model_digest, [[s.partition_key, s.segment_id, s.rows] for s in segments]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
