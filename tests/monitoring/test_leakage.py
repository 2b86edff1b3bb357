from datetime import date, timedelta

import numpy as np
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.leakage import feature_aucs, leakage, live_gap

SETTINGS = DiagnosisConfig()
FEATURES = [FeatureConfig(name="weight"), FeatureConfig(name="depot", kind="categorical")]


def losses(first: int, days: int, level: float, seed: int = 0) -> dict[str, float]:
    rng = np.random.default_rng(seed + first)
    return {
        (date(2024, 3, 1) + timedelta(days=first + d)).isoformat(): float(rng.normal(level, 0.03))
        for d in range(days)
    }


def rows(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    late = (rng.random(3000) < 0.25).astype(float)
    return pd.DataFrame(
        {
            "partition_key": np.repeat(list(losses(0, 10, 0)), 300),
            "weight": rng.normal(late, 1),
            "depot": rng.choice([f"depot {i}" for i in range(200)], 3000),
            "late": late,
        }
    )


def test_a_gap_from_the_first_live_day_on_is_leakage() -> None:
    found = live_gap(losses(0, 28, 0.3), losses(28, 7, 0.5), SETTINGS)
    assert (found.state, len(found.partitions)) == ("FAIL", 7)
    assert found.facts["from_first_day"]


def test_a_gap_that_opens_later_is_not() -> None:
    later = losses(28, 5, 0.3) | losses(33, 9, 0.6)
    found = live_gap(losses(0, 28, 0.3), later, SETTINGS)
    assert found.state != "FAIL"
    assert found.facts["from_first_day"] is False


def test_no_gap_is_rarely_one() -> None:
    states = [live_gap(losses(0, 28, 0.4, s), losses(28, 7, 0.4, s), SETTINGS).state for s in range(200)]
    assert states.count("FAIL") <= 2
    assert live_gap({}, losses(0, 3, 0.3), SETTINGS).state == "UNKNOWN"
    assert live_gap(losses(0, 28, 0.3), losses(28, 1, 0.9), SETTINGS).state == "UNDERPOWERED"


def test_a_feature_that_knows_the_label_is_found_in_either_direction() -> None:
    table = rows()
    for leak in (table.late * 10 + 1, -table.late, table.late.mask(table.late == 1)):
        found = feature_aucs(table.assign(weight=leak), FEATURES, Binary(), "late", SETTINGS)
        assert [f.subject for f in found if f.state == "FAIL"] == ["weight"]
    named = table.assign(depot=np.where(table.late == 1, "returned", "kept"))
    assert [f.state for f in feature_aucs(named, FEATURES, Binary(), "late", SETTINGS)] == ["PASS", "FAIL"]


def test_honest_features_pass_and_rare_categories_do_not_rank() -> None:
    weight, depot = feature_aucs(rows(), FEATURES, Binary(), "late", SETTINGS)
    assert weight.state == depot.state == "PASS"
    assert weight.estimate is not None
    assert 0.7 < weight.estimate < 0.8
    assert depot.estimate is not None
    assert depot.estimate < 0.6


def test_what_is_missing_is_not_a_pass() -> None:
    few = rows().iloc[:200]
    assert {f.state for f in feature_aucs(few, FEATURES, Binary(), "late", SETTINGS)} == {"UNDERPOWERED"}
    one = rows().assign(late=0.0)
    assert feature_aucs(one, FEATURES, Binary(), "late", SETTINGS)[0].state == "UNKNOWN"
    whole = leakage(
        losses(0, 28, 0.3),
        losses(28, 14, 0.3),
        None,
        features=FEATURES,
        kind=Binary(),
        label="late",
        settings=SETTINGS,
    )
    assert whole.state == "UNKNOWN"
