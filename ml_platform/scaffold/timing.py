"""Partition width, maturity, windows and the days that are played, from when rows and labels were known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from ml_platform.errors import ConfigError
from ml_platform.partitions import PartitionScheme, Width, key_time
from ml_platform.serving.answers import in_full

_FEWEST_ROWS = 10
_FEWEST: dict[Width, int] = {"daily": 40, "weekly": 30, "monthly": 24, "hourly": 72}
_FEWEST_TO_TRAIN = 8
_FEWEST_TO_GATE = 5
_LONGEST_TRAIN: dict[Width, int] = {"hourly": 90 * 24, "daily": 365, "weekly": 365, "monthly": 365}
_LONGEST_GATE: dict[Width, int] = {"hourly": 14 * 24, "daily": 28, "weekly": 28, "monthly": 28}
_MOST_SERVED: dict[Width, int] = {"hourly": 4 * 24, "daily": 14, "weekly": 14, "monthly": 14}
_FILLED = 0.5
"""Partitions of a width are wider than rows are apart where at least this share of them has a row."""
_CERTAIN = 0.999
"""Labels that are later than this share of all are late ones, which a careful window does not wait for."""


@dataclass(frozen=True)
class Windows:
    """Numbers of partitions, and which are played.

    Attributes:
        maturity: Partitions until every label is known.
        train, gate: Windows of training and of the gates.
        minimum_train: Fewest training partitions.
        block: Neighbouring partitions that count as one: the hours of a day share its shocks.
        served: First and last partition that the first champion serves.
        promote_at, judge_at: Where the clock stands at the first promotion, and at the look back.
    """

    maturity: int
    train: int
    gate: int
    minimum_train: int
    block: int
    served: tuple[str, str]
    promote_at: datetime
    judge_at: datetime


def choose_width(events: Sequence[datetime], delay: timedelta | None, zone: str) -> tuple[Width, str]:
    """The width of partitions and why; the finest that has rows enough and enough of which to judge.

    Raises:
        ConfigError: The data cover too little time for any.
    """
    found: list[tuple[Width, int, int]] = []
    suited: list[tuple[Width, str]] = []
    in_time: list[tuple[Width, str]] = []
    widths: tuple[Width, ...] = ("daily", "weekly", "monthly", "hourly")
    for width in widths:
        scheme = scheme_of(width, zone, min(events), max(events))
        counts = Counter(scheme.key_at(e) for e in events)
        median = sorted(counts.values())[len(counts) // 2]
        if len(counts) < _FILLED * (scheme.distance(min(counts), max(counts)) + 1):
            continue
        found.append((width, len(counts), median))
        if len(counts) >= _FEWEST[width] and median >= _FEWEST_ROWS:
            suited.append((width, f"{len(counts)} {width} partitions with a median of {median} rows"))
            # What comes within half a partition is mostly known before that is over, and needs no prediction.
            if delay is None or delay >= timedelta(days=scheme.days) / 2:
                in_time.append(suited[-1])
    if suited:
        return (in_time or suited)[0]
    usable = [(w, n, m) for w, n, m in found if n >= 20 and m >= 2]
    if usable:
        width, count, median = max(usable, key=lambda u: u[2])
        return width, f"{count} {width} partitions with a median of only {median} rows: bounds will be wide"
    _require_together(events)
    raise ConfigError(
        f"{len(events):,} rows from {min(events):%Y-%m-%d} to {max(events):%Y-%m-%d} are too little history: "
        "no width gives 20 partitions",
        where="the column of the event time",
        fix="give a file with a longer history",
    )


def _require_together(events: Sequence[datetime]) -> None:
    """Name rows that lie far from all others: one wrong year makes any history thin."""
    order = sorted(range(len(events)), key=lambda i: events[i])
    gaps = [(events[b] - events[a], n) for n, (a, b) in enumerate(pairwise(order), 1)]
    gap, cut = max(gaps, default=(timedelta(0), 0))
    few = min(order[:cut], order[cut:], key=len)
    rest = max(order[:cut], order[cut:], key=len)
    if not few or len(few) > 0.01 * len(events) or gap <= events[rest[-1]] - events[rest[0]]:
        return
    shown = ", ".join(f"row {i + 1}: {events[i]:%Y-%m-%d %H:%M}" for i in few[:3])
    raise ConfigError(
        f"{len(few)} row(s) lie {in_full(timedelta(days=gap.days))} from all others ({shown})",
        where="the column of the event time",
        fix="correct their times, or leave them out",
    )


def scheme_of(width: Width, zone: str, first: datetime, last: datetime) -> PartitionScheme:
    """Partitions from the first row's to the last row's."""
    zone = "UTC" if width == "hourly" else zone
    open_ended = PartitionScheme(width, zone, date(1970, 1, 5) if width == "weekly" else date(1970, 1, 1))
    begin = key_time(open_ended.key_at(first)).date()
    end = open_ended.begins(open_ended.shift(open_ended.key_at(last), 1)) - timedelta(microseconds=1)
    return PartitionScheme(width, zone, begin, end.astimezone(open_ended.zone).date())


def maturity_of(
    scheme: PartitionScheme, events: Sequence[datetime], known: Sequence[datetime]
) -> tuple[int, int]:
    """Partitions until (nearly) all labels are known, and how many labels come later still."""
    waits = sorted(
        scheme.distance(scheme.key_at(e), scheme.key_at(k)) + 1 for e, k in zip(events, known, strict=True)
    )
    wait = waits[min(len(waits) - 1, math.ceil(_CERTAIN * len(waits)) - 1)]
    return max(1, wait), sum(w > wait for w in waits)


def choose_windows(scheme: PartitionScheme, maturity: int, *, at_start: bool = False) -> Windows:
    """Windows that fit into the history, with some partitions left to serve and to look back on.

    The history is train, gate, the wait for labels, the served partitions, and the wait for theirs. Where
    partitions are scored ``at_start``, the first champion is trained a partition earlier.

    Raises:
        ConfigError: It is too short.
    """
    first, last = scheme.first_key, scheme.last_key
    assert last is not None
    total = scheme.distance(first, last) + 1
    served = min(_MOST_SERVED[scheme.width], max(2, (total - 2 * maturity) // 6))
    usable = total - 2 * maturity - served + (0 if at_start else 1)
    if usable < _FEWEST_TO_TRAIN + _FEWEST_TO_GATE:
        needed = _FEWEST_TO_TRAIN + _FEWEST_TO_GATE + 2 * maturity + 1
        raise ConfigError(
            f"{total} {scheme.width} partitions are too little history: labels take {maturity}, so that "
            f"{needed} are needed to train, to judge, to serve and to look back",
            where=f"{first} to {last}",
            fix="give a longer history, or a narrower --width",
        )
    day = span(scheme, 1)
    block = day if usable >= (_FEWEST_TO_TRAIN + _FEWEST_TO_GATE) * day else 1
    gate = max(_FEWEST_TO_GATE * block, round(usable * 0.25 / block) * block)
    gate = min(_LONGEST_GATE[scheme.width], gate)
    train = min(_LONGEST_TRAIN[scheme.width], usable - gate)
    begin = scheme.shift(last, 1 - maturity - served)
    end = scheme.shift(begin, served - 1)
    return Windows(
        maturity=maturity,
        train=train,
        gate=gate,
        minimum_train=max(2, train // 2),
        block=block,
        served=(begin, end),
        promote_at=_over(scheme, scheme.shift(begin, -1) if at_start else begin),
        judge_at=_over(scheme, last),
    )


def span(scheme: PartitionScheme, days: float, least: int = 1) -> int:
    """Partitions that take about so many days."""
    return max(least, round(days / scheme.days))


def is_live(scheme: PartitionScheme, last: datetime) -> bool:
    """Whether the data reach up to the present, so that the wall clock can be theirs."""
    return datetime.now(UTC) - last < 3 * timedelta(days=scheme.days)


def gaps(scheme: PartitionScheme, events: Sequence[datetime]) -> list[str]:
    """Partitions without a row."""
    there = sorted({scheme.key_at(e) for e in events})
    return [
        k
        for one, other in pairwise(there)
        for k in scheme.keys(scheme.shift(one, 1), scheme.shift(other, -1))
        if scheme.distance(one, other) > 1
    ]


def _over(scheme: PartitionScheme, key: str) -> datetime:
    return scheme.partition(key).end.astimezone(scheme.zone)
