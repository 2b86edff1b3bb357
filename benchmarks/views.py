"""Feature SQL over one partition, ninety, and all: what replay, scoring and training pay."""

import time
from collections.abc import Sequence
from datetime import datetime

from benchmarks.installation import installation
from benchmarks.report import Line, middle
from ml_platform.lifecycle.acceptance import accept
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.views import compute

ROUNDS = 3


def run() -> list[Line]:
    """Seconds by number of partitions; bare is the same number of runs of a single partition."""
    with installation() as (platform, target):
        as_of, keys = land_all(platform, target)
        compute(platform, target.use_case, "features", keys[-1:], as_of)
        single, rows = measure(platform, target, keys[-1:], as_of)
        lines = [Line("1 partition", single, None, "s", None, f"{rows:,} rows of {target.key}")]
        for size in (90, len(keys)):
            if 1 < size <= len(keys):
                taken, rows = measure(platform, target, keys[-size:], as_of)
                note = f"{rows:,} rows; bare: {size} runs of one partition, reckoned"
                lines.append(Line(f"{size} partitions", taken, single * size, "s", 1.0, note))
        return lines


def land_all(platform: Platform, target: Target) -> tuple[datetime, list[str]]:
    """Land and accept the timeline to its end, so that a whole year is there."""
    use_case = target.use_case
    first, last = use_case.scheme.first, use_case.scheme.last
    assert last is not None
    keys = use_case.scheme.keys(first.isoformat(), last.isoformat())
    as_of = platform.clock(use_case).set(use_case.complete_at(use_case.config.feeds[0], keys[-1]))
    for feed in use_case.config.feeds:
        land(platform, use_case, feed, keys, as_of)
        accept(platform, use_case, feed, as_of)
    return as_of, keys


def measure(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> tuple[float, int]:
    """Median seconds to compute the features of some partitions, and their rows."""
    taken, rows = [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        tables = compute(platform, target.use_case, "features", list(keys), as_of)
        taken.append(time.perf_counter() - start)
        rows = sum(t.num_rows for t in tables.values())
    return middle(taken), rows
