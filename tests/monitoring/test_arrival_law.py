import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import ConfigError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.arrival_law import ArrivalLaw, arrival_law, delay_changed, maturity_state

START = datetime(2024, 3, 1, tzinfo=UTC)
SETTINGS = DiagnosisConfig()


def key(day: int) -> str:
    return (START + timedelta(days=day)).date().isoformat()


def parcels(
    days: int = 42,
    *,
    slower: float = 1.0,
    since: int = 0,
    seed: int = 0,
    rows: int = 400,
    spread: float = 0.15,
    positives: float = 0.25,
) -> pd.DataFrame:
    """Labels an hour-scale after the event for negatives, day-scale for positives; days differ in both."""
    rng, frames = np.random.default_rng(seed), []
    for day in range(days):
        begin = START + timedelta(days=day)
        late = (
            rng.random(rows) < np.clip(rng.normal(positives if day >= since else 0.25, 0.08), 0.05, 0.8)
        ).astype(float)
        hours = (
            np.where(late == 1, 60.0, 15.0) * rng.lognormal(0, 0.6, rows) * math.exp(rng.normal(0, spread))
        )
        hours *= slower if day >= since else 1
        event = pd.Series(pd.to_datetime([begin] * rows)) + pd.to_timedelta(
            rng.uniform(0, 24, rows), unit="h"
        )
        frames.append(
            pd.DataFrame(
                {
                    "partition_key": key(day),
                    "event_time": event,
                    "label": late,
                    "label_known_at": event + pd.to_timedelta(hours, unit="h"),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def at(days: int = 42) -> datetime:
    return START + timedelta(days=days)


def fitted(table: pd.DataFrame, days: int = 42) -> ArrivalLaw:
    return arrival_law(table, at(days), last_aged=key(days - 14))


def test_the_law_is_recovered_though_young_cohorts_are_truncated() -> None:
    from scipy.stats import lognorm

    table = pd.concat([parcels(seed=s, spread=0.0) for s in range(4)], ignore_index=True)
    law = fitted(table)
    ages = np.array([6.0, 12.0, 24.0, 48.0, 96.0])
    for positive, scale in ((True, 60.0), (False, 15.0)):
        truth = lognorm(0.6, scale=scale).cdf(ages)
        assert law.share(ages, positive) == pytest.approx(truth, abs=0.02)
    young = table[table.partition_key > key(37)]
    naive = arrival_law(young, at(), last_aged=key(41))
    assert naive.share(48.0, True) > law.share(48.0, True) + 0.1
    mixed = law.base_rate * law.share(ages, True) + (1 - law.base_rate) * law.share(ages, False)
    assert np.interp(ages, law.hours, law.overall) == pytest.approx(mixed, abs=0.02)


def test_weights_give_the_base_rate_back() -> None:
    table = pd.concat([parcels(seed=s, spread=0.0) for s in range(6)], ignore_index=True)
    law, now = fitted(table), pd.Timestamp(at())
    day = table[(table.partition_key == key(39)) & (table.label_known_at <= now)]
    ages = ((now - day.event_time) / pd.Timedelta(hours=1)).to_numpy()
    truth = table[table.partition_key == key(39)].label.mean()
    weights = law.weights(ages, day.label.to_numpy())
    assert day.label.mean() < truth - 0.03
    assert np.average(day.label, weights=weights) == pytest.approx(truth, abs=0.03)


def test_states_of_partitions() -> None:
    table = parcels(spread=0.05)
    law = fitted(table)
    report = maturity_state(table, law, at(), SETTINGS)
    states = {p.partition_key: p.state for p in report.partitions}
    assert [states[key(d)] for d in (20, 30, 41)] == ["mature", "mature", "wait"]
    assert "weighted" in states.values()
    ranks = [("mature", "weighted", "wait").index(p.state) for p in report.partitions]
    assert ranks == sorted(ranks)
    youngest = report.partitions[-1]
    assert youngest.mature_at is not None
    assert datetime.fromisoformat(youngest.mature_at) > at()
    assert report.findings.state in ("PASS", "UNDERPOWERED")
    assert set(report.named("wait")) == {p.partition_key for p in report.partitions if p.state == "wait"}


def test_missing_labels_are_overdue_and_early_positives_are_never_weighted() -> None:
    table = parcels()
    law = fitted(table)
    lost = table.assign(label=table.label.mask(table.partition_key == key(20)))
    report = maturity_state(lost, law, at(), SETTINGS)
    (found,) = (f for f in report.findings.items if f.statistic == "maturity")
    assert (found.state, found.partitions) == ("FAIL", (key(20),))
    early = DiagnosisConfig(early_positives=True)
    assert not maturity_state(table, law, at(), early).named("weighted")


def test_a_doubled_delay_is_found() -> None:
    hits = 0
    for seed in range(20):
        table = parcels(slower=2, since=32, seed=seed)
        found = delay_changed(table, fitted(table), at(), SETTINGS)
        hits += found.state == "FAIL" and (found.estimate or 0) < 0
    assert hits >= 18


def test_an_outage_of_the_label_feed_is_found() -> None:
    table = parcels()
    table.loc[table.partition_key >= key(35), "label_known_at"] += pd.Timedelta(days=30)
    found = delay_changed(table, fitted(table), at(), SETTINGS)
    assert (found.state, found.partitions[-1]) == ("FAIL", key(40))


def test_no_change_is_found_in_no_change() -> None:
    alarms = 0
    for seed in range(60):
        table = parcels(seed=1000 + seed)
        alarms += delay_changed(table, fitted(table), at(), SETTINGS).state == "FAIL"
    assert alarms <= 3


def early(slower: float, seed: int) -> pd.DataFrame:
    """Whether something is bought within 20 days: a yes is known at once, a no at the end."""
    rng = np.random.default_rng(seed)
    frames = []
    for day in range(70):
        buys = rng.random(400) < np.clip(rng.normal(0.3, 0.03), 0.1, 0.6)
        hours = rng.exponential(72 * (slower if day >= 52 else 1), 400)
        event = pd.Series(pd.to_datetime([START + timedelta(days=day)] * 400))
        known = event + pd.to_timedelta(np.where(buys & (hours < 480), hours, 480), unit="h")
        frame = {"partition_key": key(day), "event_time": event, "label_known_at": known}
        frames.append(pd.DataFrame({**frame, "label": (buys & (hours < 480)).astype(float)}))
    return pd.concat(frames, ignore_index=True)


def test_early_positives_are_judged_by_their_hazard() -> None:
    settings = DiagnosisConfig(early_positives=True)
    states = []
    for slower in (1.0, 2.0):
        for seed in range(5):
            table = early(slower, seed)
            law = arrival_law(table, at(70), last_aged=key(49), horizon_hours=480)
            states.append(delay_changed(table, law, at(70), settings).state)
    assert "FAIL" not in states[:5]
    assert states[5:] == ["FAIL"] * 5


def test_without_aged_cohorts_it_is_unknown() -> None:
    table = parcels(5)
    law = arrival_law(table, at(5), last_aged="2024-01-01")
    assert math.isnan(law.ultimate)
    assert law.mature_at(at(5)) is None
    report = maturity_state(table, law, at(5), SETTINGS)
    assert report.findings.state == "UNKNOWN"
    assert {p.state for p in report.partitions} == {"wait"}
    with pytest.raises(ConfigError, match="offset"):
        arrival_law(table, datetime(2024, 4, 1), last_aged="2024-01-01")


def test_more_positives_that_arrive_late_are_no_change_of_delay() -> None:
    """Positives arrive later by their own law, so that a prior shift slows the mixed arrivals down."""
    states = []
    for seed in range(10):
        table = parcels(positives=0.6, since=32, seed=seed)
        states.append(delay_changed(table, fitted(table), at(), SETTINGS).state)
    assert "FAIL" not in states
