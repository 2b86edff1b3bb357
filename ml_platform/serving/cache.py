"""Serving caches: immutable day segments, and generations that list them.

A segment is written aside and counted; a generation is published only when all its segments are there;
then one pointer moves. A reader reads the pointer once and takes everything from that generation, so that
it never waits and never sees half of one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from ml_platform.errors import ConfigError, IntegrityError, NotFoundError, NotReadyError
from ml_platform.serving.generations import REPAIR, Generation, Segment, parse_generation

_ATTEMPTS = 3
_Item = TypeVar("_Item")
Pair = tuple[str, str]
"""A segment's id and a key in it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A key's bytes, and where they were found."""

    key: str
    value: bytes
    segment: Segment


@dataclass(frozen=True, slots=True)
class Pruned:
    """Ids of what :meth:`ServingCache.prune` dropped."""

    generations: tuple[str, ...]
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """A store that answers.

    Attributes:
        store: Kind of store.
        where: Its address, without secrets.
        details: Numbers worth a look, such as bytes used.
    """

    store: str
    where: str
    details: dict[str, int | str] = field(default_factory=dict)


class SegmentGoneError(IntegrityError):
    """A generation names a segment that the cache does not hold (any more)."""


class ServingCache(ABC):
    """A store of segments and generations. Every method may raise StoreError when the store is down."""

    where: str

    # --- what a store does --------------------------------------------------------------------

    @abstractmethod
    def write_segment(self, segment_id: str, items: Iterable[tuple[str, bytes]]) -> int:
        """Write a segment aside, replacing what a crash or decay left of it; returns the rows written.

        The segment counts as there only when all items are written.
        """

    @abstractmethod
    def segment_rows(self, segment_id: str) -> int | None:
        """Rows that a complete segment was written with; None when it is missing or half-written."""

    @abstractmethod
    def count(self, segment_id: str) -> int:
        """Rows of a segment that are there, counted."""

    @abstractmethod
    def read(self, pairs: Sequence[Pair]) -> list[bytes | None]:
        """The values of keys in segments, in order; None where there is none."""

    @abstractmethod
    def neighbours(self, segment_id: str, key: str, limit: int = 3) -> list[str]:
        """Some keys of a segment near a key, to help a reader who mistyped."""

    @abstractmethod
    def publish(self, model_key: str, generation: Generation) -> None:
        """Store a generation and move the model's pointer to it, in one step.

        An earlier generation may be published again: that is a rollback.

        Raises:
            SegmentGoneError: A segment is missing, half-written or of another size; nothing changed.
        """

    @abstractmethod
    def current(self, model_key: str) -> str | None:
        """Id of the published generation."""

    @abstractmethod
    def manifests(self, model_key: str) -> dict[str, bytes]:
        """The stored generations by id, as :meth:`Generation.to_json` wrote them."""

    @abstractmethod
    def manifest(self, model_key: str, generation_id: str) -> bytes | None:
        """One stored generation."""

    @abstractmethod
    def prune(self, model_key: str, keep: Collection[str]) -> Pruned:
        """Drop the model's generations but the published one and those to keep.

        Their segments go where no generation of any model lists them. Do not write a model's segments at
        the same time: one that is dropped while it is written again has to be written once more.
        """

    @abstractmethod
    def sweep(self, keep: Collection[str] = ()) -> int:
        """Drop segments that no stored generation lists, but for those to keep; returns how many.

        For the doctor, while nothing else writes: a segment written aside looks like a leftover.
        """

    @abstractmethod
    def health(self) -> Health:
        """Ask the store whether it answers."""

    def close(self) -> None:  # noqa: B027 — most stores have nothing to close
        """Let go of connections and files."""

    # --- what all stores share ----------------------------------------------------------------

    def verify_segment(self, segment_id: str, count: int, sample: Iterable[tuple[str, bytes]] = ()) -> None:
        """Count a segment and read items back.

        Args:
            segment_id: The segment.
            count: Rows that it must have.
            sample: Items whose stored bytes must be equal.

        Raises:
            IntegrityError: It is missing, half-written, of another size, or an item differs.
        """
        promised, found = self.segment_rows(segment_id), self.count(segment_id)
        if promised != count or found != count:
            raise self._gone(segment_id, f"has {found} of {count} rows")
        expected = list(sample)
        stored = self.read([(segment_id, key) for key, _ in expected])
        for (key, value), there in zip(expected, stored, strict=True):
            if there != value:
                what = "is missing" if there is None else "differs from what was written"
                raise IntegrityError(f"'{key}' {what}", where=self._place(segment_id), fix=REPAIR)

    def generation(self, model_key: str, generation_id: str) -> Generation:
        """A stored generation.

        Raises:
            NotFoundError: There is none with this id.
            IntegrityError: Its manifest is corrupt.
        """
        raw = self.manifest(model_key, generation_id)
        if raw is None:
            known = ", ".join(self.manifests(model_key)) or "none"
            raise NotFoundError(
                f"generation {generation_id} of {model_key} is not in the cache",
                where=self.where,
                fix=f"choose one that is ({known}), or run `ml-platform doctor` to write it again",
            )
        return parse_generation(raw, f"{self.where}, {model_key}, generation {generation_id}")

    def published(self, model_key: str) -> Generation:
        """The published generation.

        Raises:
            NotReadyError: None is published yet.
        """
        for _ in range(_ATTEMPTS):
            generation_id = self.current(model_key)
            if generation_id is None:
                raise nothing_published(model_key, self.where)
            raw = self.manifest(model_key, generation_id)
            # None: another generation was published, and this one pruned, between the two reads.
            if raw is not None:
                return parse_generation(raw, f"{self.where}, {model_key}, generation {generation_id}")
        raise IntegrityError(
            f"the pointer of {model_key} names a generation that is not there", where=self.where, fix=REPAIR
        )

    def get(self, model_key: str, key: str) -> Hit | None:
        """One key of the published generation."""
        return self.get_many(model_key, [key])[1][0]

    def get_many(
        self, model_key: str, keys: Sequence[str], find: Callable[[], Generation] | None = None
    ) -> tuple[Generation, list[Hit | None]]:
        """Several keys, all from one generation.

        A key is ``<partition>/<entity>``, or ``<entity>`` alone for its newest prediction.

        Args:
            model_key: The model.
            keys: The keys, in any order.
            find: Says which generation to read; called again when that has been pruned meanwhile.
                The published one by default.

        Raises:
            NotReadyError: None is published yet.
            SegmentGoneError: A segment of the generation is missing.
        """
        find = find or (lambda: self.published(model_key))
        for _ in range(_ATTEMPTS - 1):
            generation = find()
            try:
                return generation, self.lookup(generation, keys)
            except SegmentGoneError:
                continue
        generation = find()
        return generation, self.lookup(generation, keys)

    def lookup(self, generation: Generation, keys: Sequence[str]) -> list[Hit | None]:
        """Keys in one generation, in order; None where it has none.

        Raises:
            SegmentGoneError: A key was not found, and a segment where it could have been is missing.
        """
        hits: list[Hit | None] = [None] * len(keys)
        choices = [_candidates(generation, key) for key in keys]
        asked: dict[str, Segment] = {}
        for depth in range(max(map(len, choices), default=0)):
            open_ = [i for i, c in enumerate(choices) if hits[i] is None and depth < len(c)]
            tried = [choices[i][depth] for i in open_]
            asked |= {segment.segment_id: segment for segment, _ in tried}
            values = self.read([(segment.segment_id, key) for segment, key in tried])
            for i, (segment, key), value in zip(open_, tried, values, strict=True):
                hits[i] = None if value is None else Hit(key, value, segment)
        if None in hits:
            self._require(asked.values())
        return hits

    def _require(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            if (rows := self.segment_rows(segment.segment_id)) != segment.rows:
                raise self._gone(segment.segment_id, f"has {rows or 0} of {segment.rows} rows")

    def _gone(self, segment_id: str, how: str) -> SegmentGoneError:
        return SegmentGoneError(f"a cache segment {how}", where=self._place(segment_id), fix=REPAIR)

    def _place(self, segment_id: str) -> str:
        return f"{self.where}, segment {segment_id[:12]}"


def nothing_published(model_key: str, where: str) -> NotReadyError:
    """The error of a model that serves nothing yet."""
    return NotReadyError(
        f"{model_key} has no published generation yet",
        where=where,
        fix=f"`ml-platform run {model_key.split('/', maxsplit=1)[0]}` promotes a champion and scores; "
        "`ml-platform doctor` repairs a lost pointer",
    )


def open_cache(url: str, *, readonly: bool = False) -> ServingCache:
    """A serving cache by its address.

    Args:
        url: ``lmdb:///path``, ``redis://127.0.0.1:6379/0`` (``rediss`` for TLS), or
            ``dynamodb://table?region=…&endpoint=…&create=true``. Never with a password: credentials come
            from the environment.
        readonly: For readers: LMDB is opened without the right to write.

    Raises:
        ConfigError: The address is of no known kind, malformed, or holds a password.
    """
    kind = url.partition("://")[0]
    # Each store's library is imported only where it is used: boto3 alone costs .3 CPU-seconds.
    if kind == "lmdb":
        from ml_platform.serving.lmdb_cache import LmdbCache

        return LmdbCache.open(url, readonly=readonly)
    if kind in {"redis", "rediss"}:
        from ml_platform.serving.redis_cache import RedisCache

        return RedisCache.open(url)
    if kind == "dynamodb":
        from ml_platform.serving.dynamodb_cache import DynamoDbCache

        return DynamoDbCache.open(url)
    raise ConfigError(
        f"'{kind}' is no kind of serving cache",
        where="ML_PLATFORM_CACHE",
        fix="use lmdb:///path, redis://host:port/db or dynamodb://table?region=…",
    )


def short_key(key: str, limit: int) -> bytes:
    """A key as a store that limits its keys' bytes takes it: itself, or its SHA-256 where it is too long."""
    raw = key.encode()
    return raw if len(raw) <= limit else b"#" + hashlib.sha256(raw).hexdigest().encode()


def chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of at most ``size`` items, as they come."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _candidates(generation: Generation, key: str) -> list[tuple[Segment, str]]:
    partition_key = key.partition("/")[0]
    if (segment := generation.by_partition.get(partition_key)) is not None:
        return [(segment, key)]
    return [(s, f"{s.partition_key}/{key}") for s in reversed(generation.segments)]
