import json
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.isotonic import IsotonicRegression

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.estimated import EstimatedReport, cross_fitted, estimated_loss, fit_curve

FEATURES = [FeatureConfig(name="haze"), FeatureConfig(name="zone", kind="categorical")]
Windows = tuple[pd.DataFrame, pd.DataFrame]


def key(day: int) -> str:
    return (date(2024, 1, 1) + timedelta(days=day)).isoformat()


def parcels(
    seed: int, *, days: int = 42, shift: float = 0.0, flipped: float = 0.0, wrong: float = 0.0
) -> Windows:
    """Reference of 28 days and the days after it.

    ``shift`` moves a feature towards hard rows, ``flipped`` changes P(y|x) for a share of rows, and
    ``wrong`` is a share of zone c's rows that are late without the score's knowing it, in both windows.
    """
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), 600)
    late = day >= 28
    haze = rng.normal(0, 1, day.size) + 0.3 * rng.standard_normal(days)[day] + shift * late
    zone = rng.integers(0, 4, day.size)
    logit = -1.5 + haze + 0.1 * zone + 0.1 * rng.standard_normal(days)[day]
    truth = np.where(late & (rng.random(day.size) < flipped), -3 - logit, logit)
    label = (rng.random(day.size) < 1 / (1 + np.exp(-truth))) | ((zone == 2) & (rng.random(day.size) < wrong))
    frame = pd.DataFrame(
        {
            "partition_key": np.array([key(d) for d in range(days)])[day],
            "label": label.astype(np.int64),
            "probability": 1 / (1 + np.exp(-logit)),
            "haze": haze,
            "zone": np.array(list("abcd"))[zone],
        }
    )
    return frame[~late], frame[late]


def estimate(windows: Windows, *, density: bool = True, **settings: float) -> EstimatedReport:
    return estimated_loss(
        windows[0],
        windows[1].drop(columns="label"),
        label="label",
        kind=Binary(),
        features=FEATURES,
        settings=DiagnosisConfig(**settings),
        density=density,
    )


def realised(frame: pd.DataFrame) -> float:
    loss = -np.log(np.where(frame.label == 1, frame.probability, 1 - frame.probability))
    return float(pd.Series(loss).groupby(frame.partition_key.to_numpy()).mean().mean())


def test_the_curve_is_isotonic_regression() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(20_000)
    labels = (rng.random(20_000) < scores**2).astype(np.float64)
    curve = fit_curve(scores, labels, np.ones(20_000))
    exact = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(np.linspace(0.02, 0.98, 50))
    assert np.abs(curve.at(np.linspace(0.02, 0.98, 50)) - exact).mean() < 0.015
    assert (np.diff(curve.values) >= 0).all()
    assert curve.at(np.array([0.0]))[0] > 0


def test_rows_of_the_same_days_do_not_calibrate_themselves() -> None:
    rng = np.random.default_rng(2)
    days = np.repeat(np.arange(8), 50)
    labels = (rng.random(400) < np.repeat([0.1, 0.9] * 4, 50)).astype(np.float64)
    scores, weights = rng.random(400), np.ones(400)
    inside = np.mean((labels - fit_curve(scores, labels, weights).at(scores)) ** 2)
    assert np.mean((labels - cross_fitted(scores, labels, days, weights)) ** 2) > inside


def test_the_loss_of_unchanged_rows_is_estimated_and_passes() -> None:
    reports = [estimate(parcels(seed)) for seed in range(6)]
    assert all(r.finding.state != "FAIL" for r in reports)
    for report, seed in zip(reports, range(6), strict=True):
        assert report.pape == pytest.approx(realised(parcels(seed)[1]), abs=0.04)
        assert report.reference_cbpe == pytest.approx(report.reference_loss, abs=0.005)
        assert report.effective_share > 0.7
    assert [d.partition_key for d in reports[0].days] == [key(d) for d in range(28, 42)]
    assert reports[0].reference_loss == pytest.approx(realised(parcels(0)[0]))
    assert np.mean([d.cbpe for d in reports[0].days]) == pytest.approx(reports[0].cbpe)


