import json
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.concept import ConceptReport, concept_change
from ml_platform.statistics.finding import ROWS_NEEDED

DEPOTS = np.array([f"D{i:02d}" for i in range(12)])
SHARES = np.array([0.2, 0.17, 0.15, 0.1, 0.09, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01])
FEATURES = [
    FeatureConfig(name="depot", kind="categorical"),
    FeatureConfig(name="zone", kind="categorical"),
    FeatureConfig(name="hour"),
]
SETTINGS = DiagnosisConfig()
ONSET = 28
CONTRAST_D00 = ("contrast", "depot=D00")


def key(day: int) -> str:
    return (date(2024, 1, 1) + timedelta(days=day)).isoformat()


def parcels(
    seed: int,
    *,
    days: int = 42,
    rows: int = 900,
    shock: float = 0.4,
    inverted: tuple[int, ...] = (),
    odds: float = 1.0,
    shift: float = 0.0,
    onset: int = ONSET,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference of 28 days and the days after it.

    Days share a shock of the logit (.4 is about .08 of probability) with a lag-1 of .4. From the onset
    on, the risk is inverted in some depots, the odds are multiplied, or a feature is shifted.
    """
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    shocks = rng.standard_normal(days)
    for i in range(1, days):
        shocks[i] = 0.4 * shocks[i - 1] + (1 - 0.4**2) ** 0.5 * shocks[i]
    late = day >= onset
    depot, zone = rng.choice(12, day.size, p=SHARES), rng.integers(0, 3, day.size)
    hour = rng.integers(6, 22, day.size)
    haze = rng.normal(0, 1, day.size) + 0.5 * rng.standard_normal(days)[day] + shift * late
    logit = -1.2 + 0.1 * (hour - 14) + 0.5 * np.sin(depot) + 0.2 * zone - 0.5 * haze
    truth = np.where(late & np.isin(depot, inverted), -2 - logit, logit) + np.log(odds) * late
    label = rng.random(day.size) < 1 / (1 + np.exp(-truth - shock * shocks[day]))
    frame = pd.DataFrame(
        {
            "partition_key": np.array([key(d) for d in range(days)])[day],
            "label": label.astype(np.int64),
            "probability": 1 / (1 + np.exp(-logit)),
            "depot": DEPOTS[depot],
            "zone": zone.astype(str),
            "hour": hour,
        }
    )
    return frame[day < ONSET], frame[day >= ONSET]


def compare(reference: pd.DataFrame, current: pd.DataFrame, **settings: int) -> ConceptReport:
    return concept_change(
        reference,
        current,
        label="label",
        kind=Binary(),
        features=FEATURES,
        segments=["depot", "zone", "hour"],
        settings=DiagnosisConfig(**settings),
    )


def failed(report: ConceptReport) -> set[str]:
    return {f"{f.statistic} {f.subject}" for f in report.deciding if f.state == "FAIL"}


def test_days_with_shared_shocks_are_no_change() -> None:
    reports = [compare(*parcels(seed)) for seed in range(40)]
    assert sum(r.kind != "none" for r in reports) <= 2
    assert sum(bool(r.findings().suspicions) for r in reports) <= 2
    alone = [f.facts["p_value_alone"] for r in reports for f in r.deciding if f.p_value is not None]
    assert np.mean(np.array(alone) < 0.05) < 0.065
    assert np.mean(np.array(alone) < 0.01) < 0.02


def test_an_inverted_risk_is_a_concept_drift_with_its_segments_and_onset() -> None:
    reports = [compare(*parcels(seed, inverted=(1, 4))) for seed in range(10)]
    assert {r.kind for r in reports} == {"concept"}
    assert all({"slope depot=D01", "slope depot=D04"} <= failed(r) for r in reports)
    assert not any("depot=D02" in f or "depot=D06" in f for r in reports for f in failed(r))
    assert {r.onset for r in reports} == {key(ONSET)}
    (slope,) = [f for f in reports[0].slopes if f.subject == "depot=D01"]
    assert slope.estimate < -1
    assert slope.low < slope.estimate < slope.high < 0
    assert slope.partitions == tuple(key(d) for d in range(28, 42))


def test_a_change_amid_the_window_is_found_and_dated() -> None:
    reports = [compare(*parcels(seed, inverted=(1, 4), onset=35)) for seed in range(10)]
    assert sum(r.kind == "concept" for r in reports) >= 9
    assert sum(r.onset == key(35) for r in reports) >= 8


def test_a_new_base_rate_alone_is_a_prior_shift() -> None:
    reports = [compare(*parcels(seed, days=56, shock=0.15, odds=1.8)) for seed in range(10)]
    assert sum(r.kind == "prior" for r in reports) >= 9
    assert all(r.recalibrated_slopes for r in reports if r.kind == "prior")
    assert reports[0].findings().failed == (reports[0].bias,)
    assert reports[0].bias.estimate > 0.05


def test_a_new_base_rate_does_not_hide_a_concept_drift() -> None:
    reports = [compare(*parcels(seed, days=56, shock=0.15, odds=2.5, inverted=(1, 4))) for seed in range(5)]
    assert all(r.bias.state == "FAIL" and r.kind == "concept" for r in reports)
    assert all("slope depot=D01" in failed(r) for r in reports)


def test_a_new_base_rate_that_the_days_shocks_hide_is_suspected_and_no_more() -> None:
    """The slope bends with the level, and is seen before it: of sixty worlds in these."""
    reports = [compare(*parcels(seed, rows=400, shock=1.0, odds=2.2)) for seed in (44, 50)]
    assert [(r.kind, r.bias.state) for r in reports] == [("none", "UNDERPOWERED")] * 2
    for report in reports:
        found = report.findings().suspicions
        assert found and all("A level that moved everywhere could explain it" in f.detail for f in found)


def test_harder_days_are_no_concept_drift() -> None:
    assert all(compare(*parcels(seed, shift=-1.0)).kind == "none" for seed in range(8))


def test_small_segments_only_report() -> None:
    report = compare(*parcels(1, rows=300, inverted=(11,)))
    (small,) = [f for f in report.contrasts if f.subject == "depot=D11"]
    assert small.rows < 200
    assert (small.state, small.p_value, small.suspicion) == ("UNDERPOWERED", None, False)


def test_a_small_segment_that_stands_out_leaves_open_whether_only_the_level_moved() -> None:
    """Labels of the largest depot are turned around: 168 rows of it are too few to test it."""
    priors = []
    for seed in range(12):
        before, now = parcels(seed, rows=60, shock=0.05)
        turned = np.where(now["depot"] == DEPOTS[0], 1 - now["label"], now["label"])
        report = compare(before, now.assign(label=turned))
        priors += [report] if report.kind == "prior" else []
    assert priors
    for report in priors:
        (found,) = [f for f in report.findings().suspicions if (f.statistic, f.subject) == CONTRAST_D00]
        assert (found.state, found.p_value, found.facts[ROWS_NEEDED]) == ("UNDERPOWERED", None, 200)
    everywhere = [compare(*parcels(seed, rows=60, odds=2.2)) for seed in range(30)]
    priors = [r for r in everywhere if r.kind == "prior"]
    assert len(priors) >= 15 and sum(bool(r.findings().suspicions) for r in priors) <= 2


def test_a_weak_change_is_a_suspicion_not_a_failure() -> None:
    reports = [compare(*parcels(seed, inverted=(1, 3, 4), onset=38)) for seed in range(8)]
    suspicions = [f for r in reports for f in r.findings().suspicions]
    assert {f.subject for f in suspicions} & {"depot=D01", "depot=D03", "depot=D04"}
    assert all(f.state != "FAIL" and abs(f.facts["shrunk"]) >= f.floor for f in suspicions)


def test_weights_stand_in_for_labels_that_have_not_arrived() -> None:
    reference, current = parcels(1, shock=0.1)
    arrived = (current.label == 0) | (np.random.default_rng(0).random(len(current)) < 0.6)
    fast = current[arrived]
    weighted = fast.assign(weight=np.where(fast.label == 1, 1 / 0.6, 1.0))
    assert abs(compare(reference, weighted).bias.estimate) < 0.04
    assert compare(reference, fast).bias.estimate < -0.06
    assert compare(reference, weighted).bias.rows < len(weighted)


def test_too_few_days_are_underpowered() -> None:
    reference, current = parcels(1, inverted=(1, 4))
    report = compare(reference[reference.partition_key >= key(24)], current[current.partition_key < key(31)])
    assert {f.state for f in (report.bias, *report.deciding)} == {"UNDERPOWERED"}
    assert report.kind == "none"


def test_the_first_days_of_a_window_raise_a_suspicion_and_no_more() -> None:
    reference, current = parcels(1, inverted=(1, 4), shock=0.1)

    def first(days: int, **settings: int) -> ConceptReport:
        return compare(reference, current[current.partition_key < key(ONSET + days)], **settings)

    early = first(3)
    assert early.kind == "none" and not failed(early)
    assert "depot=D01" in {f.subject for f in early.findings().suspicions}
    assert first(6).kind == "concept"
    assert first(3, concept_partitions=3).kind == "concept", "a full window decides with the days it has"


def test_neighbouring_partitions_can_count_as_one_block() -> None:
    report = compare(*parcels(1, inverted=(1, 4)), block_partitions=2)
    assert report.bias.blocks == 21
    assert (report.kind, report.onset) == ("concept", key(28))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r, c: (r[:0], c), "the reference has no rows"),
        (lambda r, c: (r, c[:0]), "the current window has no rows"),
        (lambda r, c: (r.assign(label=0), c), "the reference has rows of one class only"),
        (lambda r, c: (r, c.assign(label=1)), "the current window has rows of one class only"),
        (lambda r, c: (r, c.assign(weight=0.0)), "the current window has rows of one class only"),
        (lambda r, c: (r[r.partition_key == key(0)], c), "one block of partitions only"),
    ],
)
def test_missing_evidence_is_unknown_with_a_reason(change: object, reason: str) -> None:
    report = compare(*change(*parcels(1, rows=50)))
    assert report.findings().state == report.bias.state == "UNKNOWN"
    assert reason in report.findings().reason
    assert (report.kind, report.onset) == ("none", None)


def test_a_constant_score_has_no_slope() -> None:
    reference, current = (f.assign(probability=0.3) for f in parcels(1))
    report = compare(reference, current)
    assert report.slopes[0].state == report.findings().state == "UNKNOWN"
    assert {f.state for f in report.slopes[1:]} == {"UNDERPOWERED"}
    assert "constant" in report.findings().reason
    assert report.bias.state != "UNKNOWN"


def test_segments_without_values_or_with_new_ones_are_told() -> None:
    reference, current = parcels(1)
    new = current.assign(
        zone=current.zone.where(current.hour < 12, "new"), hour=current.hour.where(current.depot != "D00")
    )
    report = compare(reference, new.assign(depot=new.depot.where(new.depot != "D01")))
    found = {f.subject: f for f in report.contrasts}
    for subject in ("zone=new", "depot=missing", "hour=missing"):
        assert (found[subject].state, found[subject].estimate) == ("UNDERPOWERED", None)
    one = compare(reference.assign(zone="one"), current.assign(zone="one"))
    assert "UNKNOWN" not in {f.state for f in one.findings().items}


def test_arrow_gives_the_same_and_the_findings_are_json() -> None:
    reference, current = parcels(3, inverted=(1,))
    report = compare(reference, current)
    tables = [pa.Table.from_pandas(f, preserve_index=False) for f in (reference, current)]
    assert compare(*tables) == report
    assert json.loads(json.dumps(asdict(report.findings()), allow_nan=False))["question"] == "concept"


def test_bad_rows_are_refused() -> None:
    reference, current = parcels(1, rows=50)
    with pytest.raises(IntegrityError, match="labels that are not 0 or 1"):
        compare(reference, current.assign(label=2))
    with pytest.raises(IntegrityError, match=r"missing or not in \[0, 1\]"):
        compare(reference, current.assign(probability=np.nan))
    with pytest.raises(IntegrityError, match="column weight"):
        compare(reference, current.assign(weight=np.nan))
    with pytest.raises(IntegrityError, match="depot"):
        compare(reference, current.drop(columns="depot"))
