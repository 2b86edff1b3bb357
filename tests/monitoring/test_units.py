from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.units import UNITS, find_lattice, ks_distance, unit_changes
from ml_platform.statistics.finding import Finding

COLUMNS = ["heat", "whole_heat", "wind", "minutes", "rate"]


def key(day: int) -> str:
    return (date(2024, 3, 1) + timedelta(days=day)).isoformat()


def window(first: int, days: int, seed: int = 0, warmer: float = 0.0, rows: int = 300) -> pd.DataFrame:
    """Hourly readings of the day are shared by its rows; tenths of °C in °F, whole knots in mph."""
    rng = np.random.default_rng(1000 * seed + first)
    frames: list[dict[str, np.ndarray]] = []
    for day in range(first, first + days):
        celsius = np.round(rng.normal(rng.normal(12 + warmer, 4), 3, 24), 1)
        knots = np.maximum(np.round(rng.normal(rng.normal(9, 2), 4, 24)), 0)
        hour = rng.integers(0, 24, rows)
        frames.append(
            {
                "partition_key": np.full(rows, key(day)),
                "heat": np.round(celsius * 1.8 + 32, 2)[hour],
                "whole_heat": np.round(celsius * 1.8 + 32)[hour],
                "wind": np.round(knots * 1.15078, 5)[hour],
                "minutes": np.round(rng.lognormal(4, 0.4, rows)),
                "rate": rng.beta(5, 15, rows),
                "depot": rng.choice(["north", "south", "west"], rows),
            }
        )
    return pd.DataFrame({name: np.concatenate([f[name] for f in frames]) for name in frames[0]})


def changes(current: pd.DataFrame, seed: int = 0, segment: str | None = "depot") -> list[Finding]:
    settings = DiagnosisConfig()
    found = unit_changes(window(0, 28, seed), current, columns=COLUMNS, segment=segment, settings=settings)
    return list(found.failed)


CASES = [
    ("heat", "°F → °C", lambda x: (x - 32) / 1.8),
    ("heat", "°F → °C", lambda x: ((x - 32) / 1.8).round(1)),
    ("whole_heat", "°F → °C", lambda x: (x - 32) / 1.8),
    ("whole_heat", "°F → °C", lambda x: ((x - 32) / 1.8).round(1)),
    ("wind", "miles per hour → metres per second", lambda x: x * 0.44704),
    ("wind", "miles per hour → metres per second", lambda x: (x * 0.44704).round(2)),
    ("wind", "miles → kilometres", lambda x: x * 1.609344),
    ("minutes", "× 60", lambda x: x * 60),
    ("minutes", "÷ 60", lambda x: x / 60),
    ("rate", "× 100", lambda x: x * 100),
]


@pytest.mark.parametrize(("column", "name", "change"), CASES)
@pytest.mark.parametrize("segment", [None, "depot=west"])
def test_a_change_of_unit_is_named_with_its_place_and_first_day(column, name, change, segment) -> None:  # type: ignore[no-untyped-def]
    for seed in range(3):
        now = window(28, 7, seed)
        hit = now.partition_key >= key(31)
        if segment:
            hit &= now.depot == "west"
        now.loc[hit, column] = change(now.loc[hit, column])
        (found,) = changes(now, seed)
        assert (found.subject, found.facts["unit"]) == (column, name)
        assert (found.facts["first"], found.partitions[0]) == (key(31), key(31))
        assert found.facts["segment"] == segment


def test_whole_degrees_of_celsius_back_to_fahrenheit() -> None:
    reference, now = window(0, 28), window(28, 7)
    for frame in (reference, now):
        frame["heat"] = ((frame.heat - 32) / 1.8).round()
    now["heat"] = now.heat * 1.8 + 32
    found = unit_changes(reference, now, columns=["heat"], segment=None, settings=DiagnosisConfig()).failed
    assert [f.facts["unit"] for f in found] == ["°C → °F"]


def test_days_that_only_differ_have_no_other_unit() -> None:
    wrong = sum(len(changes(window(28, 7, s, warmer=w), s)) for s in range(10) for w in (-12, -6, 0, 6, 12))
    assert wrong == 0


def test_values_scaled_by_no_unit_are_none() -> None:
    now = window(28, 7)
    now["wind"] = now.wind * 1.3
    now["minutes"] = np.round(now.minutes * 2.2)
    now["rate"] = now.rate + 0.4
    assert changes(now) == []


def test_lattices() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(40, 90, 500).astype(float)
    lattice = find_lattice(whole)
    assert lattice is not None
    assert lattice.step == 1
    assert lattice.off_share(whole) == 0
    assert lattice.off_share((whole - 32) / 1.8) > 0.5
    knots = find_lattice(np.round(rng.integers(0, 30, 500) * 1.15078, 5))
    assert knots is not None
    assert knots.step == pytest.approx(1.15078, abs=1e-4)
    assert find_lattice(rng.normal(size=500)) is None
    assert find_lattice(np.full(500, 3.0)) is None


def test_maps_go_both_ways_and_the_distance_is_exact() -> None:
    from scipy.stats import ks_2samp

    assert len({u.name for u in UNITS}) == len(UNITS)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 20, 500).astype(float), rng.integers(3, 25, 300).astype(float)
    assert ks_distance(np.sort(a), b) == pytest.approx(ks_2samp(a, b).statistic)


def test_text_is_unknown() -> None:
    reference, now = window(0, 28), window(28, 7)
    text = unit_changes(reference, now, columns=["depot"], segment=None, settings=DiagnosisConfig())
    assert text.state == "UNKNOWN"
