"""Whether features look further back than the settings say: one partition then differs from many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from ml_platform.config import UseCase
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.acceptance import accept
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Platform
from ml_platform.remarks import Remark

_OLDER = 8
"""So many partitions right before the bound are laid beside it: what comes again is found in some of them."""


def history_remarks(platform: Platform, use_case: UseCase, key: str, as_of: datetime) -> Iterator[Remark]:
    """Features of one partition with as much history as the settings allow, against some partitions more.

    Args:
        platform: Stores that are thrown away; older partitions are landed there.
        use_case: One whose features can be built.
        key: A partition that has been looked at.
        as_of: When all that is looked at is known.
    """
    back = use_case.config.views.history_partitions
    if back is None:
        return
    scheme = use_case.scheme
    older = scheme.keys(scheme.shift(key, -back - _OLDER), scheme.shift(key, -back - 1))
    if not older:
        return
    names = use_case.config.views.feeds or tuple(f.name for f in use_case.config.feeds)
    for feed in (use_case.feed(n) for n in names):
        if feed.static:
            continue
        try:
            land(platform, use_case, feed, older, as_of)
            accept(platform, use_case, feed, as_of)
        except PlatformError:
            return  # what is wrong in partitions that are not looked at is told by a look at all of them
    whole = use_case.config.views.model_copy(update={"history_partitions": None})
    unbounded = replace(use_case, config=use_case.config.model_copy(update={"views": whole}))
    bounded, more = (views.compute(platform, u, "features", [key], as_of)[key] for u in (use_case, unbounded))
    differs = ["the rows themselves"]
    if bounded.num_rows == more.num_rows:
        differs = [c for c in more.column_names if not _equal(bounded[c], more[c])]
    if differs:
        yield Remark(
            "error",
            f"features look further back than `views: history_partitions: {back}`: {', '.join(differs)} of "
            f"partition {key} change when {older[0]} to {older[-1]} are there, too. Many partitions are "
            "built with more history than one, so what is served would differ from what was trained on",
            str(use_case.dbt_dir / "models" / f"{use_case.config.views.features}.sql"),
            "bound it in the SQL, as in `and o.event_time >= e.cutoff - interval 28 day`, and let "
            "history_partitions be one more than that is; or let it be null, for all of history",
        )


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Sums of the same numbers in another order differ in their last digits; that is no history."""
    if pa.types.is_floating(one.type) and pa.types.is_floating(other.type):
        left, right = (c.to_numpy().astype(np.float64) for c in (one, other))
        return bool(np.isclose(left, right, rtol=1e-6, atol=1e-12, equal_nan=True).all())
    return bool(one.combine_chunks().equals(other.combine_chunks()))
