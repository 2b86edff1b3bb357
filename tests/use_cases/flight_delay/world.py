"""Accepted history in Parquet files, and the compiled views run over it as the platform runs them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ml_platform.config import UseCase, project_root
from ml_platform.contracts.parse import load_contract
from ml_platform.features.dbt import CompiledViews
from ml_platform.features.engine import Cutoff, FeedFiles, build_view, read_view, split, warehouse
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.history import merge

LATER = dt.datetime(2013, 7, 18, 22, tzinfo=dt.timezone(dt.timedelta(hours=-4)))
"""An as_of after everything in the tests' history is known."""


def accepted_history(feed: FeedConfig, delivery: pa.Table) -> pa.Table:
    """The history of a feed whose rows were each accepted when they could first have been."""
    contract = load_contract(project_root() / f"data_contracts/{feed.name}.yaml")
    clock = dt.datetime(2014, 2, 1, tzinfo=dt.UTC)
    merged = merge(
        None,
        delivery,
        key=contract.key,
        payload=contract.payload,
        lag=feed.landing_lag,
        clock=clock,
        previous={},
    )
    return merged.table


@dataclass(frozen=True)
class World:
    """Accepted history by feed.

    A world with another history is made by :meth:`changed`; worlds share the files they have in common.
    """

    use_case: UseCase
    views: CompiledViews
    folder: Path
    tables: Mapping[str, pa.Table]

    def changed(self, feed: str, sql: str) -> World:
        """The world in which a feed's history is what a SQL text makes of the relation ``feed``."""
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            db.register("feed", self.tables[feed])
            table = db.sql(sql).to_arrow_table()
        assert not table.equals(self.tables[feed]), "the change changes nothing"
        return replace(self, tables={**self.tables, feed: table.cast(self.tables[feed].schema)})

    def revised(self, feed: str, where: str, change: str, accepted_at: dt.datetime) -> World:
        """The world in which rows of a feed get a second revision, accepted at an instant."""
        sql = f"""
        WITH hit AS (SELECT * FROM feed WHERE {where}),
        rest AS (SELECT * FROM feed WHERE ({where}) IS NOT TRUE)
        SELECT * FROM rest
        UNION ALL
        SELECT * REPLACE (TIMESTAMPTZ '{accepted_at.isoformat()}' AS visible_to) FROM hit
        UNION ALL
        SELECT * REPLACE ({change}, 2 AS revision, TIMESTAMPTZ '{accepted_at.isoformat()}' AS accepted_at,
            TIMESTAMPTZ '{accepted_at.isoformat()}' AS visible_from) FROM hit
        """
        return self.changed(feed, sql)

    @contextmanager
    def open(self, keys: Sequence[str], as_of: dt.datetime = LATER) -> Iterator[duckdb.DuckDBPyConnection]:
        """A warehouse for some partitions."""
        cuts = []
        for key in keys:
            span = self.use_case.scheme.partition(key)
            cuts.append(Cutoff(key, span.start, span.end, self.use_case.cutoff(key)))
        feeds = [self._files(name) for name in self.use_case.config.views.feeds]
        with warehouse(feeds, cuts, as_of) as connection:
            yield connection

    def features(self, *keys: str, as_of: dt.datetime = LATER) -> dict[str, pa.Table]:
        """Features by partition."""
        with self.open(keys, as_of) as connection:
            table = build_view(connection, self.views, self.views.features)
        return split(table, self.use_case.config.views.key, keys, self.views.features.name)

    def labels(self, key: str, as_of: dt.datetime) -> pa.Table:
        """Labels of one partition."""
        with self.open([key], as_of) as connection:
            table = build_view(connection, self.views, self.views.labels)
        return split(table, self.use_case.config.views.key, [key], self.views.labels.name)[key]

    @contextmanager
    def built(self, *keys: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A warehouse in which all three views are tables."""
        with self.open(keys) as connection:
            build_view(connection, self.views, self.views.features)
            build_view(connection, self.views, self.views.labels)
            assert read_view(connection, self.views.entities.name).num_rows
            yield connection

    def cutoff(self, key: str) -> dt.datetime:
        """The instant at which a partition is scored."""
        return self.use_case.cutoff(key)

    def _files(self, feed: str) -> FeedFiles:
        table = self.tables[feed]
        written: dict[int, Path] = _WRITTEN.setdefault(str(self.folder), {})
        if id(table) not in written:
            written[id(table)] = self.folder / f"{feed}-{uuid4().hex}.parquet"
            pq.write_table(table, written[id(table)])
            _KEPT.append(table)
        return FeedFiles(feed, [written[id(table)]], table.schema)


_WRITTEN: dict[str, dict[int, Path]] = {}
_KEPT: list[pa.Table] = []


def row(table: pa.Table, **values: Any) -> dict[str, Any]:
    """The only row with these values."""
    found = [r for r in table.to_pylist() if all(r[k] == v for k, v in values.items())]
    assert len(found) == 1, f"{len(found)} rows have {values}"
    return found[0]


def column_changes(before: pa.Table, after: pa.Table) -> set[str]:
    """Names of the columns that differ."""
    assert before.schema == after.schema and before.num_rows == after.num_rows
    return {n for n in before.column_names if not before[n].equals(after[n])}
