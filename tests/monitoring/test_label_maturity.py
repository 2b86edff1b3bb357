import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.arrival_law import _ultimate, arrival_law, label_ages
from ml_platform.monitoring.label_delay import delay_change
from ml_platform.monitoring.label_maturity import LabelMaturity, _asked, label_maturity, row_weights
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding

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
    rng, labels, delays, times = np.random.default_rng(seed), [], [], []
    for day in range(days):
        late = (
            rng.random(rows) < np.clip(rng.normal(positives if day >= since else 0.25, 0.08), 0.05, 0.8)
        ).astype(float)
        hours = (
            np.where(late == 1, 60.0, 15.0) * rng.lognormal(0, 0.6, rows) * math.exp(rng.normal(0, spread))
        )
        hours *= slower if day >= since else 1
        labels.append(late)
        delays.append(hours)
        times.append(rng.uniform(0, 24, rows))
    begins = pd.Series(pd.to_datetime([START + timedelta(days=d) for d in range(days)]))
    day_of = np.repeat(np.arange(days), rows)
    event = begins.take(day_of).reset_index(drop=True) + pd.to_timedelta(np.concatenate(times), unit="h")
    return pd.DataFrame(
        {
            "partition_key": np.array([key(d) for d in range(days)], dtype=object)[day_of],
            "event_time": event,
            "label": np.concatenate(labels),
            "label_known_at": event + pd.to_timedelta(np.concatenate(delays), unit="h"),
        }
    )


def at(days: int = 42) -> datetime:
    return START + timedelta(days=days)


def judged(
    table: pd.DataFrame, days: int = 42, settings: DiagnosisConfig = SETTINGS, **more: str
) -> LabelMaturity:
    return label_maturity(table, at(days), last_aged=key(days - 14), settings=settings, **more)


def delay(table: pd.DataFrame, days: int = 42) -> Finding:
    """The test alone, for simulations."""
    rows = label_ages(table, "label", at(days))
    return delay_change(rows, arrival_law(rows, last_aged=key(days - 14)), SETTINGS)


def lognormal(ages: Floats, scale: float) -> Floats:
    from scipy.stats import lognorm

    return np.asarray(lognorm(0.6, scale=scale).cdf(ages))


AGES = np.array([6.0, 12.0, 24.0, 48.0, 96.0])


def test_the_law_is_recovered_though_young_cohorts_are_truncated() -> None:
    table = pd.concat([parcels(seed=s, spread=0.0) for s in range(4)], ignore_index=True)
    law = judged(table).law
    for code, scale in ((1, 60.0), (0, 15.0)):
        assert law.share(AGES, code) == pytest.approx(lognormal(AGES, scale), abs=0.02)
    young = table[table.partition_key > key(37)]
    naive = label_maturity(young, at(), last_aged=key(41), settings=SETTINGS).law
    assert naive.share(48.0, 1) > law.share(48.0, 1) + 0.1
    mixed = law.mix @ law.shares(AGES)
    assert np.interp(AGES, law.hours, law.overall) == pytest.approx(mixed, abs=0.02)


def test_cohorts_before_the_law_s_first_one_do_not_shape_it() -> None:
    """Slower labels a month ago; the law of the last two weeks knows nothing of them, and judges them all."""
    table = parcels(seed=3, spread=0.0)
    old = table.partition_key < key(14)
    known = table.label_known_at.mask(old, table.event_time + 4 * (table.label_known_at - table.event_time))
    report = judged(table.assign(label_known_at=known), first_aged=key(14))
    assert report.law.share(np.array([24.0]), 0) == pytest.approx(lognormal(np.array([24.0]), 15.0), abs=0.03)
    assert report.law.cohorts == 15
    assert set(report.named("mature")) >= {key(d) for d in range(14)}


def test_weights_give_the_base_rate_back() -> None:
    table = pd.concat([parcels(seed=s, spread=0.0) for s in range(6)], ignore_index=True)
    report, now = judged(table), pd.Timestamp(at())
    day = table[table.partition_key == key(39)]
    known = (day.label_known_at <= now).to_numpy()
    weights = row_weights(day, report.law, at(), "label")
    assert (weights > 0).tolist() == known.tolist()
    truth = day.label.mean()
    assert day.label[known].mean() < truth - 0.03
    assert np.average(day.label, weights=weights) == pytest.approx(truth, abs=0.03)


def test_what_may_be_done_with_partitions() -> None:
    report = judged(parcels(spread=0.05))
    found = {c.partition_key: c.maturity for c in report.cohorts}
    assert [found[key(d)] for d in (20, 28, 29, 41)] == ["mature", "mature", "weighted", "immature"]
    ranks = [("mature", "weighted", "immature").index(c.maturity) for c in report.cohorts]
    assert ranks == sorted(ranks)
    assert report.last_mature == key(28)
    youngest = report.cohorts[-1]
    assert youngest.mature_at is not None and datetime.fromisoformat(youngest.mature_at) > at()
    assert youngest.effective_share < SETTINGS.effective_share
    assert report.findings.state in ("PASS", "UNDERPOWERED")
    weighted = [c for c in report.cohorts if c.maturity == "weighted"]
    assert all(min(v or 0 for v in c.by_class.values()) >= 0.5 for c in weighted)


