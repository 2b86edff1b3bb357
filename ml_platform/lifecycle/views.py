"""Features and labels: run the use case's SQL over accepted feeds, publish one object per partition."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from ml_platform.config import UseCase
from ml_platform.features.dbt import CompiledViews, as_view, compiled_views
from ml_platform.features.engine import (
    Cutoff,
    FeedFiles,
    build_view,
    history_schema,
    read_view,
    split,
    warehouse,
)
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle.feed_contracts import arrow_schema, contract_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.timing import TIMING, views_timing
from ml_platform.model_config import ModelConfig
from ml_platform.partitions import STATIC_KEY
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Dataset

ViewName = Literal["features", "labels"]
KNOWN_AT = "label_known_at"
"""What domain code calls the instant at which a label became known."""


@dataclass(frozen=True)
class Published:
    """What became of one partition: ``new``, ``unchanged``, ``empty`` or ``not_reached``."""

    partition: str
    status: Literal["new", "unchanged", "empty", "not_reached"]
    rows: int
    digest: str | None
    details: Mapping[str, Any]
    schema: pa.Schema | None = None


def cutoffs(use_case: UseCase, keys: Sequence[str]) -> list[Cutoff]:
    """The partitions' spans and cutoffs."""
    found = []
    for key in keys:
        partition = use_case.scheme.partition(key)
        found.append(Cutoff(key, partition.start, partition.end, use_case.cutoff(key)))
    return found


def reached(use_case: UseCase, keys: Sequence[str], as_of: datetime) -> list[str]:
    """The partitions whose cutoff is not later than ``as_of``."""
    return [k for k in keys if use_case.cutoff(k) <= as_of]


def accepted_asset(feed: str) -> str:
    """The ledger's name of a feed's accepted history."""
    return f"feed/{feed}/accepted"


def feed_files(platform: Platform, use_case: UseCase, first: str | None, last: str | None) -> list[FeedFiles]:
    """Accepted Parquet files of the feeds that the use case's views read.

    Args:
        platform: Where the lake is.
        use_case: Whose feeds.
        first: Earliest partition to read; from the beginning when ``None``.
        last: Latest partition to read; to the end when ``None``.
    """
    names = use_case.config.views.feeds or tuple(f.name for f in use_case.config.feeds)
    return [_files_of(platform, use_case, use_case.feed(n), first, last) for n in names]


