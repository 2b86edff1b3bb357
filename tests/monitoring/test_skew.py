from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.skew import (
    SkewReport,
    broken_sides,
    feature_breaks,
    serving_skew,
    two_by_two,
)

SETTINGS = DiagnosisConfig()
FEATURES = [
    FeatureConfig(name="weight"),
    FeatureConfig(name="heat"),
    FeatureConfig(name="depot", kind="categorical"),
    FeatureConfig(name="age", runs_with_time=True),
]


def key(day: int) -> str:
    return (date(2024, 3, 1) + timedelta(days=day)).isoformat()


def window(first: int, days: int, seed: int = 0, heat: float = 0.0) -> pd.DataFrame:
    """Parcels; the heat of a day is shared by its rows and moves a lot from day to day."""
    rng = np.random.default_rng(1000 * seed + first)
    frames = [
        pd.DataFrame(
            {
                "partition_key": key(day),
                "parcel": np.arange(300),
                "weight": rng.lognormal(1, 0.5, 300),
                "heat": rng.normal(rng.normal(60 + heat, 8), 4, 300),
                "depot": rng.choice(["north", "south", None], 300),
                "age": rng.normal(day, 1, 300),
            }
        )
        for day in range(first, first + days)
    ]
    return pd.concat(frames, ignore_index=True)


def compare(served: pd.DataFrame, rebuilt: pd.DataFrame) -> SkewReport:
    return serving_skew(served, rebuilt, key=["parcel"], features=FEATURES, settings=SETTINGS)


def test_equal_rows_in_another_order_agree() -> None:
    rows = window(0, 3)
    rows.loc[0, "weight"] = np.nan
    report = compare(rows, rows.sample(frac=1, random_state=1).assign(heat=lambda f: f.heat * (1 + 1e-7)))
    assert report.findings.state == "PASS"
    assert report.parity == {f.name: 1.0 for f in FEATURES}
    arrow = pa.Table.from_pandas(rows)
    assert serving_skew(arrow, arrow, key=["parcel"], features=FEATURES, settings=SETTINGS).rows == 900


def test_a_lagged_feature_on_one_day_is_named_with_examples() -> None:
    served, rebuilt = window(0, 3), window(0, 3)
    day = served.partition_key == key(1)
    served.loc[day, "weight"] = served.loc[day, "weight"].shift(1)
    report = compare(served, rebuilt)
    (found,) = report.findings.failed
    assert (found.subject, found.partitions) == ("weight", (key(1),))
    assert report.parity["weight"] == pytest.approx(2 / 3)
    assert found.facts["examples"][0]["served"] is None
    assert found.facts["examples"][0]["key"] == f"{key(1)}/0"


def test_one_percent_may_differ() -> None:
    served, rebuilt = window(0, 1), window(0, 1)
    served.loc[:2, "depot"] = "elsewhere"
    assert compare(served, rebuilt).findings.state == "PASS"
    served.loc[:3, "depot"] = "elsewhere"
    assert [f.subject for f in compare(served, rebuilt).findings.failed] == ["depot"]


def test_a_null_against_a_value_differs() -> None:
    served, rebuilt = window(0, 1), window(0, 1)
    served["weight"] = np.nan
    served["depot"] = None
    report = compare(served, rebuilt)
    assert [f.subject for f in report.findings.failed] == ["weight", "depot"]
    assert report.parity["weight"] == 0


def test_rows_of_one_side_only_are_mismatches() -> None:
    rows = window(0, 2)
    report = compare(rows.iloc[:590], rows.iloc[1:])
    (found,) = report.findings.failed
    assert (found.statistic, found.partitions) == ("rows", (key(1),))
    assert found.facts == {"not_served": 10, "not_rebuilt": 1}
    assert compare(rows.iloc[:0], rows.iloc[:0]).findings.state == "UNKNOWN"
    nothing = compare(rows.iloc[:300], rows.iloc[300:])
    assert nothing.findings.state == "FAIL"
    assert {f.state for f in nothing.findings.items[1:]} == {"UNKNOWN"}


def test_a_feature_that_was_not_rebuilt_is_unknown() -> None:
    rows = window(0, 1)
    report = compare(rows, rows.drop(columns="heat"))
    assert report.findings.state == "UNKNOWN"
    assert "heat" not in report.parity
    with pytest.raises(IntegrityError, match="repeat a key"):
        compare(pd.concat([rows, rows]), rows)


def test_the_two_by_two() -> None:
    assert two_by_two([], []) == "neither"
    assert two_by_two(["weight"], ["weight"]) == "upstream"
    assert two_by_two({"weight"}, set()) == "serving"
    assert two_by_two([], ["heat"]) == "training"
    assert broken_sides(["a", "b"], ["b", "c"]) == {"a": "serving", "b": "upstream", "c": "training"}


def test_breaks_of_features() -> None:
    reference, now = window(0, 28), window(28, 7)
    now.loc[(now.partition_key == key(30)) & (now.index % 2 == 0), "heat"] = np.nan
    now.loc[now.partition_key >= key(32), "weight"] *= 0.45
    now.loc[now.partition_key == key(33), "depot"] = "moved"
    found = feature_breaks(reference, now, FEATURES, SETTINGS)
    assert {n: (b.kind, b.partitions[0]) for n, b in found.items()} == {
        "heat": ("null", key(30)),
        "weight": ("shape", key(32)),
        "depot": ("category", key(33)),
    }


def test_days_that_only_differ_do_not_break() -> None:
    found = [feature_breaks(window(0, 28, s), window(28, 7, s), FEATURES, SETTINGS) for s in range(40)]
    assert sum(bool(f) for f in found) == 0


def test_a_mild_week_is_no_break_and_other_units_are() -> None:
    reference, mild = window(0, 28), window(28, 7, heat=12)
    assert feature_breaks(reference, mild, FEATURES, SETTINGS) == {}
    cold = mild.assign(heat=(mild.heat - 32) / 1.8)
    assert feature_breaks(reference, cold, FEATURES, SETTINGS)["heat"].kind == "shape"
