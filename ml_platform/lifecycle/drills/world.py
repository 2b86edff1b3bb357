"""The world of a drill: the use case's own feeds, whole partitions permuted, changed from the onset on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.errors import NotReadyError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.landing import split_partitions
from ml_platform.ingestion.reader import INSTANT, KNOWN_AT, PARTITION_KEY, read_feed
from ml_platform.lifecycle.drills.mapping import DrillMap
from ml_platform.lifecycle.drills.scenario import Clean, DrillContext, Scenario, with_column
from ml_platform.partitions import Partition, PartitionScheme, key_time

_EVERYTHING = datetime(9000, 1, 1, tzinfo=UTC)
"""An instant by which all that a reader has is known."""
_DAY = timedelta(days=1)
_APART = timedelta(weeks=6)
"""What lies closer together in the real order shares a timetable; in a short history an eighth of it."""
_ATTEMPTS = 1000
_TOLD = 0.98
"""Where a smaller share of the usual outcomes is told, the last partitions are not complete."""
_MOSTLY = 0.5
"""A column is not told in a partition where a larger share of its rows lacks it."""


def permutation(
    scheme: PartitionScheme, keys: Sequence[str], whole: frozenset[str], seed: int
) -> dict[str, str]:
    """The source of each partition: another one of the same weekday, at random.

    Partitions that lack a feed and those of another length (the clocks change) stay where they are.
    What lies close together in the real order is not adjacent, if that can be had: what two such days
    share, a timetable for example, would repeat on one day of the drill and on hardly any other.
    """
    random = np.random.default_rng(seed)
    apart = max(1, min(scheme.whole(_APART), len(whole) // 8))
    source = {k: k for k in keys}
    groups: dict[tuple[tuple[int, int], timedelta], list[str]] = {}
    for key in keys:
        span = scheme.partition(key)
        if key in whole and (scheme.width == "monthly" or span.end - span.start == scheme.days * _DAY):
            alike = (_season(key, scheme), span.end - span.start)
            groups.setdefault(alike, []).append(key)
    for group in groups.values():
        source |= dict(zip(group, (group[i] for i in random.permutation(len(group))), strict=True))
    group_of = {k: g for g in groups.values() for k in g}
    for _ in range(_ATTEMPTS):
        close = [
            k if k in group_of else n
            for k, n in pairwise(keys)
            if abs(scheme.distance(source[k], source[n])) <= apart and {k, n} & group_of.keys()
        ]
        if not close:
            break
        for key in close:
            other = group_of[key][int(random.integers(len(group_of[key])))]
            source[key], source[other] = source[other], source[key]
    return source


def first_told(tables: Mapping[str, pa.Table], keys: Sequence[str]) -> str:
    """The first partition from which every column of a feed is told that is told later on.

    A lag or a running mean has nothing to say in the first partitions of a file. Moved among the live ones
    they would be a broken feed in a world that is meant to be clean.

    Args:
        tables: Raw rows by partition.
        keys: All partitions, in order.

    Returns:
        Its key; the first of all where no column starts late.
    """
    filled = [k for k in keys if tables[k].num_rows]
    late = 0
    for name in tables[filled[0]].column_names if filled else []:
        empty = [tables[k][name].null_count > _MOSTLY * tables[k].num_rows for k in filled]
        if sum(empty) < len(empty) / 2:
            late = max(late, empty.index(False))
    return filled[late] if filled else keys[0]


def last_told(
    read: Mapping[str, Mapping[str, pa.Table]], outcome: str | None, keys: Sequence[str], waits: int
) -> str:
    """The last partition whose outcomes are all told.

    A file that was written on its last day has no outcome yet for its last rows. Moved among the live
    partitions those would be labels that never come.

    Args:
        read: Raw rows by partition, by feed.
        outcome: The feed of the outcomes, if one is known.
        keys: All partitions, in order.
        waits: Partitions until every label is known.
    """
    others = {name: tables for name, tables in read.items() if name != outcome}
    young = keys[max(0, len(keys) - waits) :]
    if outcome is None or outcome not in read or not others or not 0 < len(young) < len(keys):
        return keys[-1]

    def rows(tables: Mapping[str, pa.Table], some: Sequence[str]) -> int:
        return sum(tables[k].num_rows for k in some)

    aged, told = keys[: -len(young)], read[outcome]
    # Of what is scored there are about as many rows as of its outcomes.
    scored = min(others.values(), key=lambda tables: abs(rows(tables, aged) - rows(told, aged)))
    if not rows(scored, aged) or not rows(scored, young):
        return keys[-1]
    usual = rows(told, aged) / rows(scored, aged)
    return aged[-1] if rows(told, young) < _TOLD * usual * rows(scored, young) else keys[-1]


def _season(key: str, scheme: PartitionScheme) -> tuple[int, int]:
    """Weekday and hour; months of one length are alike."""
    moment = key_time(key)
    return (0, 0) if scheme.width == "monthly" else (moment.weekday(), moment.hour)


def moved(table: pa.Table, feed: str, days: int, by: timedelta, world: DrillMap) -> pa.Table:
    """A partition's rows as if they had happened some days later: instants by ``by``, local dates by days."""
    if not days:
        return table
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_timestamp(kind):
            gap = by if kind.tz else timedelta(days=days)
            table = with_column(table, name, pc.add(table[name], pa.scalar(gap, pa.duration(kind.unit))))
        elif pa.types.is_date(kind):
            instants = pc.add(table[name].cast(pa.timestamp("s")), pa.scalar(timedelta(days=days)))
            table = with_column(table, name, instants)
    return world.shift(feed, table, days) if world.shift is not None else table


