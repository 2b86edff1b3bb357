"""Changes of unit: an affine map from a table restores both the shape of the values and their lattice.

Values are measured in whole steps of some unit: whole degrees, tenths of a degree, whole knots told as
1.15078 miles per hour. Days that are merely different stay on that lattice; values in another unit leave
it, or lie on one that is coarser by just the factor. So the lattice decides, and the shape (by the
Kolmogorov-Smirnov distance) confirms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.days import Days, by_day, is_numeric
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import Table

QUESTION = "units"
DISTANCE = 0.2
"""Least Kolmogorov-Smirnov distance to the reference at which a unit is suspected."""
RESTORED = 0.6
"""The map must bring the distance below this share of what it was."""
LATTICE_FALL = 0.3
"""And the share of values off the reference's lattice down by this much."""
COARSER = 2.0
"""Or the values' own step is at least so many times the reference's, by just the map's factor."""
CONTINUOUS_BEFORE, CONTINUOUS_AFTER, MAGNITUDE = 0.9, 0.2, 5.0
"""Without a lattice only a map is believed that turns quite other values into those of the reference."""
EVERYWHERE = 0.1
"""Share of values off the lattice, once taken back, up to which a map holds for all segments."""
FEWEST_READINGS = 5
"""Distinct values that a changed unit must have shown."""
FEWEST = 20
_ON = 0.1
"""Distance to a multiple, in steps, that still is on the lattice: new units are often rounded."""
_SAMPLE = 2000

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unit:
    """A change of unit: ``new = scale * old + offset``."""

    name: str
    scale: float
    offset: float = 0.0

    def back(self, values: Floats) -> Floats:
        """Values in the old unit."""
        restored: Floats = (values - self.offset) / self.scale
        return restored


def _pairs() -> Iterator[Unit]:
    factors = (
        ("miles per hour", "metres per second", 0.44704),
        ("knots", "metres per second", 0.514444),
        ("knots", "miles per hour", 1.150779),
        ("kilometres per hour", "metres per second", 1 / 3.6),
        ("miles", "kilometres", 1.609344),
        ("pounds", "kilograms", 0.45359237),
        ("inches", "millimetres", 25.4),
        ("inches", "centimetres", 2.54),
        ("feet", "metres", 0.3048),
        ("60ths", "wholes", 60.0),
        ("3600ths", "wholes", 3600.0),
        ("24ths", "wholes", 24.0),
        ("10ths", "wholes", 10.0),
        ("100ths", "wholes", 100.0),
        ("1000ths", "wholes", 1000.0),
    )
    for old, new, factor in factors:
        if new == "wholes":
            yield Unit(f"× {factor:g}", factor)
            yield Unit(f"÷ {factor:g}", 1 / factor)
        else:
            yield Unit(f"{old} → {new}", factor)
            yield Unit(f"{new} → {old}", 1 / factor)
    yield Unit("°F → °C", 1 / 1.8, -32 / 1.8)
    yield Unit("°C → °F", 1.8, 32.0)
    yield Unit("°C → K", 1.0, 273.15)
    yield Unit("K → °C", 1.0, -273.15)
    yield Unit("°F → K", 1 / 1.8, 273.15 - 32 / 1.8)
    yield Unit("K → °F", 1.8, 32 - 1.8 * 273.15)


UNITS = tuple(_pairs())
"""Maps that are tried; minutes to seconds is ``× 60``, percent to shares ``÷ 100``."""


@dataclass(frozen=True)
class Lattice:
    """Values ``origin + k * step``."""

    origin: float
    step: float

    def off_share(self, values: Floats) -> float:
        """Share of values that are not on it, a tenth of a step allowed for rounding; 0 without any."""
        places = (values - self.origin) / self.step
        return float((np.abs(places - np.round(places)) > _ON).mean()) if values.size else 0.0


@dataclass(frozen=True)
class _Match:
    """A map that restores the values: distance and share off the lattice, before and after."""

    unit: Unit
    distances: tuple[float, float]
    off: tuple[float, float]
    first: int
    rows: int
    other_step: bool

    @property
    def misfit(self) -> float:
        """Several maps may restore a lattice; the right one also restores its step."""
        return self.distances[1] + self.off[1] + 0.25 * self.other_step


