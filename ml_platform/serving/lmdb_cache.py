"""The default serving cache: LMDB in a local folder, read in microseconds by any number of processes.

Keys: ``s/<segment>/<key>`` a prediction, ``h/<segment>`` a segment's row count, ``g/<model>/<id>`` a
generation, ``p/<model>`` the pointer. Every change is one write transaction, so a kill leaves the state
before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import lmdb

from ml_platform.errors import ConfigError, IntegrityError, StoreError
from ml_platform.serving.cache import Health, Pair, Pruned, ServingCache, short_key
from ml_platform.serving.generations import Generation, droppable, parse_generation
from ml_platform.serving.lmdb_environment import DATA_FILE, environment_of

_CORRUPT = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
)
_MOST_KEY_BYTES = 400
_Result = TypeVar("_Result")


class LmdbCache(ServingCache):
    """A cache in a folder.

    Args:
        path: The folder; made at the first write.
        readonly: Refuse to write, and need the right to write the lock file only.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path, self.readonly = path.resolve(), readonly
        self.where = f"lmdb://{self.path}"

    @classmethod
    def open(cls, url: str, *, readonly: bool = False) -> Self:
        """The cache of an ``lmdb:///absolute/path``."""
        # Taken as it stands: a folder's name may hold any character.
        path = Path(url.removeprefix("lmdb://"))
        if not path.is_absolute():
            raise ConfigError(
                f"'{url}' is no address of an LMDB folder",
                where="ML_PLATFORM_CACHE",
                fix="use lmdb:///absolute/path",
            )
        return cls(path, readonly=readonly)

    def write_segment(self, segment_id: str, items: Iterable[tuple[str, bytes]]) -> int:
        """One transaction: a kill in the middle leaves nothing of it."""
        rows = sorted((_row(segment_id, key), value) for key, value in items)

        def write(txn: Any) -> int:
            _delete_prefix(txn, _rows_prefix(segment_id))
            txn.cursor().putmulti(rows)
            txn.put(_header(segment_id), b"%d" % len(rows))
            return len(rows)

        return self._write(write)

    def segment_rows(self, segment_id: str) -> int | None:
        """See :class:`ServingCache`."""
        return self._read(lambda txn: _segment_rows(txn, segment_id), None)

    def count(self, segment_id: str) -> int:
        """See :class:`ServingCache`."""
        return self._read(lambda txn: sum(1 for _ in _scan(txn, _rows_prefix(segment_id))), 0)

    def read(self, pairs: Sequence[Pair]) -> list[bytes | None]:
        """See :class:`ServingCache`."""
        names = [_row(segment_id, key) for segment_id, key in pairs]
        return self._read(lambda txn: [txn.get(name) for name in names], [None] * len(names))

    def neighbours(self, segment_id: str, key: str, limit: int = 3) -> list[str]:
        """See :class:`ServingCache`."""
        return self._read(lambda txn: _neighbours(txn, segment_id, key, limit), [])

    def publish(self, model_key: str, generation: Generation) -> None:
        """See :class:`ServingCache`."""

        def write(txn: Any) -> None:
            for segment in generation.segments:
                rows = _segment_rows(txn, segment.segment_id)
                if rows != segment.rows:
                    raise self._gone(segment.segment_id, f"has {rows or 0} of {segment.rows} rows")
            txn.put(_manifest(model_key, generation.id), generation.to_json().encode())
            txn.put(_pointer(model_key), generation.id.encode())

        self._write(write)

    def current(self, model_key: str) -> str | None:
        """See :class:`ServingCache`."""
        raw = self._get(_pointer(model_key))
        return None if raw is None else raw.decode()

    def manifest(self, model_key: str, generation_id: str) -> bytes | None:
        """See :class:`ServingCache`."""
        return self._get(_manifest(model_key, generation_id))

    def manifests(self, model_key: str) -> dict[str, bytes]:
        """See :class:`ServingCache`."""
        prefix = _manifest(model_key, "")
        return self._read(
            lambda txn: {k[len(prefix) :].decode(): bytes(v) for k, v in _scan(txn, prefix)}, {}
        )

    def prune(self, model_key: str, keep: Collection[str]) -> Pruned:
        """See :class:`ServingCache`."""

        def write(txn: Any) -> Pruned:
            kept = {*keep, (txn.get(_pointer(model_key)) or b"").decode()}
            doomed, segments = droppable(self._generations(txn), model_key, kept)
            for generation in doomed:
                txn.delete(_manifest(model_key, generation.id))
            for segment_id in segments:
                _delete_segment(txn, segment_id)
            return Pruned(tuple(g.id for g in doomed), tuple(segments))

        return self._write(write)

    def sweep(self, keep: Collection[str] = ()) -> int:
        """See :class:`ServingCache`."""

        def write(txn: Any) -> int:
            stored = self._generations(txn).values()
            used = {s.segment_id for generations in stored for g in generations for s in g.segments}
            orphans = {key[2:].decode() for key, _ in _scan(txn, b"h/")} - used - set(keep)
            for segment_id in orphans:
                _delete_segment(txn, segment_id)
            return len(orphans)

        return self._write(write)

    def health(self) -> Health:
        """See :class:`ServingCache`."""
        details: dict[str, int | str] = {"entries": self._read(lambda txn: txn.stat()["entries"], 0)}
        data = self.path / DATA_FILE
        with self._errors():
            details["bytes"] = data.stat().st_size if data.exists() else 0
        return Health("lmdb", self.where, details)

    def close(self) -> None:
        """Close the folder for the whole process; it opens again at the next use."""
        environment_of(self.path).close()

    def _get(self, name: bytes) -> bytes | None:
        found: bytes | None = self._read(lambda txn: txn.get(name), None)
        return found

    def _read(self, action: Callable[[Any], _Result], empty: _Result) -> _Result:
        with self._errors():
            return environment_of(self.path).read(action, empty)

    def _write(self, action: Callable[[Any], _Result]) -> _Result:
        if self.readonly:
            raise StoreError(
                "the serving cache was opened for reading only",
                where=self.where,
                fix="open it without readonly",
            )
        with self._errors():
            return environment_of(self.path).write(action)

    def _generations(self, txn: Any) -> dict[str, list[Generation]]:
        found: dict[str, list[Generation]] = {}
        for _, raw in _scan(txn, b"g/"):
            generation = parse_generation(bytes(raw), self.where)
            found.setdefault(generation.model_key, []).append(generation)
        return found

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _CORRUPT as error:
            raise IntegrityError(
                f"the serving cache is corrupt: {error}",
                where=self.where,
                fix="move the folder away and run `ml-platform doctor`, which fills a new one from the lake",
            ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                f"the serving cache cannot be used: {error}",
                where=self.where,
                fix="check that the folder exists, its disk has room, and you may read and write it",
            ) from error