def test_what_is_known_later_counts_as_unknown() -> None:
    table = parcels()
    cohort = judged(table).cohorts[-1]
    told = table[table.partition_key == key(41)].label_known_at <= pd.Timestamp(at())
    assert cohort.known == told.sum() < 400
    assert cohort.share_known == pytest.approx(told.mean())


def test_an_aged_partition_without_its_labels_is_overdue() -> None:
    table = parcels()
    lost = table.assign(label=table.label.mask(table.partition_key == key(20)))
    report = judged(lost)
    assert (report.usable.state, report.usable.partitions, report.state) == ("FAIL", (key(20),), "FAIL")
    assert report.named("overdue") == [key(20)]
    assert report.law.ultimate == 1, "the lost day lowers nobody's demand"


def test_rare_labels_that_never_come_make_no_small_cohort_overdue() -> None:
    """Thirty rows a day of which one in a hundred is never told: a day that lacks two is complete."""

    def ultimate(rows: int, missing: dict[int, int]) -> float:
        cohort = np.repeat(np.arange(28), rows)
        place = np.tile(np.arange(rows), 28)
        return _ultimate(place >= np.array([missing.get(c, 0) for c in cohort]), cohort)

    assert ultimate(30, {}) == 1
    ever = ultimate(30, dict.fromkeys((3, 9, 14, 20, 26), 2))
    assert 0.98 < ever < 1
    assert ultimate(30, dict.fromkeys(range(3), 30)) == 1, "lost days lower nobody's demand"
    assert ultimate(800, dict.fromkeys(range(21), 160)) == pytest.approx(0.85), "large ones stand alone"
    law = replace(judged(parcels()).law, ultimate=ever)
    assert 24 / 30 < _asked(law, 30, SETTINGS) <= 28 / 30 < 0.95
    complete = replace(law, ultimate=1.0)
    assert _asked(replace(complete, rows=(10**6, 10**6)), 30, SETTINGS) == 0.95
    assert 16 / 18 < _asked(replace(complete, rows=(700, 500)), 18, SETTINGS) < 17 / 18, "one may be missing"
    assert _asked(replace(complete, rows=(700, 500)), 1000, SETTINGS) > 0.945, "of many it is no excuse"


def test_labels_that_never_come_are_not_waited_for() -> None:
    """One in five entities never gets a label: a partition is complete without them."""
    table = parcels(spread=0.05)
    never = np.random.default_rng(5).random(len(table)) < 0.2
    report = judged(table.assign(label=table.label.mask(never)))
    assert report.named("overdue") == []
    assert report.law.ultimate == pytest.approx(0.8, abs=0.03)


def test_a_young_day_whose_labels_stay_away_gets_no_weights() -> None:
    table = parcels(spread=0.05)
    lost = (table.partition_key == key(34)) & (np.random.default_rng(1).random(len(table)) < 0.4)
    cohort = judged(table.assign(label=table.label.mask(lost))).of(key(34))
    assert cohort is not None and cohort.missing == pytest.approx(0.4, abs=0.08)
    assert cohort.maturity == "immature"
    assert judged(table).of(key(34)).maturity == "weighted"  # type: ignore[union-attr]


def test_more_positives_leave_no_label_missing() -> None:
    """The mixed arrivals slow down with the share of slow positives; by class, nothing is missing."""
    table = pd.concat([parcels(positives=0.6, since=32, seed=s, spread=0.0) for s in range(3)])
    cohort = judged(table).of(key(38))
    assert cohort is not None and cohort.expected is not None and cohort.missing is not None
    assert cohort.share_known < cohort.expected - 0.05
    assert abs(cohort.missing) < 0.05 and cohort.maturity == "weighted"


def test_a_doubled_delay_is_found() -> None:
    hits = 0
    for seed in range(20):
        found = delay(parcels(slower=2, since=32, seed=seed))
        hits += found.state == "FAIL" and (found.estimate or 0) < 0
    assert hits >= 18


def test_an_outage_of_the_label_feed_is_found() -> None:
    table = parcels()
    table.loc[table.partition_key >= key(35), "label_known_at"] += pd.Timedelta(days=30)
    report = judged(table)
    assert (report.delay.state, report.delay.partitions[-1]) == ("FAIL", key(40))
    assert report.state == report.findings.state == "FAIL"


def test_no_change_is_found_in_no_change() -> None:
    assert sum(delay(parcels(seed=1000 + seed)).state == "FAIL" for seed in range(40)) <= 2


