"""The serving cache: a generation of the ledger's, written aside, read back, then published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ml_platform.errors import ConflictError, IntegrityError
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry.promotions import require_champion
from ml_platform.serving.generations import Generation, Segment, next_generation
from ml_platform.serving.records import Scoring, encode_table, segment_id
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import ABANDONED, COMMITTED, REQUESTED, CacheGeneration, Publication

_SAMPLE = 25


@dataclass(frozen=True)
class CacheReport:
    """A generation and what it took.

    Attributes:
        generation: Its id.
        new: Whether it differs from the one before.
        served_partition: The newest partition it serves.
        segments: Partitions it holds.
        rows: Predictions it holds.
        written: Segments that had to be written.
        sample: One key with its decision, read back from the cache.
    """

    generation: str
    new: bool
    served_partition: str
    segments: int
    rows: int
    written: int
    sample: tuple[str, str]


def committed_generation(platform: Platform, model_key: str) -> CacheGeneration | None:
    """The ledger's generation in force."""
    query = (
        select(CacheGeneration)
        .where(CacheGeneration.model_key == model_key, CacheGeneration.status == COMMITTED)
        .order_by(CacheGeneration.seq.desc())
        .limit(1)
    )
    with platform.ledger.begin() as session:
        return session.scalars(query).first()


def as_generation(row: CacheGeneration) -> Generation:
    """A ledger row as the serving package's value."""
    return Generation(
        id=row.id,
        model_key=row.model_key,
        model_digest=row.model_digest,
        segments=tuple(Segment(**s) for s in row.segments),
        as_of=row.as_of,
    )


def refresh(platform: Platform, target: Target, as_of: datetime) -> CacheReport:
    """Bring the cache up to the newest published predictions.

    Raises:
        NoChampionError: There is nothing to serve.
        StoreError: The cache is down; what it served before it still serves.
    """
    promotion = require_champion(platform.ledger, target.key)
    row = committed_generation(platform, target.key)
    current = as_generation(row) if row else None
    heads = platform.ledger.heads(predictions_asset(target))
    newest = sorted(heads)[-target.model.serving.segments :]
    segments = {key: _segment(target, heads[key]) for key in newest}
    planned = next_generation(
        current,
        segments.values(),
        model_key=target.key,
        model_digest=promotion.model_digest,
        as_of=as_of,
        keep_segments=target.model.serving.segments,
    )
    written = write_segments(platform, target, planned)
    if planned is not current:
        seq = _request(platform, planned, promotion.id)
        _commit(platform, seq, expected=row.seq if row else None)
    project(platform, target, planned)
    return CacheReport(
        generation=planned.id,
        new=planned is not current,
        served_partition=planned.served_partition,
        segments=len(planned.segments),
        rows=planned.rows,
        written=written,
        sample=_read_back(platform, target, heads[planned.served_partition]),
    )


def project(platform: Platform, target: Target, generation: Generation) -> bool:
    """Point the cache at the ledger's generation and drop what is older than the kept ones.

    Returns:
        Whether the pointer had to move.
    """
    moved = platform.cache.current(target.key) != generation.id
    if moved:
        platform.cache.publish(target.key, generation)
    platform.cache.prune(target.key, _kept(platform, target))
    return moved


def plan_rollback(
    target: Target,
    current: Generation | None,
    prepared: Sequence[Publication],
    model_digest: str,
    as_of: datetime,
) -> Generation | None:
    """The generation that a restored champion stands behind; ``None`` where nothing was served."""
    if current is None:
        return None
    return next_generation(
        current,
        [_segment(target, p) for p in prepared],
        model_key=target.key,
        model_digest=model_digest,
        as_of=as_of,
        keep_segments=target.model.serving.segments,
    )