@contextlib.contextmanager
def open_warehouse(
    platform: Platform,
    use_case: UseCase,
    keys: Sequence[str],
    as_of: datetime,
    *,
    view: ViewName = "features",
    file: Path | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A disposable DuckDB over the feeds that these partitions' features and labels can need.

    For ``labels`` alone only the history that the entities need is looked back on.
    """
    settings = use_case.config.views
    history = settings.history_partitions if view == "features" else settings.entity_history_partitions
    first = use_case.scheme.shift(min(keys), -history) if history is not None else None
    ahead = max(m.label.maturity_partitions for m in use_case.config.models)
    last = use_case.scheme.shift(max(keys), ahead)
    feeds = feed_files(platform, use_case, first, last)
    kept = platform.kept_feeds.get(view)
    with warehouse(feeds, cutoffs(use_case, keys), as_of, file=file, kept=kept) as connection:
        yield connection


def compute(
    platform: Platform,
    use_case: UseCase,
    view: ViewName,
    keys: Sequence[str],
    as_of: datetime,
    *,
    code: CompiledViews | None = None,
) -> dict[str, pa.Table]:
    """Rows of a view by partition, as known at ``as_of`` (and, for features, at each row's own cutoff).

    ``code`` is older SQL, see :func:`kept_views`; the current one when None.
    """
    if not keys:
        return {}
    ahead = platform.foreseen.pop((use_case.name, view, tuple(keys), as_of), None) if code is None else None
    return ahead.result() if ahead is not None else _computed(platform, use_case, view, keys, as_of, code)


def foresee(
    platform: Platform,
    use_case: UseCase,
    view: ViewName,
    keys: Sequence[str],
    as_of: datetime,
    beside: Executor,
) -> None:
    """Compute beside what :func:`compute` is going to be asked for in the same words, once."""
    asked = (use_case.name, view, tuple(keys), as_of)
    platform.foreseen[asked] = beside.submit(_computed, platform, use_case, view, keys, as_of)


def _computed(
    platform: Platform,
    use_case: UseCase,
    view: ViewName,
    keys: Sequence[str],
    as_of: datetime,
    code: CompiledViews | None = None,
) -> dict[str, pa.Table]:
    views = code or compiled_views(use_case)
    chosen = views.features if view == "features" else views.labels
    # Labels look ahead: where entities need no history either, reading none makes them three times as fast.
    with open_warehouse(platform, use_case, keys, as_of, view=view) as connection:
        table = build_view(connection, views, chosen)
    return split(table, use_case.config.views.key, keys, chosen.where())


def labels_of(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> pa.Table | None:
    """Labels of partitions as known at an instant, by the SQL that training uses; None where none began."""
    ready = reached(target.use_case, keys, as_of)
    if not ready:
        return None
    tables = compute(platform, target.use_case, "labels", ready, as_of)
    return with_instant(target.model, pa.concat_tables(tables.values()))


def with_instant(model: ModelConfig, labels: pa.Table) -> pa.Table:
    """Labels with the instant at which the model's own became known as ``label_known_at``.

    Models of one use case share rows, and each label is known in its own time.
    """
    own = model.label.known_at
    if own == KNOWN_AT:
        return labels
    if KNOWN_AT in labels.column_names:
        labels = labels.drop_columns([KNOWN_AT])
    return labels.rename_columns([KNOWN_AT if n == own else n for n in labels.column_names])


def kept_views(platform: Platform, dataset: Dataset) -> CompiledViews | None:
    """The SQL that made a dataset version; None for versions that were made before it was kept."""
    digest = dataset.details.get("code")
    if digest is None:
        return None
    return CompiledViews(*(as_view(name, sql) for name, sql in json.loads(platform.lake.get(digest))))


def publish(
    platform: Platform,
    use_case: UseCase,
    view: ViewName,
    tables: Mapping[str, pa.Table],
    as_of: datetime,
) -> list[Published]:
    """Publish a view's partitions; one whose object has not changed keeps its publication.

    A partition without rows is not published: nothing was scheduled, or its feed was held back.
    """
    asset = f"{use_case.name}/{view}"
    views = compiled_views(use_case)
    heads = platform.ledger.heads(asset, tables)
    filled = {key: table for key, table in tables.items() if table.num_rows}
    digests = dict(zip(filled, platform.lake.put_many(map(write_table, filled.values())), strict=True))
    results, items = [], []
    for key, table in tables.items():
        if key not in filled:
            results.append(Published(key, "empty", 0, None, {}))
            continue
        details = _details(use_case, views, view, table, as_of)
        head, digest = heads.get(key), digests[key]
        # The same bytes may since have become mature, which is news.
        same = head is not None and head.digest == digest and head.details == details
        status: Literal["new", "unchanged"] = "unchanged" if same else "new"
        results.append(Published(key, status, table.num_rows, digest, details, table.schema))
        if not same:
            expects = head.id if head else None
            items.append(NewPublication(asset, key, digest, table.num_rows, details, expects))
    if items:
        platform.ledger.publish(items, as_of)
    return results


def materialise(
    platform: Platform, use_case: UseCase, view: ViewName, keys: Sequence[str], as_of: datetime
) -> list[Published]:
    """Compute and publish; partitions whose cutoff is still to come are left out and reported."""
    ready = reached(use_case, keys, as_of)
    done = publish(platform, use_case, view, compute(platform, use_case, view, ready, as_of), as_of)
    waiting = [Published(k, "not_reached", 0, None, {}) for k in keys if k not in set(ready)]
    return sorted([*done, *waiting], key=lambda p: p.partition)


def matured_at(use_case: UseCase, key: str) -> datetime:
    """The instant from which every model's labels of a partition are all known."""
    use_case.scheme.day(key)
    wait = max(m.label.maturity_partitions for m in use_case.config.models)
    return use_case.scheme.begins(use_case.scheme.shift(key, wait))


def _files_of(
    platform: Platform, use_case: UseCase, feed: FeedConfig, first: str | None, last: str | None
) -> FeedFiles:
    wanted = [
        digest
        for key, digest in platform.ledger.digests(accepted_asset(feed.name)).items()
        if key == STATIC_KEY or ((first is None or key >= first) and (last is None or key <= last))
    ]
    schema = history_schema(arrow_schema(contract_of(use_case, feed.name)))
    return FeedFiles(feed.name, platform.lake.paths(wanted), schema)


def _details(
    use_case: UseCase, views: CompiledViews, view: ViewName, table: pa.Table, as_of: datetime
) -> dict[str, Any]:
    key = table["partition_key"][0].as_py()
    if view == "features":
        return {"code_version": views.feature_version, TIMING: views_timing(use_case, key)}
    known = {
        m.label.column: table.num_rows - table[m.label.column].null_count for m in use_case.config.models
    }
    mature = as_of >= matured_at(use_case, key)
    timing = views_timing(use_case, key)
    return {"code_version": views.label_version, "known": known, "mature": mature, TIMING: timing}


def publish_built(
    platform: Platform, use_case: UseCase, keys: Sequence[str], as_of: datetime, file: Path
) -> dict[str, list[Published]]:
    """Publish features and labels that dbt has built in a database file, and entities' counts with them."""
    views = compiled_views(use_case)
    key = use_case.config.views.key
    with contextlib.closing(duckdb.connect(str(file), read_only=True)) as connection:
        connection.execute("SET TimeZone='UTC'")
        built = {
            name: split(read_view(connection, view.name), key, keys, view.where())
            for name, view in (("features", views.features), ("labels", views.labels))
        }
    return {
        "features": publish(platform, use_case, "features", built["features"], as_of),
        "labels": publish(platform, use_case, "labels", built["labels"], as_of),
    }
