import numpy as np
import pytest
from scipy.stats import binomtest

from ml_platform.monitoring.quarantined import Delivered, quarantined_share
from ml_platform.statistics.finding import Finding


def days(first: int, landed: list[int], quarantined: list[int]) -> Delivered:
    keys = tuple(f"2024-03-{first + i:02}" for i in range(len(landed)))
    return Delivered(keys, np.array(landed), np.array(quarantined))


PAST = days(1, [900] * 20, [0] * 18 + [9, 3])


def judge(now: Delivered, past: Delivered = PAST, **more: object) -> Finding:
    return quarantined_share("orders", past, now, fallback=0.1, **more)  # type: ignore[arg-type]


def test_a_day_is_named_that_a_week_hides() -> None:
    now = days(21, [900] * 7, [0, 0, 0, 270, 4, 0, 0])
    found = judge(now, rules={"2024-03-24": "distance_required"})
    assert now.quarantined.sum() / now.landed.sum() < 0.05
    assert (found.state, found.partitions) == ("FAIL", ("2024-03-24",))
    assert found.estimate == pytest.approx(0.3) and found.floor == pytest.approx(0.06)
    assert "most of them by distance_required; at most 1.0% of the 20 before" in found.detail


def test_a_day_must_leave_the_worst_one_before_by_five_points_and_by_more_than_chance() -> None:
    usual = days(1, [900] * 20, [90] * 20)
    assert judge(days(21, [900], [134]), usual).state == "PASS"
    assert judge(days(21, [900], [150]), usual).state == "FAIL"
    # Few rows: a fifth of ten is above the limit, and not rare enough.
    few, base = days(21, [10], [3]), 0.1
    assert binomtest(3, 10, base, alternative="greater").pvalue > 1e-4
    assert judge(few, usual).state == "PASS"
    assert binomtest(8, 10, base, alternative="greater").pvalue < 1e-4
    assert judge(days(21, [10], [8]), usual).state == "FAIL"


def test_without_days_before_the_share_that_may_differ_decides() -> None:
    none = days(1, [], [])
    assert judge(days(21, [900], [89]), none).state == "PASS"
    found = judge(days(21, [900], [99]), none)
    assert found.state == "FAIL" and "none came before" in found.detail


def test_a_segment_is_named_though_the_day_hides_it() -> None:
    now = days(21, [4000], [100])
    north = days(1, [250] * 20, [2] * 20), days(21, [260], [90])
    small = days(1, [90] * 20, [0] * 20), days(21, [90], [10])
    found = judge(now, segments={"depot=north": north, "depot=west": small})
    assert (found.state, found.facts["segments"]) == ("FAIL", {"depot=north": 0.3462})
    assert found.partitions == ("2024-03-21",) and "34.6% at depot=north; overall 2.5%" in found.detail
    assert judge(now, segments={"depot=west": small}).state == "PASS", "too few rows to be judged"


def test_clean_feeds_alarm_on_hardly_any_day() -> None:
    """Rates that differ by day as those of a feed do (beta), 500 weeks of seven days against 28."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(500):
        rates = rng.beta(1, 60, 35)
        bad = rng.binomial(800, rates)
        past, now = days(1, [800] * 28, bad[:28].tolist()), days(1, [800] * 7, bad[28:].tolist())
        alarms += judge(now, past).state == "FAIL"
    assert alarms <= 10
