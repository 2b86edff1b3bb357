from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.covariates import CovariateReport, covariate_shift

SETTINGS = DiagnosisConfig()
NUMBERS = [f"measure_{i}" for i in range(12)]
FEATURES = [
    *(FeatureConfig(name=n) for n in NUMBERS),
    FeatureConfig(name="depot", kind="categorical"),
    FeatureConfig(name="age", runs_with_time=True),
]


def window(first: int, days: int, seed: int = 0, rows: int = 300, shift: float = 0.0) -> pd.DataFrame:
    """Parcels; a third of the measures move by day as a whole, and age runs with time."""
    rng = np.random.default_rng(1000 * seed + first)
    frames = []
    for day in range(first, first + days):
        shock = rng.normal(0, 0.7, 4)
        measures = {n: rng.normal(shock[i] if i < 4 else 0, 1, rows) for i, n in enumerate(NUMBERS)}
        frame = pd.DataFrame(
            {"partition_key": (date(2024, 3, 1) + timedelta(days=day)).isoformat(), **measures}
        )
        frame["measure_8"] += shift
        frame["depot"] = rng.choice(["north", "south", "west"], rows)
        frame["age"] = rng.normal(day, 1, rows)
        frame["score"] = rng.beta(2, 5, rows)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def compare(current: pd.DataFrame, seed: int = 0, **more: object) -> CovariateReport:
    return covariate_shift(
        window(0, 28, seed),
        current,
        features=FEATURES,
        score="score",
        settings=SETTINGS,
        **more,  # type: ignore[arg-type]
    )


def test_windows_that_do_not_differ_are_not_told_apart() -> None:
    reports = [compare(window(28, 7, s), s) for s in range(20)]
    assert sum(bool(r.findings.failed) for r in reports) <= 1
    assert np.mean([r.auc for r in reports if r.auc is not None]) == pytest.approx(0.5, abs=0.04)
    assert min(r.effective_share for r in reports if r.effective_share is not None) > 0.2


def test_a_shift_is_found_and_named() -> None:
    report = compare(window(28, 7, shift=1.0))
    (found,) = report.findings.failed
    assert found.statistic == "domain_auc"
    assert report.auc is not None
    assert report.auc > 0.65
    assert report.moved[0].name == "measure_8"
    assert report.moved[-1].name == "age"


def test_another_region_is_unseen() -> None:
    report = compare(window(28, 7, shift=5.0))
    assert {f.statistic for f in report.findings.failed} == {"domain_auc", "effective_sample"}
    assert report.effective_share is not None
    assert report.effective_share < 0.2


def test_what_runs_with_time_is_no_shift() -> None:
    now = window(28, 7).assign(age=1000.0)
    assert not compare(now).findings.failed


def test_a_cold_start_has_its_volume_and_score() -> None:
    now = window(28, 7)
    now.loc[now.index % 20 == 0, ["depot", "score"]] = ["east", 0.9]
    report = compare(now)
    (unseen,) = report.unseen
    assert (unseen.feature, unseen.category, unseen.rows) == ("depot", "east", 105)
    assert unseen.mean_score == pytest.approx(0.9)
    (found,) = (f for f in report.findings.failed if f.statistic == "new_categories")
    assert "east (105 rows, mean score 0.9)" in found.detail


def test_contributions_rank_what_is_material() -> None:
    now = window(28, 7, shift=1.0)
    weights = np.array([0.0, 0, 0, 0, 9, 0, 0, 0, 0.01, 0, 0, 0, 1, 1])
    report = compare(now, contributions=(weights, np.tile(weights, (50, 1))))
    assert report.moved[0].name != "measure_8"
    (domain,) = (f for f in report.findings.items if f.statistic == "domain_auc")
    assert f"share of the score's movement): {report.moved[0].name} " in domain.detail
    assert next(iter(domain.facts["material"])) == report.moved[0].name
    (plain,) = (f for f in compare(now).findings.items if f.statistic == "domain_auc")
    assert "moved most (distance): measure_8 " in plain.detail
    assert {m.name: m.importance for m in report.moved}["measure_4"] == pytest.approx(9 / 11.01)


def test_missing_evidence() -> None:
    assert compare(window(28, 7).iloc[:0]).findings.state == "UNKNOWN"
    assert compare(window(28, 1)).findings.state == "UNKNOWN"
    with pytest.raises(IntegrityError, match="depot"):
        compare(window(28, 7).drop(columns="depot"))