def find_lattice(values: Floats) -> Lattice | None:
    """The coarsest step, from the gaps between distinct values, on which 98 % of the values lie.

    None for continuous values, for fewer than 20, and for a single one.
    """
    finite = values[np.isfinite(values)]
    if finite.size < FEWEST:
        return None
    finite = finite[:: max(finite.size // _SAMPLE, 1)]
    distinct, counts = np.unique(finite, return_counts=True)
    if distinct.size < 3:
        return None
    gaps = np.diff(distinct)
    origin = float(distinct[np.argmax(counts)])
    steps, often = np.unique(np.round(gaps, 6), return_counts=True)
    tried = np.unique(steps[np.argsort(-often)[:8]])[::-1]
    for step in tried[tried > 0]:
        lattice = Lattice(origin, float(step))
        if lattice.off_share(finite) <= 0.02:
            return lattice
    return None


def unit_changes(
    reference: Table,
    current: Table,
    *,
    columns: Sequence[str],
    segment: str | None,
    settings: DiagnosisConfig,
) -> Findings:
    """Did the unit of a column change, everywhere or at one value of a segment?

    A change lasts from some day to the end of the window. It is found where, over those days, the
    distance to the reference is at least .2, a map of :data:`UNITS` brings it below .6 of that, *and*
    puts the values back on the lattice of the reference (.3 fewer off it, or the step that was coarser
    by just the map's factor). Columns without a lattice need a distance of .9 brought below
    .2, and another magnitude.

    Args:
        reference: ``partition_key``, the columns and the segment.
        current: The same columns: the days to judge.
        columns: Numeric columns; others are UNKNOWN.
        segment: Categorical column whose values are judged apart; none when None.
        settings: ``segment_minimum_rows``: smaller values of the segment are left out.

    Returns:
        Per column one finding ``unit`` that PASSes, or one per place where the unit changed: estimate is
        the distance before, facts are ``unit``, ``scale``, ``offset``, ``first``, ``segment``,
        ``distance_after``, ``off_lattice_before`` and ``off_lattice_after``.

    Raises:
        IntegrityError: A column is missing.
    """
    needed = [*columns, *([segment] if segment else [])]
    before, now = by_day(reference, needed, "reference rows"), by_day(current, needed, "current rows")
    if not before.keys or not now.keys:
        return Findings.unknown(QUESTION, f"there are no {'current' if before.keys else 'reference'} rows")
    groups = _segments(before, now, segment, settings.segment_minimum_rows)
    return Findings.of(QUESTION, [f for c in columns for f in _column(before, now, c, groups)])


def ks_distance(ordered: Floats, values: Floats) -> float:
    """Kolmogorov-Smirnov distance of values to a sorted sample; 0 when either is empty."""
    if not ordered.size or not values.size:
        return 0.0
    points, counts = np.unique(values, return_counts=True)
    upto = counts.cumsum() / values.size
    below = upto - counts / values.size
    right = np.searchsorted(ordered, points, side="right") / ordered.size
    left = np.searchsorted(ordered, points, side="left") / ordered.size
    return float(max(np.abs(upto - right).max(), np.abs(below - left).max()))


def _segments(before: Days, now: Days, segment: str | None, least: int) -> list[tuple[str, Flags, Flags]]:
    """Name, reference rows and current rows of each value with enough rows in the current window."""
    if segment is None:
        return []
    values = now.frame[segment].value_counts()
    sides = [d.frame[segment].to_numpy(dtype=object) for d in (before, now)]
    return [
        (f"{segment}={value}", np.asarray(sides[0] == value), np.asarray(sides[1] == value))
        for value, count in values.items()
        if count >= least
    ]


def _column(
    before: Days, now: Days, column: str, groups: Sequence[tuple[str, Flags, Flags]]
) -> list[Finding]:
    if not is_numeric(before.frame, column) or not is_numeric(now.frame, column):
        return [Finding("unit", column, "UNKNOWN", "the column is not numeric in both windows")]
    old, new = before.numbers(column), now.numbers(column)
    known = ~np.isnan(new)
    everywhere = _match(old, new[known], now.of[known])
    # One map that puts (nearly) all rows back leaves no row to another segment.
    if everywhere is not None and (everywhere.off[1] <= EVERYWHERE or not groups):
        return [_found(column, everywhere, now, None)]
    parts: dict[str, _Match] = {}
    for name, mine, ours in groups:
        use = ours & known
        found = _match(old[mine], new[use], now.of[use])
        if found is not None:
            parts[name] = found
    if parts:
        return [_found(column, match, now, name) for name, match in parts.items()]
    if everywhere is not None:
        return [_found(column, everywhere, now, None)]
    distance = ks_distance(np.sort(_thin(old)), new[known])
    return [
        Finding(
            statistic="unit",
            subject=column,
            state="PASS",
            detail=f"the distance to the reference is {distance:.2f}, and no other unit explains it"
            if distance >= DISTANCE
            else f"the distance to the reference is {distance:.2f}",
            estimate=distance,
            floor=DISTANCE,
            blocks=len(before.keys) + len(now.keys),
            rows=int(known.sum()),
        )
    ]


def _thin(values: Floats) -> Floats:
    """At most a few thousand finite values, evenly from all days."""
    finite = values[~np.isnan(values)]
    return finite[:: max(finite.size // (2 * _SAMPLE), 1)]


def _match(old: Floats, new: Floats, of: npt.NDArray[np.int64]) -> _Match | None:
    """The map that restores the values from some day to the last one best; None where none does."""
    sample = np.sort(_thin(old))
    if min(sample.size, new.size) < FEWEST:
        return None
    numbers, starts = np.unique(of, return_index=True)
    days = dict(zip(numbers.tolist(), np.split(new, starts[1:]), strict=True))
    last = days[int(of[-1])]
    far = ks_distance(sample, last)
    if far < DISTANCE / 2:
        return None
    lattice = find_lattice(_thin(old))
    own = None if lattice is None else find_lattice(last)
    if lattice is None:
        suspect = far >= CONTINUOUS_BEFORE and _another_magnitude(sample, last)
    else:
        coarse = own is not None and _step_ratio(own, lattice) >= COARSER
        suspect = coarse or lattice.off_share(last) >= LATTICE_FALL
    if not suspect:
        return None
    found = [m for u in UNITS if (m := _try(u, sample, lattice, own, days)) is not None]
    return min(found, key=lambda m: m.misfit, default=None)


def _another_magnitude(old: Floats, new: Floats) -> bool:
    """Without a lattice only a jump of magnitude tells a unit from a season: smoothed rates may halve."""
    before, now = abs(float(np.median(old))), abs(float(np.median(new)))
    return min(before, now) == 0 or max(before, now) / min(before, now) >= MAGNITUDE


def _try(
    unit: Unit, sample: Floats, lattice: Lattice | None, own: Lattice | None, days: dict[int, Floats]
) -> _Match | None:
    def off(values: Floats) -> float:
        return lattice.off_share(values) if lattice is not None else 0.0

    coarser = own is not None and lattice is not None and _coarser(own, lattice, unit)

    def restores(values: Floats) -> bool:
        """Whether the map explains the values of one day."""
        back = unit.back(values)
        if lattice is None:
            return _continuous(ks_distance(sample, values), ks_distance(sample, back))
        left = off(back)
        return left <= LATTICE_FALL and (coarser or off(values) - left >= LATTICE_FALL)

    first: int | None = None
    for day, values in reversed(days.items()):
        if not restores(values):
            break
        first = day
    if first is None:
        return None
    changed = np.concatenate([values for day, values in days.items() if day >= first])
    # Rows of a source share a day's reading: one bad day is one value, however many rows repeat it.
    if changed.size < FEWEST or np.unique(changed).size < FEWEST_READINGS:
        return None
    before, after = ks_distance(sample, changed), ks_distance(sample, unit.back(changed))
    if before < DISTANCE or after >= RESTORED * before:
        return None
    shares = off(changed), off(unit.back(changed))
    other = own is not None and lattice is not None and abs(_step_ratio(own, lattice) / unit.scale - 1) > 0.02
    return _Match(unit, (before, after), shares, first, changed.size, other)


def _coarser(own: Lattice, lattice: Lattice, unit: Unit) -> bool:
    """Whether the values' own step is the reference's times the factor: whole minutes told in seconds."""
    ratio = _step_ratio(own, lattice)
    return ratio >= COARSER and abs(ratio / unit.scale - 1) < 0.01


def _step_ratio(own: Lattice, lattice: Lattice) -> float:
    return own.step / lattice.step


def _continuous(before: float, after: float) -> bool:
    return before >= CONTINUOUS_BEFORE and after <= CONTINUOUS_AFTER


def _found(column: str, match: _Match, now: Days, segment: str | None) -> Finding:
    first = now.keys[match.first]
    place = f" at {segment}" if segment else ""
    return Finding(
        statistic="unit",
        subject=column,
        state="FAIL",
        detail=f"{match.unit.name}{place} since {first}: taken back, the distance to the reference falls "
        f"from {match.distances[0]:.2f} to {match.distances[1]:.2f}, the share off their lattice from "
        f"{match.off[0]:.0%} to {match.off[1]:.0%}",
        estimate=match.distances[0],
        floor=DISTANCE,
        blocks=len(now.keys),
        rows=match.rows,
        partitions=now.keys[match.first :],
        facts={
            "unit": match.unit.name,
            "scale": match.unit.scale,
            "offset": match.unit.offset,
            "first": first,
            "segment": segment,
            "distance_after": match.distances[1],
            "off_lattice_before": match.off[0],
            "off_lattice_after": match.off[1],
        },
    )
