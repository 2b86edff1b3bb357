"""The one LMDB environment that a process may have per folder, shared by its threads."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import lmdb

FIRST_MAP_BYTES = 1 << 30
"""Address space, not disk; it doubles when it is full."""

DATA_FILE = "data.mdb"
_READERS = 512
_Result = TypeVar("_Result")


class LmdbEnvironment:
    """One folder's LMDB environment, of which a process may open only one.

    Transactions share it; growing, reopening and closing it wait until no transaction is open, because
    these would pull the map from under one.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._data = path, str(path / DATA_FILE)
        self._env: Any = None
        self._writable = False
        self._inode: int | None = None
        self._gate = threading.Condition()
        self._users = 0
        self._waiting = 0

    def read(self, action: Callable[[Any], _Result], empty: _Result) -> _Result:
        """Run a reading transaction; without a data file the result is ``empty``."""
        while not self._enter(write=False):
            if self._file() is None:
                return empty
            self._make_fit(write=False)
        return self._run(action, lambda: self.read(action, empty), write=False)

    def write(self, action: Callable[[Any], _Result]) -> _Result:
        """Run a writing transaction."""
        while not self._enter(write=True):
            self._make_fit(write=True)
        return self._run(action, lambda: self.write(action), write=True)

    def _run(self, action: Callable[[Any], _Result], again: Callable[[], _Result], *, write: bool) -> _Result:
        """Run one transaction, again with more room where the map is full or was grown elsewhere."""
        try:
            with self._env.begin(write=write) as txn:
                return action(txn)
        except lmdb.MapFullError:
            size = self._env.info()["map_size"] * 2
        except lmdb.MapResizedError:
            size = 0  # LMDB's word for the size that the other process chose.
        finally:
            self._leave()
        with self._alone():
            if self._env is not None:
                self._env.set_mapsize(size)
        return again()

    def close(self) -> None:
        """Close the files."""
        with self._alone():
            self._close()

    def leave_to_parent(self) -> None:
        """In a forked child: close the inherited handle, but not under another thread's transaction."""
        if not self._users:
            self._close()

    def _enter(self, *, write: bool) -> bool:
        with self._gate:
            while self._waiting:
                self._gate.wait()
            if not self._fits(write):
                return False
            self._users += 1
            return True

    def _leave(self) -> None:
        with self._gate:
            self._users -= 1
            if self._waiting:
                self._gate.notify_all()

    def _make_fit(self, *, write: bool) -> None:
        with self._alone():
            if not self._fits(write):
                self._open(write)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._gate:
            self._waiting += 1
            try:
                self._gate.wait_for(lambda: not self._users)
                yield
            finally:
                self._waiting -= 1
                self._gate.notify_all()

    def _fits(self, write: bool) -> bool:
        # The folder may have been removed and made again by another process since it was opened.
        return self._env is not None and (self._writable or not write) and self._inode == self._file()

    def _open(self, write: bool) -> None:
        self._close()
        if write:
            self._path.mkdir(parents=True, exist_ok=True)
        self._env = lmdb.open(
            str(self._path), map_size=FIRST_MAP_BYTES, readonly=not write, max_readers=_READERS, create=write
        )
        self._writable, self._inode = write, self._file()
        if write:
            # Slots of readers that were killed keep old pages from being used again.
            self._env.reader_check()

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _file(self) -> int | None:
        try:
            return os.stat(self._data).st_ino  # noqa: PTH116 — a pathlib stat costs five times more
        except FileNotFoundError:
            return None


class _Registry:
    """The process's environments by folder."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._environments: dict[Path, LmdbEnvironment] = {}

    def get(self, path: Path) -> LmdbEnvironment:
        """The environment of a folder."""
        with self._lock:
            if path not in self._environments:
                self._environments[path] = LmdbEnvironment(path)
            return self._environments[path]

    def leave_to_parent(self) -> None:
        """In a forked child: close the parent's environments, which the child may not use."""
        for environment in self._environments.values():
            environment.leave_to_parent()
        # The parent's lock may have been held at the moment of the fork.
        self._lock, self._environments = threading.Lock(), {}


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.leave_to_parent)


def environment_of(path: Path) -> LmdbEnvironment:
    """The process's environment of a folder."""
    return _registry.get(path)
