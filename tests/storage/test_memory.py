"""This process's DuckDB in memory."""

import os
from concurrent.futures import ThreadPoolExecutor

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
