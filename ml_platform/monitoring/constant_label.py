"""Labels that are all one and the same, where they never were: a feed that tells nothing any more.

Nothing else says so. With one class there is nothing to judge a model by, and to every test of a mean a label
that is stuck is only another base rate.
"""

from __future__ import annotations

import math
from itertools import takewhile

import pandas as pd

from ml_platform.monitoring.shifts import NULL_P
from ml_platform.statistics.finding import Finding
from ml_platform.statistics.frames import PARTITION, Table, as_frame

STATISTIC = "constant_label"
_RUN_P = 1e-3
_RARE = 0.2
"""A reference in which more partitions than these are constant says nothing by one more."""


def constant_label(reference: Table, current: Table, *, label: str) -> Finding | None:
    """Do the last partitions tell one label only, and is that more than chance?

    Chance is asked twice, because partitions may be alike and rows of one partition, too: a run of constant
    partitions against the share of such ones in the reference (Laplace's rule of succession), and its rows
    against the value's share of the reference's rows.

    Args:
        reference: ``partition_key`` and the label of the reference's partitions.
        current: The same of matured partitions, the last ones at the end of their order.
        label: Column of the label; nulls are left out.

    Returns:
        One finding: FAIL with the partitions of the run; UNDERPOWERED where its rows are more than chance and
        its partitions too few to tell it from an odd day; None where a side has no label.
    """
    before, now = (_known(t, label, what) for t, what in ((reference, "reference"), (current, "current")))
    if before.empty or now.empty:
        return None
    newest = now.sort_values(PARTITION, kind="stable")[label].iloc[-1]
    alike = now[label].eq(newest).groupby(now[PARTITION]).all().sort_index()
    run = list(takewhile(lambda key: alike[key], reversed(alike.index)))
    rows = int(now[PARTITION].isin(run).sum())
    was = before[label].eq(newest)
    of_partitions = was.groupby(before[PARTITION]).all()
    usual = (int(of_partitions.sum()) + 1) / (len(of_partitions) + 2)
    share = min(float(was.mean()), 1 - 1 / (len(was) + 2))
    chance = rows * math.log(share) if share else -math.inf
    unlikely = bool(run) and chance < math.log(NULL_P)
    stuck = unlikely and len(run) * math.log(usual) < math.log(_RUN_P)
    shown = f"{newest:g}" if isinstance(newest, float) else str(newest)
    told = (
        f"all {rows:,} labels of the last {len(run)} partitions are {shown}, as {was.mean():.0%} of the "
        f"reference's were, and all of them in {int(of_partitions.sum())} of its {len(of_partitions)} "
        "partitions"
    )
    return Finding(
        statistic=STATISTIC,
        subject=label,
        state="FAIL" if stuck else "UNDERPOWERED" if unlikely and usual < _RARE else "PASS",
        detail=told if run else f"the last of {len(alike)} partitions tells more than one label",
        estimate=float(len(run)),
        blocks=len(alike),
        rows=len(now),
        partitions=tuple(reversed(run)) if stuck else (),
    )


def _known(table: Table, label: str, what: str) -> pd.DataFrame:
    frame = as_frame(table, [PARTITION, label], f"{what} labels")
    return frame.loc[frame[label].notna(), [PARTITION, label]]
