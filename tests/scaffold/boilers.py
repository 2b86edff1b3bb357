"""A made-up file that the platform has never seen: inspections of boilers, and whether they failed since."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HEADER = (
    "Boiler ID",
    "inspected at",
    "fuel",
    "age years",
    "strain (bar)",
    "report no",
    "country",
    "verdict code",
    "failed",
    "failure known at",
)
BEGIN = dt.datetime(2023, 1, 2)
Row = dict[str, Any]


def rows(days: int = 90, per_day: int = 40, boilers: int = 120, seed: int = 3) -> list[Row]:
    """Inspections of some days: old boilers under high strain fail, coal ones more often."""
    random = np.random.default_rng(seed)
    fuel = random.choice(["gas", "oil", "coal"], boilers)
    age = random.integers(1, 40, boilers)
    found: list[Row] = []
    for day in range(days):
        for boiler in random.permutation(boilers)[:per_day]:
            moment = BEGIN + dt.timedelta(days=day, hours=int(random.integers(7, 18)))
            strain = float(np.round(random.normal(6, 1.5), 2))
            score = -2.2 + 0.09 * (age[boiler] - 15) + 0.8 * (strain - 6) + 1.2 * (fuel[boiler] == "coal")
            failed = bool(random.random() < 1 / (1 + np.exp(-score)))
            known = moment + dt.timedelta(days=1, hours=int(random.integers(0, 40)))
            found.append(
                {
                    "Boiler ID": f"B{boiler:03}",
                    "inspected at": moment.isoformat(sep=" "),
                    "fuel": fuel[boiler],
                    "age years": int(age[boiler]),
                    "strain (bar)": strain,
                    "report no": f"R-{len(found):06}",
                    "country": "NO",
                    "verdict code": "X9" if failed else "A1",
                    "failed": "yes" if failed else "no",
                    "failure known at": known.isoformat(sep=" "),
                }
            )
    return found


def write(path: Path, found: list[Row], change: Callable[[int, Row], None] = lambda _i, _r: None) -> Path:
    """The rows as CSV, each changed first."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        for number, row in enumerate(found):
            changed = dict(row)
            change(number, changed)
            writer.writerow(changed)
    return path