def write_segments(
    platform: Platform, target: Target, generation: Generation, prepared: Sequence[Publication] = ()
) -> int:
    """Write the generation's segments that the cache lacks, count them, and read some back.

    Args:
        platform: The stores.
        target: The model.
        generation: What is about to be served.
        prepared: Publications that are only requested yet (a rollback's).
    """
    heads = _publications(platform, target, generation)
    heads |= {_segment(target, p).segment_id: p for p in prepared}
    lacking = [s for s in generation.segments if platform.cache.segment_rows(s.segment_id) != s.rows]
    for segment in lacking:
        items = _items(platform, target, heads[segment.segment_id])
        platform.cache.write_segment(segment.segment_id, items)
        step = max(1, len(items) // _SAMPLE)
        platform.cache.verify_segment(segment.segment_id, segment.rows, items[::step])
    return len(lacking)


def mend_segments(platform: Platform, target: Target, generation: Generation, *, repair: bool = True) -> int:
    """Compare each prediction of the generation's segments with the lake's, for the doctor.

    Returns:
        How many segments were missing, incomplete or spoilt; they are written again if ``repair``.
    """
    heads, broken = _publications(platform, target, generation), 0
    for segment in generation.segments:
        items = _items(platform, target, heads[segment.segment_id])
        try:
            platform.cache.verify_segment(segment.segment_id, segment.rows, items)
        except IntegrityError:
            broken += 1
            if repair:
                platform.cache.write_segment(segment.segment_id, items)
    return broken


def record_in(session: Session, generation: Generation, promotion_id: int) -> None:
    """Add a committed generation inside a transaction of the caller's (a rollback's)."""
    row = _row(generation, promotion_id)
    row.status = COMMITTED
    session.add(row)


def _scoring(target: Target, publication: Publication) -> Scoring:
    return Scoring(
        model_key=target.key,
        model_version=publication.details["model_version"],
        model_digest=publication.details["model_digest"],
        as_of=publication.as_of,
        kind=target.kind,
        decision=target.model.serving.decision,
        revision=publication.details["revision"],
    )


def _segment(target: Target, publication: Publication) -> Segment:
    return Segment(
        partition_key=publication.partition,
        segment_id=segment_id(publication.digest, _scoring(target, publication)),
        rows=publication.rows,
    )


def _items(platform: Platform, target: Target, publication: Publication) -> list[tuple[str, bytes]]:
    """A partition's predictions as the cache holds them."""
    table = read_table(platform.lake.get(publication.digest))
    return encode_table(table, target.use_case.config.views.key, _scoring(target, publication))


def _publications(platform: Platform, target: Target, generation: Generation) -> dict[str, Publication]:
    """The publications behind a generation's segments, older revisions included."""
    partitions = [s.partition_key for s in generation.segments]
    query = select(Publication).where(
        Publication.asset == predictions_asset(target),
        Publication.partition.in_(partitions),
        Publication.status == COMMITTED,
    )
    with platform.ledger.begin() as session:
        rows: Sequence[Publication] = list(session.scalars(query))
    return {_segment(target, p).segment_id: p for p in rows}


def _request(platform: Platform, generation: Generation, promotion_id: int) -> int:
    with platform.ledger.begin() as session:
        row = _row(generation, promotion_id)
        session.add(row)
        session.flush()
        return row.seq


def _row(generation: Generation, promotion_id: int) -> CacheGeneration:
    return CacheGeneration(
        id=generation.id,
        model_key=generation.model_key,
        model_digest=generation.model_digest,
        status=REQUESTED,
        promotion_id=promotion_id,
        served_partition=generation.served_partition,
        segments=[s.model_dump() for s in generation.segments],
        as_of=generation.as_of,
        recorded_at=wall_now(),
    )


def _commit(platform: Platform, seq: int, expected: int | None) -> None:
    with platform.ledger.begin() as session:
        # Written before it is read: SQLite locks at the first write, and two runs must not both pass.
        session.execute(update(CacheGeneration).where(CacheGeneration.seq == seq).values(status=COMMITTED))
        row = session.get(CacheGeneration, seq)
        assert row is not None
        latest = session.scalars(
            select(CacheGeneration.seq)
            .where(CacheGeneration.model_key == row.model_key, CacheGeneration.status == COMMITTED)
            .where(CacheGeneration.seq != seq)
            .order_by(CacheGeneration.seq.desc())
            .limit(1)
        ).first()
        if latest == expected:
            return
        row.status = ABANDONED
    raise ConflictError(
        "another run has published a generation meanwhile", where="serving cache", fix="run it again"
    )


def _kept(platform: Platform, target: Target) -> set[str]:
    query = (
        select(CacheGeneration.id)
        .where(CacheGeneration.model_key == target.key, CacheGeneration.status == COMMITTED)
        .order_by(CacheGeneration.seq.desc())
    )
    kept: list[str] = []
    with platform.ledger.begin() as session:
        for generation_id in session.scalars(query):
            if generation_id not in kept:
                kept.append(generation_id)
    return set(kept[: target.model.serving.keep_generations])


def _read_back(platform: Platform, target: Target, publication: Publication) -> tuple[str, str]:
    from ml_platform.serving.client import PredictionClient

    table = read_table(platform.lake.get(publication.digest)).slice(0, 1)
    items = encode_table(table, target.use_case.config.views.key, _scoring(target, publication))
    key = items[0][0]
    return key, PredictionClient(platform.cache).get(target.key, key).record.decision
