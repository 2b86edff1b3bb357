"""The one feed: purchases, by the week in which they were made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import FeedError
from ml_platform.ingestion.reader import INSTANT, FeedRequest
from ml_platform.use_cases.repeat_purchase.source import data_file, read_source

_SETTINGS = ("path", "hold_back")


def read_purchases(request: FeedRequest) -> pa.Table:
    """The purchases of some weeks. The file holds dates only: a day's are known when the day is over.

    Settings: ``path`` of another file of the same form; ``hold_back``, customers to leave out by the month of
    their first purchase (``[1997-03]``), to see later what a model says of customers that it never met.
    """
    unknown = sorted(set(request.settings) - set(_SETTINGS))
    if unknown:
        raise FeedError(
            f"unknown setting(s): {', '.join(unknown)}",
            where=f"use_case.yaml, feed {request.feed}",
            fix=f"known settings: {', '.join(_SETTINGS)}",
        )
    table = _without(read_source(data_file(request.settings)), request.settings.get("hold_back") or ())
    days = table["purchased_on"].cast(pa.timestamp("us"))
    first = pa.scalar(min(p.start for p in request.partitions).replace(tzinfo=None))
    last = pa.scalar(max(p.end for p in request.partitions).replace(tzinfo=None))
    table = table.filter(pc.and_(pc.greater_equal(days, first), pc.less(days, last)))
    days = table["purchased_on"].cast(pa.timestamp("us"))
    weeks = pc.strftime(pc.floor_temporal(days, unit="week", week_starts_monday=True), format="%Y-%m-%d")
    known = pc.add(days, pa.scalar(timedelta(days=1))).cast(pa.timestamp("us")).cast(INSTANT)
    table = table.append_column("partition_key", weeks.cast(pa.string())).append_column("known_at", known)
    asked = pa.array([p.key for p in request.partitions], pa.string())
    return table.filter(pc.is_in(table["partition_key"], asked))


def _without(table: pa.Table, months: Sequence[str]) -> pa.Table:
    """The purchases of customers who first bought in another month."""
    if not months:
        return table
    first = table.group_by("customer_id").aggregate([("purchased_on", "min")])
    month = pc.strftime(first["purchased_on_min"], format="%Y-%m")
    gone = first.filter(pc.is_in(month, pa.array([str(m) for m in months], pa.string())))["customer_id"]
    return table.filter(pc.invert(pc.is_in(table["customer_id"], gone.combine_chunks())))
