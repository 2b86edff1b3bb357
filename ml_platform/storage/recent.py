"""Tables of the lake that are asked for again and again, kept in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import pyarrow as pa

from ml_platform.storage.lake import Lake
from ml_platform.storage.parquet import read_table


class RecentTables:
    """Tables by digest, the most recently used ones; an object whose file has been touched is read anew.

    Args:
        most_bytes: What the kept tables may take; a larger table is not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._tables: OrderedDict[tuple[int, str, int, int], pa.Table] = OrderedDict()
        self._lock = Lock()

    def table(self, lake: Lake, digest: str, *, where: str = "") -> pa.Table:
        """The table of an object, its bytes verified when they were read.

        Args:
            lake: Where the object is.
            digest: Its name.
            where: For the error.

        Raises:
            NotFoundError: There is no such object.
            IntegrityError: Its bytes are not those that were written, or no table.
        """
        stat = lake.path(digest).stat()
        # Two lakes may hold one object, and one of them spoilt: the file counts, not the name alone.
        key = (stat.st_ino, digest, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        table = read_table(lake.get(digest), where=where)
        if table.nbytes <= self._most:
            with self._lock:
                self._keep(key, table)
        return table

    def _keep(self, key: tuple[int, str, int, int], table: pa.Table) -> None:
        if key not in self._tables:
            self._bytes += table.nbytes
        self._tables[key] = table
        while self._bytes > self._most:
            _, oldest = self._tables.popitem(last=False)
            self._bytes -= oldest.nbytes
