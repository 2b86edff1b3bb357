import dataclasses
import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.model_config import FeatureConfig, MonitoringConfig
from ml_platform.monitoring.daily import daily_distance
from ml_platform.monitoring.drift import ColumnDrift, DriftReport, drift

SETTINGS = MonitoringConfig()
FEATURES = [
    FeatureConfig(name="weight"),
    FeatureConfig(name="rain"),
    FeatureConfig(name="hour"),
    FeatureConfig(name="depot", kind="categorical"),
    FeatureConfig(name="age", runs_with_time=True),
]


def window(first: int, days: int, *, shock: float = 0.5, rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Parcels whose rain is shared by all of a day; its days differ by ``shock`` row deviations."""
    rng = np.random.default_rng(seed + first)
    return pd.concat([_day(rng, day, shock, rows) for day in range(first, first + days)], ignore_index=True)


def _day(rng: np.random.Generator, day: int, shock: float, rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "partition_key": (date(2024, 3, 1) + timedelta(days=day)).isoformat(),
            "weight": rng.lognormal(1, 0.5, rows),
            "rain": rng.normal(rng.normal(0, shock), 1, rows),
            "hour": rng.integers(0, 24, rows),
            "depot": rng.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2]),
            "age": rng.normal(day // 28 * 3, 1, rows),
            "probability": rng.beta(2, 5, rows),
        }
    )


def compare(current: pd.DataFrame, reference: pd.DataFrame | None = None) -> DriftReport:
    before = window(0, 28) if reference is None else reference
    return drift(before, current, FEATURES, ["probability"], SETTINGS)


def test_drift_between_days_within_noise_does_not_alarm() -> None:
    alarms, row_level = 0, 0
    for seed in range(10):
        report = compare(window(28, 7, seed=100 * seed), window(0, 28, seed=100 * seed))
        alarms += bool(report.alarms)
        row_level += report.column("rain").information.ks_p_value < 0.01
    assert row_level >= 8
    assert alarms == 0


def test_an_injected_shift_is_found_and_measured() -> None:
    current = window(28, 7)
    current["weight"] += 1.0
    report = compare(current)
    column = report.column("weight")
    assert report.alarms == ["weight"]
    assert report.state == column.state == column.values.state == "FAIL"
    assert column.values.effect == pytest.approx(1 / window(0, 28)["weight"].std(), rel=0.1)
    assert column.values.low < column.values.effect < column.values.high
    assert column.information.wasserstein == pytest.approx(column.values.effect, rel=0.1)


def test_a_spread_that_grows_around_the_same_mean_is_found() -> None:
    current = window(28, 7)
    current["weight"] = 3.1 + (current["weight"] - current["weight"].mean()) * 2
    column = compare(current).column("weight")
    assert column.state == "FAIL"
    assert column.values.statistic == "spread"


def test_a_shift_of_the_score_is_found() -> None:
    current = window(28, 7)
    current["probability"] = current["probability"] ** 0.6
    assert compare(current).alarms == ["probability"]


def test_a_small_shift_is_significant_but_no_alarm() -> None:
    before, current = window(0, 28, rows=3000), window(28, 7, rows=3000)
    current["weight"] += 0.1 * before["weight"].std()
    column = compare(current, before).column("weight")
    assert column.values.p_adjusted < 0.01
    assert column.state == "PASS"


def test_days_that_swing_widely_are_never_cleared_by_a_statistic_that_does_not() -> None:
    def rain(seed: int) -> ColumnDrift:
        before, current = (window(f, d, shock=0.25, rows=860, seed=seed) for f, d in ((0, 28), (28, 7)))
        return compare(current, before).column("rain")

    columns = [rain(seed) for seed in range(0, 600, 100)]
    assert {c.values.statistic for c in columns} == {"mean", "spread"}
    assert {c.state for c in columns} == {"UNDERPOWERED"}
    assert all(c.values.minimal_detectable_effect > SETTINGS.drift_effect for c in columns)


def test_what_runs_with_time_is_reported_and_never_alarms() -> None:
    report = compare(window(28, 7))
    assert report.column("age").values.state == "FAIL"
    assert report.column("age").values.effect > 1
    assert not report.column("age").deciding
    assert report.alarms == []
    assert report.state != "FAIL"


def test_a_changed_mix_of_categories_is_found() -> None:
    current = window(28, 7)
    current.loc[(current.depot == "north") & (np.arange(len(current)) % 3 == 0), "depot"] = "west"
    column = compare(current).column("depot")
    assert column.state == "FAIL"
    assert column.values.statistic == "west"
    assert column.values.reference == pytest.approx(0.2, abs=0.02)
    assert column.breaks == ()


def test_an_unseen_category_is_found_on_its_first_day() -> None:
    current = window(28, 7)
    late = np.flatnonzero(current.partition_key == "2024-04-04")[:12]
    current.loc[late, "depot"] = "harbour"
    (found,) = compare(current).column("depot").breaks
    assert (found.kind, found.partition_key, found.measured) == ("new categories", "2024-04-04", 0.04)
    assert "harbour" in found.detail


def test_a_stray_unseen_value_is_no_break() -> None:
    current = window(28, 7)
    current.loc[[5], "depot"] = "harbour"
    column = compare(current).column("depot")
    assert (column.state, column.breaks) == ("PASS", ())


@pytest.mark.parametrize("column", ["weight", "depot"])
def test_a_null_rate_jump_is_found_on_a_single_day(column: str) -> None:
    current = window(28, 7)
    current.loc[(current.partition_key == "2024-04-03") & (np.arange(len(current)) % 5 < 2), column] = None
    report = compare(current)
    (found,) = report.column(column).breaks
    assert report.alarms == [column]
    assert (found.kind, found.partition_key) == ("null rate", "2024-04-03")
    assert found.measured == pytest.approx(0.4)


def test_nulls_that_creep_up_are_found_by_days() -> None:
    before, current = window(0, 28, rows=2000), window(28, 7, rows=2000)
    rng = np.random.default_rng(3)
    before.loc[rng.random(len(before)) < 0.02, "rain"] = np.nan
    current.loc[rng.random(len(current)) < 0.07, "rain"] = np.nan
    column = compare(current, before).column("rain")
    assert column.breaks == ()
    assert column.nulls.state == column.state == "FAIL"
    assert column.nulls.current == pytest.approx(0.07, abs=0.02)


def test_a_null_rate_that_was_always_there_is_no_break() -> None:
    before, current = window(0, 28), window(28, 7)
    for frame in (before, current):
        frame.loc[np.arange(len(frame)) % 2 == 0, "rain"] = np.nan
    column = compare(current, before).column("rain")
    assert column.breaks == ()
    assert column.nulls.state == "PASS"


def test_fewer_than_eight_days_are_underpowered_but_a_break_still_counts() -> None:
    current = window(28, 2)
    current["weight"] += 50
    current.loc[:200, "rain"] = np.nan
    report = compare(current, window(0, 5))
    assert report.column("weight").state == "UNDERPOWERED"
    assert report.alarms == ["rain"]


def test_missing_evidence_is_unknown() -> None:
    current = window(28, 7)
    current["hour"] = np.nan
    report = compare(current.drop(columns="weight"), None)
    assert report.column("weight").state == "UNKNOWN"
    assert report.column("hour").values.state == "UNKNOWN"
    assert report.column("hour").state == "FAIL"
    assert compare(window(28, 7).drop(columns="weight")).state == "UNKNOWN"
    assert compare(window(28, 7).head(0)).state == "UNKNOWN"


def test_a_window_without_partitions_is_refused() -> None:
    with pytest.raises(IntegrityError, match="partition_key"):
        compare(window(28, 7).drop(columns="partition_key"))


@pytest.mark.parametrize(("before", "after"), [(0.06, 0.09), (0.46, 0.54), (0.91, 0.94)])
def test_a_flag_whose_share_moves_a_little_does_not_alarm(before: float, after: float) -> None:
    def flags(first: int, days: int, share: float) -> pd.DataFrame:
        frame = window(first, days)
        return frame.assign(hour=(np.arange(len(frame)) % 100 < share * 100).astype(int))

    column = compare(flags(28, 7, after), flags(0, 28, before)).column("hour")
    assert column.state == "PASS"
    assert abs(column.values.effect) < SETTINGS.drift_effect


def test_a_constant_feature_that_stays_constant_passes() -> None:
    report = compare(window(28, 7).assign(hour=3), window(0, 28).assign(hour=3))
    assert report.column("hour").state == "PASS"
    assert compare(window(28, 7).assign(hour=4), window(0, 28).assign(hour=3)).alarms == ["hour"]


def test_arrow_tables_in_any_order_and_json() -> None:
    before, current = window(0, 28), window(28, 7)
    shuffled = current.sample(frac=1, random_state=1)
    report = drift(
        pa.Table.from_pandas(before), pa.Table.from_pandas(shuffled), FEATURES, ["probability"], SETTINGS
    )
    assert report.alarms == compare(current).alarms
    assert report.column("depot") == compare(current).column("depot")
    assert json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))["state"] == report.state


def test_the_distance_of_a_day_shows_the_day_that_moved() -> None:
    current = window(28, 7)
    moved = current.partition_key == "2024-04-01"
    current.loc[moved, "weight"] += 5
    current.loc[moved, "depot"] = "harbour"
    current.loc[moved & (np.arange(len(current)) % 2 == 0), "rain"] = np.nan
    shown = daily_distance(window(0, 28), current, FEATURES, ["probability"])
    place = shown.partitions.index("2024-04-01")
    for name in ("weight", "depot"):
        row = shown.distance[shown.features.index(name)]
        assert row[place] == max(row) > 1
    assert shown.null_rate[shown.features.index("rain")][place] == pytest.approx(0.5)
    assert shown.runs_with_time == ("age",)
