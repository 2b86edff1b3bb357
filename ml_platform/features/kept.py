"""Rows of accepted feeds kept in a DuckDB of this process: day after day nearly the same ones are asked for.

A file of the lake never changes, so that what was loaded of it stays right. Reading some hundred small
Parquet files anew costs as much as the query itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import duckdb

from ml_platform.storage.memory import attached

MOST_BYTES = 64 << 20
"""Feeds whose files are larger in all are read from the files each time."""
_SPARE = 64
"""A table with four times as many files as were asked for, and so many more, is made anew."""
_SHAPES = """
SELECT DISTINCT list_sort(list(concat_ws(' ', name, type, converted_type, logical_type)))
FROM parquet_schema([{names}]) GROUP BY file_name
"""


class KeptFeeds:
    """Feeds' rows by file. Another use while one is under way finds nothing kept, and reads the files."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET TimeZone='UTC'")
        self._places: dict[str, dict[Path, int]] = {}
        self._schemas: dict[str, list[tuple[str, str]]] = {}
        self._lock = Lock()

    @contextlib.contextmanager
    def connected(self, name: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """A connection whose database ``name`` is new and empty; None while another one is in use."""
        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            with self._connection.cursor() as connection, attached(connection, name):
                yield connection
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def source(self, feed: str, files: Sequence[Path]) -> str | None:
        """SQL that selects the rows of some files, loaded where they were not yet.

        Returns:
            None where the files are too large to keep, or differ in their columns.
        """
        if not files or sum(f.stat().st_size for f in files) > self._most:
            return None
        places = self._places.setdefault(feed, {})
        if len(places) > 4 * len(files) + _SPARE:
            self._connection.execute(f'DROP TABLE "{feed}"')
            places.clear()
        fresh = [f for f in files if f not in places]
        if fresh and not self._load(feed, fresh):
            return None
        chosen = sorted(places[f] for f in files)
        listed = ", ".join(map(str, chosen))
        return (
            f'(SELECT * EXCLUDE (_place) FROM memory.main."{feed}" '
            f"WHERE _place BETWEEN {chosen[0]} AND {chosen[-1]} AND _place IN ({listed}))"
        )

    def _load(self, feed: str, files: Sequence[Path]) -> bool:
        """Add files to a feed's table; not where their columns are others."""
        places = self._places[feed]
        first = max(places.values(), default=-1) + 1
        names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
        shapes = self._connection.execute(_SHAPES.format(names=names)).fetchall()
        if len(shapes) > 1:
            return False
        source = f"read_parquet([{names}], union_by_name=true, filename='_path')"
        numbers = ", ".join(str(first + i) for i in range(len(files)))
        rows = (
            f"SELECT s.* EXCLUDE (_path), n._place FROM {source} AS s "
            f"JOIN (SELECT unnest([{names}]) AS _path, unnest([{numbers}]) AS _place) AS n USING (_path)"
        )
        found = self._connection.execute(f"DESCRIBE {rows}").fetchall()
        schema = [(str(column[0]), str(column[1])) for column in found]
        if not places:
            self._connection.execute(f'CREATE OR REPLACE TABLE "{feed}" AS {rows}')
            self._schemas[feed] = schema
        elif schema == self._schemas[feed]:
            self._connection.execute(f'INSERT INTO "{feed}" {rows}')
        else:
            return False
        places.update({f: first + i for i, f in enumerate(files)})
        return True
