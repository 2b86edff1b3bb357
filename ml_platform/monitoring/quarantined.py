"""Rows that a contract sent to quarantine: how many of each day's delivery, overall and by segment.

What is quarantined never reaches a feature, so that nothing that looks at accepted rows can see it: a column
that must have values loses them, and the rows are gone. The rule is that of null rates, on one feed and one
day; pooled over feeds and days, as it was before, a day with 30 % was seen on the fifth of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml_platform.monitoring.break_rules import null_breaks, null_limit
from ml_platform.monitoring.days import Flags, Integers
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding

FEWEST_PAST = 4
"""With fewer earlier days there is no usual share."""


@dataclass(frozen=True)
class Delivered:
    """Rows by day.

    Attributes:
        keys: Partitions, ascending.
        landed: (days,) rows delivered.
        quarantined: (days,) rows of them in quarantine.
    """

    keys: tuple[str, ...]
    landed: Integers
    quarantined: Integers

    @property
    def shares(self) -> Floats:
        """(days,) share in quarantine, 0 for days without rows."""
        shares: Floats = self.quarantined / np.maximum(self.landed, 1)
        return shares

    def broken(self, past: Delivered, fallback: float) -> Flags:
        """Days above ``max(worst past day, .5 %) + 5`` points with a binomial p-value below 1e-4.

        Args:
            past: Days before.
            fallback: Share that breaks where those are fewer than :data:`FEWEST_PAST`.
        """
        if len(past.keys) < FEWEST_PAST:
            broken: Flags = self.shares > fallback
            return broken
        base, limit = null_limit(past.quarantined, np.maximum(past.landed, 1))
        return null_breaks(self.quarantined, self.landed, base, limit)


def quarantined_share(
    feed: str,
    past: Delivered,
    now: Delivered,
    *,
    fallback: float,
    segments: Mapping[str, tuple[Delivered, Delivered]] | None = None,
    least: int = 200,
    rules: Mapping[str, str] | None = None,
) -> Finding:
    """Is more of a feed's day in quarantine than on any day before?

    Args:
        feed: Its name, the subject.
        past: Days before the current ones, without those that were broken.
        now: Days to judge.
        fallback: Share that breaks where too few days came before.
        segments: ``column=value`` to the same two, of the rows with that value.
        least: Rows of a day from which a segment is judged.
        rules: The rule that most rows of a day broke, by day.

    Returns:
        ``quarantined_share`` with the days that break. Segments that do are the fact ``segments``.
    """
    bad = now.broken(past, fallback)
    apart: dict[str, float] = {}
    keys = {k for k, flag in zip(now.keys, bad, strict=True) if flag}
    for name, (before, current) in (segments or {}).items():
        found = current.broken(before, fallback) & (current.landed >= least)
        if found.any():
            apart[name] = round(float(current.shares[found].max()), 4)
            keys |= {k for k, flag in zip(current.keys, found, strict=True) if flag}
    worst = int(np.argmax(now.shares))
    usual = float(past.shares.max(initial=0.0))
    return Finding(
        statistic="quarantined_share",
        subject=feed,
        state="FAIL" if keys else "PASS",
        # Where the whole day breaks, its segments do too and say nothing more.
        detail=_sentence(feed, now, worst, usual, len(past.keys), {} if bad.any() else apart, rules or {}),
        estimate=float(now.shares[worst]),
        floor=_limit(past, fallback),
        blocks=len(past.keys) + len(now.keys),
        rows=int(now.landed.sum()),
        partitions=tuple(sorted(keys)),
        facts={"segments": dict(sorted(apart.items(), key=lambda i: -i[1]))} if apart else {},
    )


def _limit(past: Delivered, fallback: float) -> float:
    if len(past.keys) < FEWEST_PAST:
        return fallback
    return null_limit(past.quarantined, np.maximum(past.landed, 1))[1]


def _sentence(
    feed: str,
    now: Delivered,
    worst: int,
    usual: float,
    days: int,
    apart: Mapping[str, float],
    rules: Mapping[str, str],
) -> str:
    key = now.keys[worst]
    rule = f", most of them by {rules[key]}" if key in rules else ""
    before = f"at most {usual:.1%} of the {days} before" if days else "and none came before"
    said = (
        f"{now.shares[worst]:.1%} of the {now.landed[worst]:,} rows of {feed} for {key} are in "
        f"quarantine{rule}; {before}"
    )
    if apart:
        name = max(apart, key=lambda n: apart[n])
        said = f"{apart[name]:.1%} at {name}; overall {said}"
    return said
