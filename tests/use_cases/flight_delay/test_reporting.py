"""The law of the label delay: what it promises, and that nothing but the key and the seed decides."""

import datetime as dt

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from ml_platform.config import UseCase
from ml_platform.errors import FeedError
from ml_platform.use_cases.flight_delay.reporting import ReportingLaw, text_hashes, uniform_of_key

from .conftest import Read

DELAYS = """
SELECT o.cancelled OR o.diverted OR o.arr_delay > 15 AS late,
    date_diff('second', CASE
        WHEN o.cancelled THEN s.scheduled_departure + INTERVAL 6 HOUR
        WHEN o.diverted THEN s.scheduled_arrival + INTERVAL 6 HOUR
        ELSE s.scheduled_arrival + to_minutes(o.arr_delay) END, o.known_at) / 3600 AS hours
FROM outcomes o JOIN schedule s USING (partition_key, carrier, flight, origin)
"""


@pytest.fixture(scope="module")
def delays(read: Read) -> dict[str, np.ndarray]:
    """Hours from the end of a flight to its report, of the whole year."""
    with duckdb.connect() as db:
        db.register("outcomes", read("flight_outcomes"))
        db.register("schedule", read("flight_schedule"))
        return db.execute(DELAYS).fetchnumpy()


def test_the_law_is_the_one_that_is_promised(delays: dict[str, np.ndarray]) -> None:
    hours = delays["hours"]
    assert hours.size == 336_776
    assert np.median(hours) == pytest.approx(18, abs=0.5)
    assert np.mean(hours <= 5 * 24) == pytest.approx(0.95, abs=0.005)
    assert hours.min() > 0
    assert 9 * 24 < hours.max() <= 10 * 24


def test_late_flights_are_reported_later(delays: dict[str, np.ndarray]) -> None:
    late = delays["late"].astype(bool)
    slow, fast = delays["hours"][late], delays["hours"][~late]
    for share in (0.1, 0.5, 0.9, 0.95):
        assert np.quantile(slow, share) > 1.2 * np.quantile(fast, share)
    assert np.mean(slow <= 7 * 24) > 0.95


def test_young_labels_flatter(delays: dict[str, np.ndarray]) -> None:
    late, arrived = delays["late"].astype(bool), delays["hours"] <= 24
    assert late[arrived].mean() < late.mean() - 0.04


def test_every_outcome_is_known_when_its_day_is_mature(use_case: UseCase, read: Read) -> None:
    outcomes = read("flight_outcomes")
    wait = use_case.model("arrival_delay").label.maturity_partitions
    starts = {
        key: use_case.scheme.instant(dt.date.fromisoformat(key) + dt.timedelta(days=wait))
        for key in outcomes["partition_key"].unique().to_pylist()
    }
    with duckdb.connect() as db:
        db.register("outcomes", outcomes)
        latest = dict(db.execute("SELECT partition_key, max(known_at) FROM outcomes GROUP BY 1").fetchall())
    assert len(starts) == 365
    assert all(latest[key] <= start for key, start in starts.items())
    assert max(latest[k] - starts[k] for k in starts) > -dt.timedelta(days=1), "no shorter wait would do"


def test_a_flight_has_its_delay_whatever_else_is_in_the_file() -> None:
    parts = [np.arange(1000, dtype=np.uint64), text_hashes(["UA", "AA"] * 500)]
    shares = uniform_of_key(7, parts)
    order = np.random.default_rng(1).permutation(1000)
    np.testing.assert_array_equal(uniform_of_key(7, [p[order] for p in parts]), shares[order])
    np.testing.assert_array_equal(uniform_of_key(7, [p[:10] for p in parts]), shares[:10])


def test_reading_one_day_or_the_year_gives_the_same_reports(read: Read) -> None:
    year = read("flight_outcomes")
    day = read("flight_outcomes", "2013-06-09", "2013-06-09")
    same = year.filter(pa.compute.equal(year["partition_key"], "2013-06-09"))
    assert day.num_rows > 800 and day.equals(same)


def test_delays_are_pinned() -> None:
    """Stored cohorts would shift if another version of anything drew other delays."""
    parts = [
        np.asarray([15_865], np.uint64),
        text_hashes(["UA"]),
        text_hashes(["EWR"]),
        np.asarray([1545], np.uint64),
    ]
    share = uniform_of_key(2013, parts)
    assert share[0] == pytest.approx(0.34165997477659155, abs=1e-15)
    law = ReportingLaw()
    assert law.minutes(share, np.asarray([False]))[0] == 563
    assert law.minutes(share, np.asarray([True]))[0] == 1070


def test_shares_are_uniform_and_another_seed_draws_others() -> None:
    parts = [np.arange(200_000, dtype=np.uint64)]
    shares = uniform_of_key(1, parts)
    counts = np.histogram(shares, bins=20, range=(0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 50, "chi-squared with 19 degrees of freedom"
    assert abs(np.corrcoef(shares, uniform_of_key(2, parts))[0, 1]) < 0.01


def test_each_setting_does_what_it_says() -> None:
    shares, on_time = np.linspace(0.005, 0.995, 100), np.zeros(100, bool)
    plain = ReportingLaw().minutes(shares, on_time)
    assert ReportingLaw(maximum_hours=48).minutes(shares, on_time).max() <= 48 * 60
    assert np.median(ReportingLaw(median_hours=32).minutes(shares, on_time)) > 1.6 * np.median(plain)
    heavy = ReportingLaw(spread=1.2).minutes(shares, on_time)
    assert np.quantile(heavy, 0.9) > np.quantile(plain, 0.9) and np.quantile(heavy, 0.1) < np.quantile(
        plain, 0.1
    )
    even = ReportingLaw(late_factor=1)
    np.testing.assert_array_equal(even.minutes(shares, on_time), even.minutes(shares, ~on_time))


@pytest.mark.parametrize("wrong", [{"maximum_hours": 241}, {"late_factor": 0.5}, {"spread": 0}, {"mean": 3}])
def test_a_malformed_law_is_refused(read: Read, wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ReportingLaw.model_validate(wrong)
    with pytest.raises(FeedError, match=next(iter(wrong))):
        read("flight_outcomes", "2013-06-09", "2013-06-09", reporting_law=wrong)
