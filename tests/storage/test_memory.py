"""This process's DuckDB in memory."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from ml_platform.storage.memory import database, scratch


def test_one_use_sees_nothing_of_another() -> None:
    with scratch() as one, scratch() as other:
        one.execute("CREATE TEMP TABLE mine AS SELECT 1 AS v; SET TimeZone='Asia/Tokyo'")
        with pytest.raises(duckdb.CatalogException):
            other.sql("SELECT * FROM mine").fetchall()
        assert other.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_database_is_empty_each_time_even_after_an_error() -> None:
    for _ in range(2):
        with pytest.raises(duckdb.ConversionException), database("house") as connection:
            connection.execute("CREATE TABLE house.main.rows AS SELECT 1 AS v")
            connection.execute("SELECT CAST('x' AS INTEGER)")


def test_two_of_one_name_at_once_are_kept_apart() -> None:
    def count(number: int) -> list[tuple[int, ...]]:
        with database("house") as connection:
            connection.execute(f"CREATE TABLE rows AS SELECT * FROM range({number})")
            return connection.execute("SELECT count(*) FROM house.main.rows").fetchall()

    with database("house") as held, ThreadPoolExecutor(4) as threads:
        held.execute("CREATE TABLE rows AS SELECT 1")
        assert list(threads.map(count, range(8))) == [[(n,)] for n in range(8)]


ENDING = """
import multiprocessing, signal, sys, threading
from multiprocessing import connection, parent_process
from ml_platform.storage.memory import scratch

def body(used):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    waiting = lambda: connection.wait([parent_process().sentinel])
    threading.Thread(target=waiting, daemon=True).start()
    with scratch() as duck:
        duck.execute("SELECT 1").fetchall()
    used.send("it did")
    threading.Event().wait(60)

if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=body, args=(there,), daemon=True)
    process.start()
    print(here.recv())
    process.terminate()
    process.join()
"""


def test_a_process_that_is_no_longer_needed_ends_without_a_word_of_leaks(tmp_path: Path) -> None:
    """One that had used DuckDB ended with forty lines about leaks, as that which a replay lets ingest."""
    file = tmp_path / "ending.py"
    file.write_text(ENDING)
    ended = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("it did\n", "")


def test_a_fork_has_one_of_its_own() -> None:
    with scratch() as connection:
        connection.execute("SELECT 1")
    child = os.fork()
    if not child:
        with scratch() as connection:
            connection.execute("CREATE TEMP TABLE t AS SELECT r, r % 7 AS k FROM range(3_000_000) AS s(r)")
            rows = connection.execute("SELECT k, count(*) FROM t GROUP BY k ORDER BY count(*)").fetchall()
        os._exit(0 if len(rows) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
