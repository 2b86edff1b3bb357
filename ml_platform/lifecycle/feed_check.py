"""Looks at what a use case's feeds deliver, and at what their contracts let in of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.contracts.parse import contract_path
from ml_platform.errors import FeedError, PlatformError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.reader import read_feed
from ml_platform.lifecycle.acceptance import AcceptanceReport, RuleSummary, accept, quarantine_asset
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.feeds_read import entity_feeds
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Outside, Platform
from ml_platform.remarks import Remark
from ml_platform.storage.parquet import read_table

LATER = datetime(9000, 1, 1, tzinfo=UTC)
"""When all that is looked at is known."""
_SHOWN = 5
_EFFECTS = {
    "quarantine": "those rows go to quarantine: no feature, label or prediction sees them",
    "hold": "those partitions are held back",
    "warn": "it only warns",
}
"""What becomes of rows that break a rule."""


@dataclass(frozen=True)
class FeedsRead:
    """What came of reading the feeds.

    Attributes:
        remarks: What is wrong with what they deliver.
        fed: Whether all delivered something that was let in.
        filled: By feed, the partitions of which something came.
    """

    remarks: list[Remark]
    fed: bool
    filled: dict[str, set[str]]


def read_feeds(
    environment: Mapping[str, str],
    use_case: UseCase,
    keys: Sequence[str],
    stage: Callable[[str, str], object],
) -> FeedsRead:
    """Land and accept partitions of all feeds, as if all that will ever be known of them were known.

    Rows with a time that cannot be read are told, and the rest is looked at without them.

    Args:
        environment: Names the home to land in, which is thrown away.
        use_case: One whose files can be read.
        keys: The partitions.
        stage: Told which feed is read, and the code or file that it is about.
    """
    faults: list[FeedError] = []
    seen: list[pa.Table] = []
    feeds = partial(read_feed, faults=faults, seen=seen.append)
    platform = Platform(environment, Outside(feeds=feeds, use_cases={use_case.name: use_case}))
    fed, told, filled = True, list[Remark](), dict[str, set[str]]()
    for feed in use_case.config.feeds:
        stage(f"reading feed {feed.name}", feed.origin)
        faults.clear()
        seen.clear()
        keyless: list[Remark] = []
        try:
            landed = land(platform, use_case, feed, keys, LATER)
            keyless += _without_key(use_case, feed, seen)
            seen.clear()
            report = accept(platform, use_case, feed, LATER)
        except PlatformError as error:
            fed = False
            told += [*map(Remark.of, faults), *keyless, Remark.of(error)]
            continue
        told += [*map(Remark.of, faults), *keyless]
        filled[feed.name] = {r.partition for r in landed if r.rows}
        if not filled[feed.name]:
            fed = False
            if faults:
                continue
            span = "" if feed.static else f" of {keys[0]} to {keys[-1]}"
            fix = "correct its source, or `partitions: start` and `end`"
            told.append(Remark("error", f"feed {feed.name} has no rows{span}", feed.origin, fix))
        fed = fed and bool(report.total("accepted"))
        told += _acceptance(platform, report, use_case, keys_told=bool(keyless))
    return FeedsRead(told, fed, filled)


def filled_partitions(use_case: UseCase, span: Sequence[str], read: FeedsRead) -> list[str]:
    """Partitions of which all feeds that the entities read have rows; or any of them, where none has all."""
    filled = [read.filled[name] for name in entity_feeds(use_case) if name in read.filled]
    for chosen in (set.intersection, set.union):
        found = chosen(*filled) if filled else set()
        if keys := [k for k in span if k in found]:
            return keys
    return []


def _without_key(use_case: UseCase, feed: FeedConfig, read: Sequence[pa.Table]) -> Iterator[Remark]:
    """Rows without a value in a column of the key, in all that was read: they can be nobody's."""
    contract, path = contract_of(use_case, feed.name), contract_path(use_case.contracts_dir, feed.name)
    by_file = feed.source is not None and feed.source.path is not None
    origin = (use_case.folder / feed.origin).resolve() if by_file else feed.origin
    for table, name in product(read, contract.key):
        # Of a column without chunks, as a filter leaves one, Arrow's indices crash.
        if name not in table.column_names or not table.num_rows:
            continue
        rows = [i + 1 for i in pc.indices_nonzero(table[name].is_null(nan_is_null=True)).to_pylist()]
        if not rows:
            continue
        breach = next((r.on_breach for r in contract.rules if r.name == f"{name}_required"), "quarantine")
        shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
        yield Remark(
            "error" if breach == "hold" else "warning",
            f"feed {feed.name}: {len(rows):,} of {table.num_rows:,} rows have no {name}, which is a column "
            f"of the key; {_EFFECTS[breach]}",
            f"{origin}, row {shown}",
            f"give each row its {name}, or choose a key that every row has (primaryKey in {path})",
        )


def _acceptance(
    platform: Platform, report: AcceptanceReport, use_case: UseCase, *, keys_told: bool
) -> Iterator[Remark]:
    file = contract_path(use_case.contracts_dir, report.feed)
    told = {f"{name}_required" for name in report.contract.key} if keys_told else set()
    for rule in report.rules:
        if rule.crashed:
            what = f"feed {report.feed}: rule {rule.name} cannot be judged, so that nothing is let in"
            yield Remark("error", f"{what}: {rule.reason}", str(file), "correct the rule")
        if rule.state != "FAIL" or rule.name in told:
            continue
        level = "warning" if rule.on_breach != "hold" else "error"
        yield Remark(
            level,  # type: ignore[arg-type]
            f"feed {report.feed}: rule {rule.name} is broken by {rule.failed_rows:,} of {rule.checked_rows:,}"
            f" rows in {len(rule.failed_partitions)} partition(s); {_EFFECTS[rule.on_breach]}. {rule.reason}",
            f"{file}, for example partition {rule.failed_partitions[0]}{_example(platform, report, rule)}",
            "mend the data, or change the rule and raise the contract's version",
        )


def _example(platform: Platform, report: AcceptanceReport, rule: RuleSummary) -> str:
    """One of the rows that a rule sent to quarantine."""
    key = rule.failed_partitions[0]
    head = platform.ledger.heads(quarantine_asset(report.feed), [key]).get(key)
    if head is None:
        return ""
    for row in read_table(platform.lake.get(head.digest)).to_pylist():
        if row["rule"] == rule.name:
            return f", row {row['row'] + 1}: {row['column'] or 'the row'} = {row['value']}"
    return ""
