"""What contracts hold back, by which rule, and what that means for what was accepted before."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypedDict

import pyarrow.compute as pc
from sqlalchemy import func, select

from ml_platform.config import UseCase
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


def holding_rules(platform: Platform, row: Acceptance) -> list[JudgedRule]:
    """The rules that hold a partition back; else those that could not be judged."""
    for state in ("FAIL", "UNKNOWN") if row.evidence_digest else ():
        rules = judged(platform, row.evidence_digest or "", state)
        mine = [r for r in rules if r["partition"] == row.partition and r["on_breach"] == "hold"]
        if mine:
            return mine
    return []


def why_held(platform: Platform, row: Acceptance) -> str:
    """The rules that hold a partition back, and what was seen."""
    mine = holding_rules(platform, row)
    return "; ".join(f"{r['rule']} ({r['reason']})" for r in mine) or "see its contract"


def held_back(platform: Platform, feed: str) -> list[Acceptance]:
    """The partitions of a feed whose last delivery was held back, in order."""
    last = select(func.max(Acceptance.id)).where(Acceptance.feed == feed).group_by(Acceptance.partition)
    query = (
        select(Acceptance)
        .where(Acceptance.id.in_(last), Acceptance.status == "held")
        .order_by(Acceptance.partition)
    )
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


@dataclass(frozen=True)
class HeldByRule:
    """What one rule holds back of a feed: partitions in order, and what was seen in the last of them."""

    rule: str
    partitions: tuple[str, ...]
    example: str


@dataclass(frozen=True)
class HeldFeed:
    """What is held back of a feed.

    Attributes:
        feed: Its name.
        partitions: Held partitions, in order.
        in_use: Those of them of which rows were accepted earlier: these stay visible.
        rules: By the rule that holds them; several may hold the same one.
    """

    feed: str
    partitions: tuple[str, ...]
    in_use: tuple[str, ...]
    rules: tuple[HeldByRule, ...]

    def sentence(self) -> str:
        """How many, by which rules, and what goes on being read."""
        names = ", ".join(r.rule for r in self.rules) or "its contract"
        told = f"{self.feed}: {len(self.partitions)} partition(s) are held back by {names}, {self.span()}"
        if not self.in_use:
            return f"{told}; no row of them is let in"
        return (
            f"{told}. Rows of {len(self.in_use)} of them were accepted earlier. They are not taken back: "
            "features and labels go on reading them as they were, and a diagnosis takes the newest for "
            "broken data"
        )

    def span(self) -> str:
        """The first and the last held partition."""
        first, last = self.partitions[0], self.partitions[-1]
        return first if first == last else f"{first} to {last}"

    def next_steps(self, use_case: UseCase) -> str:
        """What a person can do about it, a line for each way."""
        contract = use_case.contracts_dir / f"{self.feed}.yaml"
        again = f"ml-platform quarantine replay {self.feed}"
        ways = [
            f"a wrong rule: correct it in {contract}, raise the version, then `{again}`",
            "wrong data: let the source deliver them again",
        ]
        if self.in_use:
            ways.append(f"to take the rows back: `onBreach: quarantine` instead, then `{again} --accepted`")
        return "\n".join(f"  - {way}" for way in ways)


def held_feed(platform: Platform, feed: str, only: Container[str] | None = None) -> HeldFeed | None:
    """What is held back of a feed, or of some of its partitions; None where nothing is."""
    rows = [r for r in held_back(platform, feed) if only is None or r.partition in only]
    if not rows:
        return None
    seen: dict[str, list[JudgedRule]] = {}
    for row in rows:
        for rule in holding_rules(platform, row):
            seen.setdefault(rule["rule"], []).append(rule)
    keys = tuple(r.partition for r in rows)
    accepted = platform.ledger.heads(f"feed/{feed}/accepted", keys)
    rules = (HeldByRule(n, tuple(r["partition"] for r in s), s[-1]["reason"]) for n, s in seen.items())
    return HeldFeed(feed, keys, tuple(k for k in keys if k in accepted), tuple(rules))


def tell_newly_held(platform: Platform, use_case: UseCase, feed: str, partitions: Sequence[str]) -> list[str]:
    """Tell the owner of partitions that had been accepted and are held back now; what came of it."""
    held = held_feed(platform, feed, partitions)
    if held is None:
        return []
    # Importing Apprise costs .5 CPU-seconds; only an alert needs it.
    from ml_platform.lifecycle.alerts import Alert, send

    seen = [
        f"{r.rule}: {len(r.partitions)} partition(s), for example {r.partitions[-1]}: {r.example}"
        for r in held.rules
    ]
    body = "\n".join([held.sentence(), *seen, "next:", held.next_steps(use_case)])
    title = f"{feed}: {len(held.partitions)} accepted partition(s) are held back now"
    return send(Alert(title, body, use_case.config.owner))
