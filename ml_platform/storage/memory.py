"""This process's DuckDB in memory: to open one costs 40 ms, more than most of what it is asked."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from functools import cache
from threading import Lock

import duckdb

_NAMED = Lock()


@contextlib.contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with temporary tables, registered tables and settings (UTC) of its own."""
    with _instance(os.getpid()).cursor() as connection:
        connection.execute("SET TimeZone='UTC'")
        yield connection


@contextlib.contextmanager
def database(name: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose database ``name`` is new and empty, and gone afterwards.

    An instance has one database of a name: while it is in use, others get an instance of their own.
    """
    if not _NAMED.acquire(blocking=False):
        with duckdb.connect(":memory:") as alone, attached(alone, name):
            yield alone
        return
    try:
        with _instance(os.getpid()).cursor() as connection, attached(connection, name):
            yield connection
    finally:
        _NAMED.release()


@contextlib.contextmanager
def attached(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[None]:
    """A new database in memory, to which all names without one refer."""
    connection.execute(f"ATTACH ':memory:' AS {name}; USE {name}; SET TimeZone='UTC'")
    try:
        yield
    finally:
        connection.execute(f"USE memory; DETACH {name}")


@cache
def _instance(_process: int) -> duckdb.DuckDBPyConnection:
    """One for each process: a fork has none of the threads of its parent's.

    It is let go at the process's end: what still holds it when Python takes its modules apart, DuckDB calls
    a leak, in forty lines on standard error.
    """
    atexit.register(_let_go, _process)
    return duckdb.connect(":memory:")


def _let_go(process: int) -> None:
    if process == os.getpid():  # a fork leaves its parent's alone
        _instance.cache_clear()