def test_more_positives_that_arrive_late_are_no_change_of_delay() -> None:
    """Positives arrive later by their own law, so that a prior shift slows the mixed arrivals down."""
    states = [delay(parcels(positives=0.6, since=32, seed=seed)).state for seed in range(10)]
    assert "FAIL" not in states


# --- early positives, late negatives --------------------------------------------------------------

HORIZON, WEEKS, AGED_WEEKS = 90, 50, 35


def answers(slower: float = 1.0, fewer: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Yes within 90 days of a weekly cutoff? A yes is known at once, its absence on day 90."""
    rng, frames = np.random.default_rng(seed), []
    for week in range(WEEKS):
        changed = week >= AGED_WEEKS + 2
        says_yes = rng.random(400) < np.clip(rng.normal(0.35, 0.03), 0.1, 0.6) * (fewer if changed else 1)
        days = rng.exponential(25 * (slower if changed else 1), 400)
        positive = says_yes & (days < HORIZON)
        event = pd.Series(pd.to_datetime([START + timedelta(weeks=week)] * 400))
        frames.append(
            pd.DataFrame(
                {
                    "partition_key": key(7 * week),
                    "event_time": event,
                    "label": positive.astype(float),
                    "label_known_at": event + pd.to_timedelta(np.where(positive, days, HORIZON), unit="D"),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


EARLY = DiagnosisConfig(early_positives=True)


def asked(table: pd.DataFrame) -> LabelMaturity:
    last = key(7 * (AGED_WEEKS - 1))
    return label_maturity(table, at(7 * WEEKS - 6), last_aged=last, settings=EARLY)


def test_negatives_are_defined_at_the_horizon_so_weights_never_apply() -> None:
    report = asked(answers())
    law = report.law
    assert law.share(24.0 * (HORIZON - 1), 0) == 0 and law.share(24.0 * HORIZON, 0) == 1
    assert law.share(24.0 * 25, 1) > 0.5
    assert law.horizon()["negative"] == 24 * HORIZON
    assert report.named("weighted", "overdue") == []
    assert len(report.named("mature")) == AGED_WEEKS
    young = report.of(key(7 * (WEEKS - 5)))
    assert young is not None and young.maturity == "immature" and young.missing is None
    assert young.share_known > 0, "its positives are known, and are no sample of its labels"
    due = START + timedelta(weeks=WEEKS - 5, days=HORIZON)
    assert young.mature_at == due.isoformat()


def test_young_cohorts_of_early_positives_are_judged_by_their_hazard() -> None:
    for seed in range(5):
        assert asked(answers(seed=seed)).delay.state != "FAIL"
        for change in ({"slower": 2.0}, {"fewer": 0.6}):
            found = asked(answers(seed=seed, **change)).delay
            assert (found.statistic, found.state) == ("positive_hazard", "FAIL"), change
            assert found.estimate is not None and found.estimate < -0.2


# --- what cannot be judged --------------------------------------------------------------------------


def test_without_aged_cohorts_it_is_unknown() -> None:
    table = parcels(5)
    report = label_maturity(table, at(5), last_aged="2024-01-01", settings=SETTINGS)
    assert math.isnan(report.law.ultimate) and not report.law.is_known
    assert report.law.mature_at(at(5)) is None
    assert report.findings.state == report.state == "UNKNOWN"
    assert {c.maturity for c in report.cohorts} == {"immature"}
    assert report.last_mature is None


def test_no_labels_at_all_and_labels_of_one_class() -> None:
    table = parcels()
    none = judged(table.assign(label=np.nan))
    assert none.findings.state == "UNKNOWN" and none.named("mature", "weighted") == []
    one = judged(table.assign(label=0.0))
    assert one.law.by_class().keys() == {"negative"}
    assert one.named("mature") and not one.named("weighted"), "who has seen no positive cannot weigh them"


def test_labels_before_their_event_come_at_age_zero() -> None:
    table = parcels()
    early = table.partition_key >= key(30)
    known = table.label_known_at.mask(early, table.event_time - pd.Timedelta(hours=5))
    table = table.assign(label_known_at=known)
    report = judged(table)
    cohort = report.of(key(38))
    assert cohort is not None and cohort.share_known == 1 and cohort.maturity != "mature"
    assert (label_ages(table, "label", at()).delay >= 0).all()
    assert np.isfinite(row_weights(table, report.law, at(), "label")).all()


def test_arrow_tables_and_json() -> None:
    table = parcels()
    again = pa.Table.from_pandas(table.assign(label=table.label.astype("Int64")))
    record = judged(again).record()
    assert record == judged(table).record()
    assert json.loads(json.dumps(record, allow_nan=False))["law"]["last_aged"] == key(28)


def test_bad_input_says_what_and_where() -> None:
    with pytest.raises(IntegrityError, match="label_known_at"):
        judged(parcels().drop(columns="label_known_at"))
    with pytest.raises(ConfigError, match="offset"):
        label_maturity(parcels(), datetime(2024, 4, 1), last_aged=key(1), settings=SETTINGS)
