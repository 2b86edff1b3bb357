import dataclasses
import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import MonitoringConfig
from ml_platform.monitoring.label_maturity import LabelMaturity, label_maturity
from ml_platform.monitoring.performance import PerformanceReport, live_performance

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)
SETTINGS = MonitoringConfig()


def key(day: int) -> str:
    return (date(2024, 3, 1) + timedelta(days=day)).isoformat()


def parcels(days: int, *, noise: float = 0.0, bias: float = 0.0, seed: int = 1) -> pd.DataFrame:
    """Scores and outcomes; ``noise`` makes scores wrong, ``bias`` shifts their logit."""
    rng, frames = np.random.default_rng(seed), []
    for day in range(days):
        logit = rng.normal(-1 + rng.normal(0, 0.1), 1, 300)
        frames.append(
            pd.DataFrame(
                {
                    "partition_key": key(day),
                    "parcel": np.arange(300),
                    "probability": 1 / (1 + np.exp(-logit - bias - noise * rng.normal(size=300))),
                    "label": (rng.random(300) < 1 / (1 + np.exp(-logit))).astype(float),
                    "event_time": pd.Timestamp(key(day), tz="UTC"),
                    "label_known_at": pd.Timestamp(AS_OF) - pd.Timedelta(days=1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def reference(days: int = 28) -> pd.DataFrame:
    rows = parcels(days, seed=2)
    losses = [(k, log_loss(d.label, d.probability)) for k, d in rows.groupby("partition_key")]
    return pd.DataFrame(losses, columns=["partition_key", "log_loss"])


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["partition_key", "parcel", "event_time", "label", "label_known_at"]]


def maturity(rows: pd.DataFrame, mature: int) -> LabelMaturity:
    """The first ``mature`` days are aged."""
    return label_maturity(labelled(rows), AS_OF, last_aged=key(mature - 1), settings=DiagnosisConfig())


def judge(
    rows: pd.DataFrame, mature: int, against: pd.DataFrame | None = None, **more: float
) -> PerformanceReport:
    return live_performance(
        rows[["partition_key", "parcel", "probability"]],
        labelled(rows).sample(frac=1, random_state=0),
        key=["parcel"],
        kind=Binary(),
        maturity=maturity(rows, mature),
        as_of=AS_OF,
        reference=reference() if against is None else against,
        settings=SETTINGS,
        **more,
    )


def test_daily_and_total_metrics_are_those_of_scikit_learn() -> None:
    rows = parcels(10)
    report = judge(rows, 10)
    first = rows[rows.partition_key == key(0)]
    assert report.days[0].loss == pytest.approx(log_loss(first.label, first.probability))
    assert report.days[0].metrics["auc"] == pytest.approx(roc_auc_score(first.label, first.probability))
    assert report.metric("auc").value == pytest.approx(roc_auc_score(rows.label, rows.probability))
    assert report.metric("log_loss").value == pytest.approx(log_loss(rows.label, rows.probability))
    assert report.metric("bias").value == pytest.approx(rows.probability.mean() - rows.label.mean())
    assert report.rows == 3000


def test_an_immature_window_is_not_judged() -> None:
    report = judge(parcels(12, bias=3), 0)
    assert report.state == "UNKNOWN"
    assert report.immature == [key(d) for d in range(12)]
    assert report.metric("log_loss").value is None
    assert all(d.loss is None and d.share_known == 1 for d in report.days)


def test_immature_days_never_reach_the_totals() -> None:
    rows = parcels(20)
    rows.loc[rows.partition_key >= key(12), "label"] = 1.0
    report = judge(rows, 12)
    alone = judge(rows[rows.partition_key < key(12)], 12)
    assert (report.metrics, report.rows) == (alone.metrics, alone.rows)
    assert report.immature == [key(d) for d in range(12, 20)]


def test_a_partition_of_age_whose_labels_are_missing_is_overdue() -> None:
    rows = parcels(12)
    rows.loc[(rows.partition_key == key(3)) & (rows.parcel < 100), "label"] = np.nan
    report = judge(rows, 12)
    assert report.days[3].maturity == "overdue"
    assert report.days[3].share_known == pytest.approx(2 / 3)
    assert key(3) not in report.mature


def slow_positives(days: int) -> pd.DataFrame:
    """Negatives known within a day, positives in the course of a week: the youngest days know few of them."""
    rng, rows = np.random.default_rng(4), parcels(days)
    hours = np.where(rows.label == 1, rng.uniform(0, 168, len(rows)), rng.uniform(0, 24, len(rows)))
    age = 24 * (days - rows.partition_key.rank(method="dense"))
    event = pd.Timestamp(AS_OF) - pd.to_timedelta(age, "h")
    return rows.assign(event_time=event, label_known_at=event + pd.to_timedelta(hours, "h"))


def test_the_loss_of_young_days_is_weighted_and_never_mixed_in() -> None:
    """Where slow positives are missing the known labels flatter; weighted by 1/F they tell the truth."""
    rows = slow_positives(40)
    report, older = judge(rows, 30), judge(rows[rows.partition_key < key(30)], 30)
    assert (report.metric("log_loss"), report.rows) == (older.metric("log_loss"), older.rows)
    weighted = [d for d in report.days if d.maturity == "weighted"]
    assert [d.partition_key for d in weighted] == report.weighted and len(weighted) >= 5
    assert set(report.weighted) < set(report.immature)
    assert all(d.loss is None and (d.effective_share or 0) >= 0.5 for d in weighted)
    assert all(d.weighted_loss is None for d in report.days if d.maturity != "weighted")
    chosen = rows[rows.partition_key.isin(report.weighted)]
    truth = {k: log_loss(d.label, d.probability) for k, d in chosen.groupby("partition_key")}
    known = chosen[chosen.label_known_at <= pd.Timestamp(AS_OF)]
    total, right = report.metric("weighted_log_loss"), float(np.mean(list(truth.values())))
    assert (total.days, total.state) == (len(weighted), None)
    assert total.value == pytest.approx(right, abs=0.02)
    assert log_loss(known.label, known.probability) < right - 0.015
    bands = [(d.weighted_low or 1) <= truth[d.partition_key] <= (d.weighted_high or 0) for d in weighted]
    assert sum(bands) >= len(weighted) - 1


def test_labels_known_after_as_of_are_not_used() -> None:
    rows = parcels(12)
    rows.loc[rows.partition_key == key(5), "label_known_at"] = pd.Timestamp(AS_OF) + pd.Timedelta(hours=1)
    assert judge(rows, 12).days[5].known == 0


def test_an_unchanged_model_passes_when_a_change_would_have_been_seen() -> None:
    report = judge(parcels(28), 28)
    assert report.state == "PASS"
    assert report.metric("log_loss").minimal_detectable_effect < report.metric("log_loss").floor
    assert report.reference.low < report.reference.mean < report.reference.high


def test_a_model_that_got_worse_fails() -> None:
    report = judge(parcels(28, noise=1.2), 28)
    assert report.metric("log_loss").state == report.state == "FAIL"
    assert report.metric("log_loss").change > report.metric("log_loss").floor


def test_a_better_model_does_not_fail() -> None:
    worse = reference().assign(log_loss=lambda f: f.log_loss + 0.3)
    assert judge(parcels(28), 28, worse).metric("log_loss").state == "PASS"


def test_a_biased_model_fails_on_bias() -> None:
    metric = judge(parcels(28, bias=0.5), 28).metric("bias")
    assert metric.state == "FAIL"
    assert metric.low > 0.05


def test_few_days_are_underpowered() -> None:
    assert judge(parcels(4), 4, reference(3)).metric("log_loss").state == "UNDERPOWERED"


def test_a_change_too_small_to_be_seen_is_underpowered() -> None:
    noisy = reference().assign(log_loss=lambda f: f.log_loss + np.tile([-0.3, 0.3, 0.3, -0.3], 7))
    assert judge(parcels(10), 10, noisy).metric("log_loss").state == "UNDERPOWERED"


def test_without_a_reference_the_loss_is_unknown() -> None:
    rows = parcels(28)
    report = live_performance(
        rows,
        rows,
        key=["parcel"],
        kind=Binary(),
        maturity=maturity(rows, 28),
        as_of=AS_OF,
        reference=None,
        settings=SETTINGS,
    )
    assert report.metric("log_loss").state == report.state == "UNKNOWN"
    assert report.metric("log_loss").value is not None
    assert report.metric("bias").state == "PASS"


def test_a_day_with_one_class_has_no_auc_and_the_report_is_json() -> None:
    rows = parcels(10)
    rows.loc[rows.partition_key == key(0), "label"] = 0.0
    report = judge(rows, 10)
    assert report.days[0].metrics["auc"] is None
    assert json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))["rows"] == 3000


def test_bad_predictions_are_refused() -> None:
    rows = parcels(2)
    with pytest.raises(IntegrityError, match="repeat a key, for example 2024-03-01/0"):
        judge(pd.concat([rows, rows.head(1)]), 2)
    rows.loc[0, "probability"] = np.nan
    with pytest.raises(IntegrityError, match=r"1 probabilities are missing or not in \[0, 1\]"):
        judge(rows, 2)
    with pytest.raises(IntegrityError, match="log_loss"):
        judge(parcels(2), 2, pd.DataFrame({"partition_key": ["2024-03-01"]}))