def _rows_prefix(segment_id: str) -> bytes:
    return f"s/{segment_id}/".encode()


def _row(segment_id: str, key: str) -> bytes:
    return _rows_prefix(segment_id) + short_key(key, _MOST_KEY_BYTES)


def _header(segment_id: str) -> bytes:
    return f"h/{segment_id}".encode()


def _manifest(model_key: str, generation_id: str) -> bytes:
    return f"g/{model_key}/{generation_id}".encode()


def _pointer(model_key: str) -> bytes:
    return f"p/{model_key}".encode()


def _segment_rows(txn: Any, segment_id: str) -> int | None:
    raw = txn.get(_header(segment_id))
    return None if raw is None else int(raw)


def _scan(txn: Any, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    cursor = txn.cursor()
    if not cursor.set_range(start or prefix):
        return
    for key, value in cursor:
        if not key.startswith(prefix):
            return
        yield key, value


def _delete_prefix(txn: Any, prefix: bytes) -> None:
    for key in [key for key, _ in _scan(txn, prefix)]:
        txn.delete(key)


def _delete_segment(txn: Any, segment_id: str) -> None:
    txn.delete(_header(segment_id))
    _delete_prefix(txn, _rows_prefix(segment_id))


def _neighbours(txn: Any, segment_id: str, key: str, limit: int) -> list[str]:
    prefix = _rows_prefix(segment_id)
    for start in (_row(segment_id, key), prefix):
        found = [name[len(prefix) :].decode() for name, _ in islice(_scan(txn, prefix, start), limit)]
        if found:
            return [name for name in found if not name.startswith("#")]
    return []
