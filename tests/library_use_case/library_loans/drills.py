"""Where the generic incidents of a drill strike at the library."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def late(returns):
    return pc.greater(returns["returned_at"], returns["due_at"]).to_numpy().astype(float)


def flip(returns, to_late, to_punctual):
    hours = pa.array(np.where(to_late, 30, np.where(to_punctual, -5, 0)) * 3600 * 10**6, pa.int64())
    changed = pa.array(to_late | to_punctual)
    returned = pc.add(returns["due_at"], hours.cast(pa.duration("us")))
    known = pc.add(returned, pa.scalar(dt.timedelta(hours=5)))
    for name, values in (("returned_at", returned), ("known_at", known)):
        column = pc.if_else(changed, values, returns[name])
        returns = returns.set_column(returns.column_names.index(name), name, column)
    return returns


DRILLS = {
    "unit": {"feed": "loans", "columns": ["pages"], "factor": 0.1},
    "nulls": {"feed": "loans", "columns": ["genre"]},
    "benign": {"feed": "loans", "columns": ["pages"], "step": 1},
    "outcome": "returns",
    "positive": late,
    "flip": flip,
    "entity": {"feeds": ["loans", "returns"], "key": ["branch", "loan_no"], "number": "loan_no"},
    "segment": {"column": "branch", "values": ["harbour", "north"]},
    "skewed": ["pages"],
    "first": dt.date(2020, 8, 31),
}
