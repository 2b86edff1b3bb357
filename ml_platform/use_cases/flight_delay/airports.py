"""Airports and their time zones, with the four that the file forgets."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

PUERTO_RICO = "America/Puerto_Rico"
FORGOTTEN: Mapping[str, str] = {
    "BQN": "Rafael Hernandez Airport",
    "PSE": "Mercedita Airport",
    "SJU": "Luis Munoz Marin International Airport",
    "STT": "Cyril E King Airport",
}
"""Destinations of 7,602 flights that are missing from the file; all keep Atlantic time all year."""


def completed(airports: pa.Table) -> pa.Table:
    """The file's airports and, where it lacks them, the forgotten ones; ``source`` tells them apart."""
    known = set(airports["faa"].to_pylist())
    added = [code for code in FORGOTTEN if code not in known]
    rows = pa.table(
        {
            "faa": added,
            "name": [FORGOTTEN[code] for code in added],
            "tz": pa.array([-4] * len(added), pa.int64()),
            "dst": ["N"] * len(added),
            "tzone": [PUERTO_RICO] * len(added),
            "source": ["feed code"] * len(added),
        }
    )
    named = airports.append_column("source", pa.array(["file"] * airports.num_rows, pa.string()))
    return pa.concat_tables([named, rows], promote_options="permissive").combine_chunks()


def zone_by_airport(airports: pa.Table) -> dict[str, str]:
    """IANA zone by airport code, for those whose zone is known."""
    table = completed(airports)
    pairs = zip(table["faa"].to_pylist(), table["tzone"].to_pylist(), strict=True)
    return {code: zone for code, zone in pairs if code and zone}
