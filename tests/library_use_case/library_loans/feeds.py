"""Made-up loans: the same every time, from a counter-based generator."""

import datetime as dt

import numpy as np
import pyarrow as pa

BRANCHES = ("harbour", "market", "north", "station")
GENRES = ("crime", "history", "poetry", "science")
PER_WEEK = 90
INSTANT = pa.timestamp("us", tz="UTC")


def _week(key, settings):
    """One week of loans with everything that will ever be known of them.

    For bad input: ``rows`` sets a week's size, ``edits`` cells by week, column and row, ``without`` columns.
    """
    monday = dt.datetime.fromisoformat(key).replace(tzinfo=dt.UTC)
    random = np.random.default_rng([7, monday.toordinal()])
    size = settings.get("rows", {}).get(key, settings.get("per_week", PER_WEEK))
    branch, genre = random.integers(0, 4, size), random.integers(0, 4, size)
    pages = random.integers(80, 600, size)
    score = -2.2 + 0.9 * branch + 0.7 * (genre == 2) + 0.004 * (pages - 300)
    late = random.random(size) < 1 / (1 + np.exp(-score))
    due = random.integers(0, 7, size)
    delay = np.where(late, random.integers(1, 10, size), -random.integers(0, 3, size))
    returned = [
        monday + dt.timedelta(days=int(d), hours=int(h)) for d, h in zip(due + delay, due + 8, strict=True)
    ]
    week = {
        "monday": monday,
        "loan_no": np.arange(size),
        "branch": [BRANCHES[b] for b in branch],
        "genre": [GENRES[g] for g in genre],
        "pages": pages,
        "due": [monday + dt.timedelta(days=int(d), hours=12) for d in due],
        "returned": returned,
        "late": late,
    }
    for column, values in settings.get("edits", {}).get(key, {}).items():
        for row, value in values.items():
            week[column][row] = value
    return week


def _table(request, build):
    tables = [build(p.key, _week(p.key, request.settings)) for p in request.partitions]
    return pa.concat_tables(tables).drop_columns(request.settings.get("without", []))


def read_loans(request):
    def build(key, week):
        size = len(week["branch"])
        return pa.table(
            {
                "partition_key": pa.array([key] * size, pa.string()),
                "known_at": pa.array([week["monday"] - dt.timedelta(days=3)] * size, INSTANT),
                "branch": week["branch"],
                "loan_no": pa.array(week["loan_no"], pa.int64()),
                "genre": week["genre"],
                "pages": pa.array(week["pages"], pa.int64()),
                "due_at": pa.array(week["due"], INSTANT),
            }
        )

    return _table(request, build)


def read_returns(request):
    def build(key, week):
        size = len(week["branch"])
        early = dt.timedelta(days=request.settings.get("known_days_early", 0))
        known = [max(r, week["monday"]) + dt.timedelta(hours=5) - early for r in week["returned"]]
        return pa.table(
            {
                "partition_key": pa.array([key] * size, pa.string()),
                "known_at": pa.array(known, INSTANT),
                "branch": week["branch"],
                "loan_no": pa.array(week["loan_no"], pa.int64()),
                "due_at": pa.array(week["due"], INSTANT),
                "returned_at": pa.array(week["returned"], INSTANT),
            }
        )

    return _table(request, build)


def read_branches(request):
    known = dt.datetime(2019, 12, 1, tzinfo=dt.UTC)
    return pa.table(
        {
            "partition_key": pa.array(["static"] * 4, pa.string()),
            "known_at": pa.array([known] * 4, INSTANT),
            "branch": list(BRANCHES),
            "staff": pa.array([3, 8, 2, 5], pa.int64()),
        }
    )