class World:
    """The clean world, made once as memory-mapped files that several processes share.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._feeds: dict[str, dict[str, pa.Table]] = {}

    @classmethod
    def make(cls, folder: Path, use_case: UseCase, mapped: DrillMap, last: str, seed: int | None) -> World:
        """Read all feeds with event time, permute whole partitions (real order without a seed), keep them.

        Raises:
            FeedError: A reader fails.
            NotReadyError: A feed has no rows at all.
        """
        scheme = use_case.scheme
        until = scheme.last_key or scheme.key_at(datetime.now(UTC))
        keys = scheme.keys(scheme.first_key, until)
        partitions = [scheme.partition(k) for k in keys]
        read = {}
        for feed in use_case.config.feeds:
            if not feed.static:
                rows = read_feed(use_case, feed, partitions, _EVERYTHING)
                read[feed.name] = split_partitions(rows, keys)
        begin = mapped.permuted_from.isoformat() if mapped.permuted_from else ""
        settled = max([begin, *(first_told(tables, keys) for tables in read.values())])
        waits = max(m.label.maturity_partitions for m in use_case.config.models)
        known = last_told(read, mapped.outcome, keys, waits)
        whole = frozenset(
            k for k in keys if settled <= k <= known and all(t[k].num_rows for t in read.values())
        )
        if not whole:
            raise NotReadyError("no partition has rows of every feed", where=use_case.name)
        source = {k: k for k in keys} if seed is None else permutation(scheme, keys, whole, seed)
        folder.mkdir(parents=True, exist_ok=True)
        for name, tables in read.items():
            kept = [_placed(tables[source[k]], name, source[k], k, scheme, mapped) for k in keys if k <= last]
            table = pa.concat_tables(kept).combine_chunks()
            with (
                pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file,
                pa.ipc.new_file(file, table.schema) as to,
            ):
                to.write_table(table)
        return cls(folder)

    def clean(self, feed: str, key: str) -> pa.Table:
        """All rows that will ever be known of one partition."""
        if feed not in self._feeds:
            with pa.memory_map(str(self.folder / f"{feed}.arrow")) as file:
                self._feeds[feed] = split_partitions(pa.ipc.open_file(file).read_all())
        tables = self._feeds[feed]
        if key in tables:
            return tables[key]
        return next(iter(tables.values())).slice(0, 0)


def _placed(
    table: pa.Table, feed: str, source: str, key: str, scheme: PartitionScheme, mapped: DrillMap
) -> pa.Table:
    by = scheme.partition(key).start - scheme.partition(source).start
    table = moved(table, feed, (scheme.day(key) - scheme.day(source)).days, by, mapped)
    return with_column(table, PARTITION_KEY, pa.array([key] * table.num_rows, pa.string()))


class Feeds:
    """Answers in place of the feeds' readers: what the world, changed by a scenario, had told by an instant.

    Args:
        world: The clean world.
        scenario: What changes; nothing if None.
        context: For the scenario.
    """

    def __init__(
        self, world: Clean, scenario: Scenario | None = None, context: DrillContext | None = None
    ) -> None:
        self.world, self.scenario, self.context = world, scenario, context
        self._changed: dict[tuple[str, str], pa.Table] = {}

    def __call__(
        self, use_case: UseCase, feed: FeedConfig, partitions: Sequence[Partition], as_of: datetime
    ) -> pa.Table:
        """Rows of some partitions that had landed by an instant."""
        if feed.static:
            return read_feed(use_case, feed, partitions, as_of)
        table = pa.concat_tables([self.rows(feed.name, p.key) for p in partitions])
        return table.filter(pc.less_equal(table[KNOWN_AT], pa.scalar(as_of - feed.landing_lag, INSTANT)))

    def rows(self, feed: str, key: str) -> pa.Table:
        """All rows that will ever be known of one partition, changed from the onset on."""
        if self.scenario is None or self.context is None or key < self.context.onset:
            return self.world.clean(feed, key)
        if (feed, key) not in self._changed:
            clean = self.world.clean(feed, key)
            self._changed[feed, key] = self.scenario.feed(feed, clean, key, self.context)
        return self._changed[feed, key]
