"""Writes parcels.csv, the made-up file of the tutorial: parcels handed in, and whether they came late.

python docs/tutorial/parcels.py parcels.csv
"""

from __future__ import annotations

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

COLUMNS = (
    "parcel_no",
    "handed_in_at",
    "sender",
    "depot",
    "service",
    "weight_kg",
    "distance_km",
    "late",
    "delivered_at",
)
FIRST = datetime(2024, 1, 8, tzinfo=ZoneInfo("Europe/Berlin"))
DEPOTS, SERVICES = ("north", "east", "south", "west"), ("standard", "express", "economy")


def rows(days: int = 120, per_day: int = 60, seed: int = 13) -> list[dict[str, object]]:
    """Parcels of some days. Heavy, far and economy ones come late; depots have good and bad weeks."""
    random = np.random.default_rng(seed)
    senders = [f"S{n:03}" for n in range(80)]
    habit = random.normal(0, 0.3, len(senders))
    found: list[dict[str, object]] = []
    week = np.zeros(len(DEPOTS))
    for day in range(days):
        if day % 7 == 0:
            week = 0.5 * week + random.normal(0, 0.12, len(DEPOTS))
        for _ in range(per_day):
            sender, depot, service = random.integers(80), random.integers(4), random.integers(3)
            weight, distance = float(random.gamma(2, 2.5)), float(random.gamma(2, 120))
            odds = -3.2 + 0.16 * weight + 0.004 * distance + (-1.0, 0.9)[int(service == 2)] * (service > 0)
            late = bool(random.random() < 1 / (1 + np.exp(-(odds + week[depot] + habit[sender]))))
            moment = FIRST + timedelta(days=day, minutes=int(random.integers(7 * 60, 19 * 60)))
            # A parcel is on its way for a night at least: none is delivered before its day is over.
            took = timedelta(hours=float(random.gamma(4, 6)) + 40 * late + 18)
            found.append(
                {
                    "parcel_no": len(found) + 1,
                    "handed_in_at": moment.isoformat(),
                    "sender": senders[sender],
                    "depot": DEPOTS[depot],
                    "service": SERVICES[service],
                    "weight_kg": round(weight, 2),
                    "distance_km": round(distance),
                    "late": "yes" if late else "no",
                    "delivered_at": (moment + took).isoformat(timespec="seconds"),
                }
            )
    return found


def main(path: Path) -> None:
    """Write the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "parcels.csv"))
