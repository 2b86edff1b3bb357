"""Why a contract holds a partition back, read from what acceptance found."""

from __future__ import annotations

from typing import TypedDict

import pyarrow.compute as pc

from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.recent import RecentTables
from ml_platform.storage.tables import Acceptance

_EVIDENCE = RecentTables(64 << 20)
"""What acceptance found; each day looks at that of the last ones again."""


class JudgedRule(TypedDict):
    """What a rule said of one partition."""

    partition: str
    rule: str
    on_breach: str
    reason: str


def judged(platform: Platform, digest: str, state: str = "FAIL") -> list[JudgedRule]:
    """The rules that came to a state in one acceptance, for each partition of it."""
    table = _EVIDENCE.table(platform.lake, digest)
    table = table.filter(pc.equal(table["state"], state))
    rows: list[JudgedRule] = table.select(["partition", "rule", "on_breach", "reason"]).to_pylist()
    return rows


def why_held(platform: Platform, row: Acceptance) -> str:
    """The rules that hold a partition back, and what was seen; else those that could not be judged."""
    for state in ("FAIL", "UNKNOWN") if row.evidence_digest else ():
        rules = judged(platform, row.evidence_digest or "", state)
        mine = [r for r in rules if r["partition"] == row.partition and r["on_breach"] == "hold"]
        if mine:
            return "; ".join(f"{r['rule']} ({r['reason']})" for r in mine)
    return "see its contract"
