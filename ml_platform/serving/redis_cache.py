"""A serving cache in Redis: a hash per segment, manifests in a hash per model, a string as pointer.

A segment is written under a name of its own and renamed when it is whole. Publishing is one MULTI that
watches the segments it lists, and pruning one that watches the counter which publishing moves, so that
neither can undo what the other relies on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ml_platform.errors import ConfigError, ConflictError, StoreError
from ml_platform.serving.cache import Health, Pair, Pruned, ServingCache, chunks
from ml_platform.serving.generations import Generation, droppable, parse_generation

USER_VARIABLE = "ML_PLATFORM_REDIS_USERNAME"
PASSWORD_VARIABLE = "ML_PLATFORM_REDIS_PASSWORD"

_ROWS = b""
"""The field that holds a segment's row count. It lies in the hash itself, so that both are evicted or kept
together; no prediction has an empty key."""

_CHUNK = 1000
_LEFTOVER_SECONDS = 3600
_ATTEMPTS = 20
_Result = TypeVar("_Result")


class RedisCache(ServingCache):
    """A cache in one Redis database.

    Args:
        client: A client that returns bytes.
        where: Its address, for messages.
        prefix: First part of all its keys.
    """

    def __init__(self, client: redis.Redis, where: str, prefix: str = "ml_platform") -> None:
        self._redis, self.where, self._prefix = client, where, prefix

    @classmethod
    def open(cls, url: str) -> Self:
        """The cache of a ``redis://host:port/db?prefix=…`` (``rediss`` for TLS).

        User and password come from ML_PLATFORM_REDIS_USERNAME and ML_PLATFORM_REDIS_PASSWORD.
        """
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        database = parts.path.strip("/") or "0"
        try:
            port = parts.port or 6379
        except ValueError:
            port = 0
        if "@" in parts.netloc:
            raise _malformed(
                "the address holds a user or password", "set them in the environment: " + PASSWORD_VARIABLE
            )
        if not (parts.hostname and port and database.isdecimal()) or options.keys() - {"prefix"}:
            raise _malformed(f"'{url}' is no address of a Redis database", "use redis://127.0.0.1:6379/0")
        client = redis.Redis(
            host=parts.hostname,
            port=port,
            db=int(database),
            username=os.environ.get(USER_VARIABLE),
            password=os.environ.get(PASSWORD_VARIABLE),
            ssl=parts.scheme == "rediss",
            socket_timeout=10,
            socket_connect_timeout=2,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        )
        where = f"{parts.scheme}://{parts.hostname}:{port}/{database}"
        return cls(client, where, options.get("prefix", ["ml_platform"])[0])

    def write_segment(self, segment_id: str, items: Iterable[tuple[str, bytes]]) -> int:
        """See :class:`ServingCache`; what a kill leaves aside expires."""
        aside = self._name("writing", f"{segment_id}:{uuid4().hex}")
        rows = 0
        with self._errors():
            for chunk in chunks(items, _CHUNK):
                pipe = self._redis.pipeline(transaction=False)
                pipe.hset(aside, mapping=dict(chunk))
                pipe.expire(aside, _LEFTOVER_SECONDS)
                pipe.execute()
                rows += len(chunk)
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(aside, _ROWS, rows)
            pipe.persist(aside)
            pipe.rename(aside, self._segment(segment_id))
            pipe.execute()
        return rows

    def segment_rows(self, segment_id: str) -> int | None:
        """See :class:`ServingCache`."""
        with self._errors():
            return _number(self._redis.hget(self._segment(segment_id), _ROWS))

    def count(self, segment_id: str) -> int:
        """See :class:`ServingCache`."""
        with self._errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hlen(self._segment(segment_id))
            pipe.hexists(self._segment(segment_id), _ROWS)
            fields, header = pipe.execute()
        return int(fields) - int(header)

    def read(self, pairs: Sequence[Pair]) -> list[bytes | None]:
        """See :class:`ServingCache`; one round trip."""
        by_segment: dict[str, list[str]] = {}
        for segment_id, key in pairs:
            by_segment.setdefault(segment_id, []).append(key)
        with self._errors():
            pipe = self._redis.pipeline(transaction=False)
            for segment_id, keys in by_segment.items():
                pipe.hmget(self._segment(segment_id), keys)
            answers = pipe.execute() if by_segment else []
        found = {
            (segment_id, key): value
            for (segment_id, keys), values in zip(by_segment.items(), answers, strict=True)
            for key, value in zip(keys, values, strict=True)
        }
        return [found[pair] if pair[1] else None for pair in pairs]

    def neighbours(self, segment_id: str, key: str, limit: int = 3) -> list[str]:
        """See :class:`ServingCache`; looks at about a thousand keys."""
        with self._errors():
            _, page = self._redis.hscan(self._segment(segment_id), count=_CHUNK)
        names = sorted(name.decode() for name in page if name != _ROWS)
        after = [name for name in names if name >= key]
        return (after or names)[:limit]

    def publish(self, model_key: str, generation: Generation) -> None:
        """See :class:`ServingCache`."""

        def change(pipe: Any) -> None:
            for segment in generation.segments:
                rows = _number(pipe.hget(self._segment(segment.segment_id), _ROWS))
                if rows != segment.rows:
                    raise self._gone(segment.segment_id, f"has {rows or 0} of {segment.rows} rows")
            pipe.multi()
            pipe.hset(self._manifests(model_key), generation.id, generation.to_json())
            pipe.sadd(self._name("models"), model_key)
            pipe.incr(self._name("changes"))
            pipe.set(self._pointer(model_key), generation.id)

        self._transaction(change, [self._segment(s.segment_id) for s in generation.segments])

    def current(self, model_key: str) -> str | None:
        """See :class:`ServingCache`."""
        with self._errors():
            raw: bytes | None = self._redis.get(self._pointer(model_key))
        return None if raw is None else raw.decode()

    def manifest(self, model_key: str, generation_id: str) -> bytes | None:
        """See :class:`ServingCache`."""
        with self._errors():
            raw: bytes | None = self._redis.hget(self._manifests(model_key), generation_id)
        return raw

    def manifests(self, model_key: str) -> dict[str, bytes]:
        """See :class:`ServingCache`."""
        with self._errors():
            stored = self._redis.hgetall(self._manifests(model_key))
        return {name.decode(): value for name, value in stored.items()}

    def prune(self, model_key: str, keep: Collection[str]) -> Pruned:
        """See :class:`ServingCache`."""

        def change(pipe: Any) -> Pruned:
            kept = {*keep, (pipe.get(self._pointer(model_key)) or b"").decode()}
            doomed, segments = droppable(self._generations(pipe), model_key, kept)
            pipe.multi()
            if doomed:
                pipe.hdel(self._manifests(model_key), *(g.id for g in doomed))
            if segments:
                pipe.unlink(*map(self._segment, segments))
            return Pruned(tuple(g.id for g in doomed), tuple(segments))

        return self._transaction(change, [self._name("changes")])

    def sweep(self, keep: Collection[str] = ()) -> int:
        """See :class:`ServingCache`."""

        def change(pipe: Any) -> int:
            stored = self._generations(pipe).values()
            used = {s.segment_id for generations in stored for g in generations for s in g.segments}
            kept = {self._segment(segment_id).encode() for segment_id in used | set(keep)}
            orphans = set(self._redis.scan_iter(self._segment("*"), count=_CHUNK)) - kept
            orphans |= set(self._redis.scan_iter(self._name("writing", "*"), count=_CHUNK))
            pipe.multi()
            if orphans:
                pipe.unlink(*orphans)
            return len(orphans)

        return self._transaction(change, [self._name("changes")])

    def health(self) -> Health:
        """See :class:`ServingCache`."""
        with self._errors():
            used = self._redis.info("memory")["used_memory"]
        return Health("redis", self.where, {"bytes": int(used)})

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _transaction(self, change: Callable[[Any], _Result], watched: Iterable[str]) -> _Result:
        names = list(watched)
        with self._errors(), self._redis.pipeline(transaction=True) as pipe:
            for _ in range(_ATTEMPTS):
                try:
                    pipe.watch(*names)
                    result = change(pipe)
                    pipe.execute()
                except redis.WatchError:
                    continue
                return result
        raise ConflictError("others keep changing the serving cache", where=self.where, fix="try again")

    def _generations(self, pipe: Any) -> dict[str, list[Generation]]:
        models = [name.decode() for name in pipe.smembers(self._name("models"))]
        return {
            model_key: [
                parse_generation(raw, f"{self.where}, {model_key}")
                for raw in pipe.hvals(self._manifests(model_key))
            ]
            for model_key in models
        }

    def _name(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))

    def _segment(self, segment_id: str) -> str:
        return self._name("segment", segment_id)

    def _manifests(self, model_key: str) -> str:
        return self._name("generations", model_key)

    def _pointer(self, model_key: str) -> str:
        return self._name("current", model_key)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreError(
                f"the serving cache cannot be used: {error}",
                where=self.where,
                fix=f"check that Redis runs there and has memory left, and {PASSWORD_VARIABLE}",
            ) from error


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)


def _malformed(what: str, fix: str) -> ConfigError:
    return ConfigError(what, where="ML_PLATFORM_CACHE", fix=fix)
