"""Dagster's SQLite event log with connections that stay open.

Dagster opens and closes a database, builds a new engine and waits for the disk several times per event:
some 30 ms each here. A run over half a year of partitions records thousands of events, so that most of its
time would go into recording them. This class keeps engines and their compiled statements, and leaves the
flush to SQLite's write-ahead log (``synchronous=NORMAL``: a power cut can lose the last events, never
corrupt the file). It is named in ``dagster.yaml``; what is stored, and where, is as Dagster's own class does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

_MOST_ENGINES = 16


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """As Dagster's ``SqliteEventLogStorage``, with one open connection per database."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._columns: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteEventLogStorage:
        """The storage that ``dagster.yaml`` configures."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _engine(self, shard: str) -> Engine:
        """The shard's engine; the one used longest ago is closed when there are many."""
        if shard in self._engines:
            self._engines.move_to_end(shard)
            return self._engines[shard]
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _trust_the_log)
        self._engines[shard] = engine
        if len(self._engines) > _MOST_ENGINES:
            _, oldest = self._engines.popitem(last=False)
            oldest.dispose()
        return engine

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Whether the index has a column: once it has been there, it is not asked for at each event."""
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

    def dispose(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()


def _trust_the_log(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
