"""One daily step in a warm process against a bare script with the same reads, scoring and writes.

The platform lands, judges by contract, keeps history, scores, and publishes a cache generation, all with
digests and ledger. The bare script calls the same reader, writes the same partitions as Parquet, runs the
same SQL, scores with the same model, writes Parquet and LMDB; and has no contract, history or ledger.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.installation import installation
from benchmarks.report import Line, in_turn, middle
from ml_platform.features.dbt import compiled_views
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.reader import FeedRequest, load_reader
from ml_platform.lifecycle.acceptance import accept
from ml_platform.lifecycle.caching import refresh
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.scoring import load_champion, score
from ml_platform.lifecycle.views import accepted_asset, cutoffs, feed_files
from ml_platform.registry.promotions import require_champion

WARM_UP, ROUNDS, TARGET = 1, 7, 3.0


def run() -> list[Line]:
    """Days that are still to come on the timeline; the first of them warms both sides up."""
    with installation() as (platform, target), tempfile.TemporaryDirectory() as scratch:
        first = first_to_come(platform, target)
        days = iter([target.use_case.scheme.shift(first, i) for i in range(WARM_UP + ROUNDS)])
        bare = Bare(platform, target, Path(scratch))
        day = ""

        def ours() -> float:
            nonlocal day
            day = next(days)
            return seconds(lambda: platform_step(platform, target, day))

        measured = in_turn(WARM_UP + ROUNDS, ours, lambda: seconds(lambda: bare.step(day)))
        with_platform, without = ([*side[WARM_UP:]] for side in measured)
        note = f"median of {ROUNDS} partitions of {target.key}"
        return [Line("daily step", middle(with_platform), middle(without), "s", TARGET, note)]


def first_to_come(platform: Platform, target: Target) -> str:
    """The first partition whose cutoff the clock has not reached."""
    use_case = target.use_case
    now = platform.clock(use_case).now()
    key = use_case.scheme.key_at(now)
    while use_case.cutoff(key) <= now:
        key = use_case.scheme.shift(key, 1)
    return key


def seconds(step: Callable[[], object]) -> float:
    """Wall seconds of a step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def platform_step(platform: Platform, target: Target, day: str) -> None:
    """What the daily job does."""
    use_case = target.use_case
    now = platform.clock(use_case).set(use_case.cutoff(day))
    for feed in moving(target):
        land(platform, use_case, feed, [day], now)
        accept(platform, use_case, feed, now)
    (scored,) = score(platform, target, [day], now)
    assert scored.status == "new", scored
    refresh(platform, target, now)


def moving(target: Target) -> list[FeedConfig]:
    """Feeds that deliver each day."""
    return [f for f in target.use_case.config.feeds if not f.static]


class Bare:
    """The bare script, with everything loaded that a warm process would have loaded."""

    def __init__(self, platform: Platform, target: Target, scratch: Path) -> None:
        self.platform, self.target, self.scratch = platform, target, scratch
        self.views = compiled_views(target.use_case)
        self.model = load_champion(platform, require_champion(platform.ledger, target.key).model_digest)
        self.cache = lmdb.open(str(scratch / "cache.lmdb"), map_size=1 << 28)

    def step(self, day: str) -> None:
        """Read, keep, score and serve one day."""
        use_case = self.target.use_case
        files = self._files(day)
        for feed in moving(self.target):
            asked = use_case.scheme.keys(use_case.scheme.shift(day, -feed.lookback), day)
            self._land(feed, asked, use_case.cutoff(day))
        features = self._features(day, files)
        probability = np.asarray(self.model.predict(features))
        table = features.append_column("probability", pa.array(probability))
        pq.write_table(table, self.scratch / f"predictions-{day}.parquet", compression="zstd")
        self._serve(table)

    def _files(self, day: str) -> dict[str, list[str]]:
        """The history that the SQL reads: as many files as the platform's own run reads."""
        use_case = self.target.use_case
        history = use_case.config.views.history_partitions
        first = use_case.scheme.shift(day, -history) if history is not None else None
        found = feed_files(self.platform, use_case, first, None)
        return {f.name: [str(p) for p in f.files] for f in found}

    def _land(self, feed: FeedConfig, asked: Sequence[str], now: object) -> None:
        """Read the feed, write what came; then merge into the history of those partitions and write it."""
        use_case = self.target.use_case
        reader = load_reader(use_case.folder, feed.reader)
        partitions = tuple(use_case.feed_partition(feed, k) for k in asked)
        delivered = reader(FeedRequest(feed.name, partitions, feed.settings))
        assert isinstance(delivered, pa.Table)
        known = pa.compute.less_equal(delivered["known_at"], pa.scalar(now, pa.timestamp("us", tz="UTC")))
        table = delivered.filter(known)
        heads = self.platform.ledger.heads(accepted_asset(feed.name), asked)
        for key in asked:
            rows = table.filter(pa.compute.equal(table["partition_key"], key))
            pq.write_table(rows, self.scratch / f"landed-{feed.name}-{key}.parquet", compression="zstd")
            if key in heads:
                history = pq.read_table(self.platform.lake.path(heads[key].digest))
                target = self.scratch / f"accepted-{feed.name}-{key}.parquet"
                pq.write_table(history, target, compression="zstd")

    def _features(self, day: str, files: dict[str, list[str]]) -> pa.Table:
        connection = duckdb.connect()
        connection.execute("ATTACH ':memory:' AS warehouse; USE warehouse; SET TimeZone='UTC'")
        (cut,) = cutoffs(self.target.use_case, [day])
        instant = cut.cutoff.isoformat()
        for name, paths in files.items():
            connection.execute(
                f"CREATE VIEW feed_{name} AS SELECT * FROM read_parquet({paths}, union_by_name=true) "
                f"WHERE visible_from <= TIMESTAMPTZ '{instant}'"
            )
        connection.execute(
            "CREATE TABLE cutoffs AS SELECT ? AS partition_key, ?::TIMESTAMPTZ AS partition_start, "
            "?::TIMESTAMPTZ AS partition_end, ?::TIMESTAMPTZ AS cutoff, ?::TIMESTAMPTZ AS as_of",
            [day, cut.start.isoformat(), cut.end.isoformat(), instant, instant],
        )
        for view in (self.views.entities, self.views.features):
            connection.execute(f'CREATE TABLE "{view.name}" AS {view.sql}')
        table = connection.sql(f'SELECT * FROM "{self.views.features.name}"').to_arrow_table()
        connection.close()
        return table

    def _serve(self, table: pa.Table) -> None:
        key = ("partition_key", *self.target.use_case.config.views.key)
        names = zip(*(table[c].to_pylist() for c in key), strict=True)
        rows = table.drop_columns([c for c in key if c != "partition_key"]).to_pylist()
        with self.cache.begin(write=True) as transaction:
            for name, row in zip(names, rows, strict=True):
                transaction.put("/".join(map(str, name)).encode(), json.dumps(row, default=str).encode())
