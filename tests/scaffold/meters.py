"""Made-up readings of meters by the hour or the month, in types of every kind, and whether one failed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

PER_TIME = 30
"""Meters that are read each time."""
BEGIN = dt.datetime(2023, 1, 2, tzinfo=dt.UTC)


def readings(times: list[dt.datetime], wait: dt.timedelta, meters: int = 60, seed: int = 11) -> pa.Table:
    """Readings at some times: hot and old meters fail, those of one make more often.

    Args:
        times: Begin of each partition.
        wait: About so long after a reading it is known whether the meter failed.
        meters: How many meters there are.
        seed: Of everything random.
    """
    random = np.random.default_rng(seed)
    make, age = random.choice(["alpha", "beta", "gamma"], meters), random.integers(1, 40, meters)
    read = np.concatenate([random.permutation(meters)[:PER_TIME] for _ in times])
    late = random.integers(0, 50, len(read))
    moments = [times[i // PER_TIME] + dt.timedelta(minutes=int(m)) for i, m in enumerate(late)]
    heat, price = random.normal(40, 8, len(read)), random.gamma(2, 30, len(read))
    score = -2 + 0.25 * (heat - 42) + 0.06 * (age[read] - 20) + 1.5 * (make[read] == "gamma")
    failed = random.random(len(read)) < 1 / (1 + np.exp(-score))
    known = [m + wait * float(f) for m, f in zip(moments, random.uniform(1.0, 1.4, len(read)), strict=True)]
    unknown, unpriced = random.random((2, len(read))) < 0.04
    return pa.table(
        {
            "Meter": pa.array(read, pa.int32()),
            "read at": pa.array(moments, pa.timestamp("ns", tz="Europe/Berlin")),
            "make": pa.array(make[read]).dictionary_encode(),
            "age": pa.array(age[read], pa.uint8()),
            "heat °C": pa.array(heat, pa.float32()),
            "price": pa.array(
                [None if u else Decimal(f"{p:.2f}") for u, p in zip(unpriced, price, strict=True)],
                pa.decimal128(9, 2),
            ),
            "outdoors": pa.array(random.random(len(read)) < 0.3),
            "serviced on": pa.array(
                [m.date() - dt.timedelta(days=int(random.integers(1, 90))) for m in moments], pa.date32()
            ),
            "slot": pa.array([m.time() for m in moments], pa.time64("us")),
            "notes": pa.array([["seen"]] * len(read)),
            "photo": pa.array([b"-"] * len(read)),
            "failed": pa.array([None if u else bool(f) for u, f in zip(unknown, failed, strict=True)]),
            "failure known at": pa.array(
                [None if u else k for u, k in zip(unknown, known, strict=True)], pa.timestamp("ms", tz="UTC")
            ),
        }
    )


def hours(days: int) -> list[dt.datetime]:
    """Every hour of some days."""
    return [BEGIN + dt.timedelta(hours=h) for h in range(24 * days)]


def months(number: int) -> list[dt.datetime]:
    """The first of some months."""
    return [dt.datetime(2018 + m // 12, m % 12 + 1, 1, tzinfo=dt.UTC) for m in range(number)]