def test_harder_rows_raise_the_expected_loss() -> None:
    windows = parcels(1, shift=1.0)
    report = estimate(windows)
    assert report.finding.state == "FAIL"
    rise = realised(windows[1]) - realised(windows[0])
    assert report.finding.estimate == pytest.approx(rise, abs=0.03)
    assert report.finding.low < rise < report.finding.high


def test_rows_that_move_where_the_score_is_wrong_need_the_density() -> None:
    reference, current = parcels(2, wrong=0.4)
    moved = current[(current.zone == "c") | (np.random.default_rng(0).random(len(current)) < 0.15)]
    report = estimate((reference, moved))
    rise = realised(moved) - realised(reference)
    assert report.weighted is not None
    assert report.finding.estimate < 0.3 * rise
    assert report.weighted.estimate == pytest.approx(rise, rel=0.25)
    assert (report.finding.state, report.weighted.state) == ("PASS", "FAIL")
    assert report.findings().items == (report.finding, report.weighted)


def test_it_is_blind_to_concept_drift_and_says_so() -> None:
    windows = parcels(3, flipped=0.5)
    report = estimate(windows)
    assert realised(windows[1]) - realised(windows[0]) > report.finding.floor
    assert report.finding.state != "FAIL"
    assert "never an all-clear" in report.finding.detail


def test_for_rows_that_the_reference_does_not_know_the_density_is_unknown_with_its_reason() -> None:
    report = estimate(parcels(4, shift=4.0))
    assert report.effective_share < 0.2 and report.weighted is not None
    assert report.weighted.state == "UNKNOWN" and report.weighted.estimate is None
    assert f"only {report.effective_share:.0%} of the reference" in report.weighted.detail
    assert report.pape is None and all(d.pape is None for d in report.days)
    assert report.finding.estimate is not None, "CBPE stands beside it"


def test_without_the_density_only_the_score_is_read() -> None:
    reference, current = parcels(5)
    report = estimate((reference.drop(columns="haze"), current.drop(columns="haze")), density=False)
    assert report.pape is report.effective_share is report.weighted is report.days[0].pape is None
    assert report.findings().state == report.finding.state


def test_few_days_are_underpowered_and_blocks_group_them() -> None:
    reference, current = parcels(6)
    few = reference[reference.partition_key >= key(24)], current[current.partition_key == key(28)]
    assert estimate(few).finding.state == "UNDERPOWERED"
    assert estimate((reference, current), block_partitions=7).finding.blocks == 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r, c: (r[:0], c), "the reference has no rows"),
        (lambda r, c: (r, c[:0]), "the current window has no rows"),
        (lambda r, c: (r.assign(label=0), c), "one class only"),
        (lambda r, c: (r[r.partition_key == key(0)], c), "one partition only"),
    ],
)
def test_missing_evidence_is_unknown_with_a_reason(change: object, reason: str) -> None:
    report = estimate(change(*parcels(7)))
    assert report.findings().state == report.finding.state == "UNKNOWN"
    assert reason in report.findings().reason


def test_constant_scores_and_missing_features_do_not_crash() -> None:
    windows = tuple(f.assign(probability=0.3, haze=np.nan, zone=None) for f in parcels(8))
    assert estimate(windows).finding.state in {"PASS", "UNDERPOWERED"}


def test_arrow_gives_the_same_and_the_findings_are_json() -> None:
    windows = parcels(9)
    report = estimate(windows)
    reference = pa.Table.from_pandas(windows[0], preserve_index=False)
    assert estimate((reference, windows[1])) == report
    assert json.loads(json.dumps(asdict(report), allow_nan=False))["reason"] == ""


def test_bad_rows_are_refused() -> None:
    reference, current = parcels(10)
    with pytest.raises(IntegrityError, match=r"missing or not in \[0, 1\]"):
        estimate((reference, current.assign(probability=np.nan)))
    with pytest.raises(IntegrityError, match="not 0 or 1"):
        estimate((reference.assign(label=2), current))
    with pytest.raises(IntegrityError, match="zone"):
        estimate((reference, current.drop(columns="zone")))
