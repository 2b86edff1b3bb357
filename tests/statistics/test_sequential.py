import math

import numpy as np
import pytest
from scipy import stats

from ml_platform.statistics.sequential import harm

REFERENCE = 28


def paths(count: int, days: int, lag1: float, seed: int) -> np.ndarray:
    """Days of a stationary AR(1) series with a standard deviation of 1, one path per row."""
    shocks = np.random.default_rng(seed).standard_normal((count, days))
    for day in range(1, days):
        shocks[:, day] = lag1 * shocks[:, day - 1] + math.sqrt(1 - lag1**2) * shocks[:, day]
    return shocks


def first_alarm(path: np.ndarray, rise: float = 0.0) -> int | None:
    """Number of current days at which daily peeking first alarms."""
    reference, current = path[:REFERENCE], path[REFERENCE:] + rise
    looks = range(1, current.size + 1)
    return next((n for n in looks if harm(reference, current[:n], alpha=0.05, floor=0.1).lower > 0), None)


@pytest.mark.parametrize(("lag1", "count"), [(0.0, 100), (0.45, 300)])
def test_daily_peeking_for_180_days_raises_few_false_alarms(lag1: float, count: int) -> None:
    alarms = [first_alarm(path) is not None for path in paths(count, REFERENCE + 180, lag1, seed=1)]
    assert np.mean(alarms) <= 0.07


def test_a_daily_t_test_peeked_at_alarms_often() -> None:
    def rises(path: np.ndarray, days: int) -> bool:
        current = path[REFERENCE : REFERENCE + days]
        return (
            stats.ttest_ind(current, path[:REFERENCE], equal_var=False, alternative="greater").pvalue < 0.05
        )

    reached = [any(rises(p, n) for n in range(2, 180, 4)) for p in paths(80, 208, 0.45, seed=2)]
    assert np.mean(reached) > 0.3


def test_a_rise_of_two_standard_deviations_is_found_within_weeks() -> None:
    found = [first_alarm(path, rise=2) for path in paths(100, REFERENCE + 42, 0.45, seed=3)]
    assert np.mean([f is not None for f in found]) > 0.8
    assert np.median([f for f in found if f]) <= 16


def test_the_detectable_effect_is_found_four_times_out_of_five() -> None:
    found = []
    for path in paths(400, REFERENCE + 28, 0.3, seed=4):
        effect = harm(path[:REFERENCE], path[REFERENCE:], alpha=0.05, floor=0.1).minimal_detectable_effect
        raised = path[REFERENCE:] + effect
        found.append(harm(path[:REFERENCE], raised, alpha=0.05, floor=0.1).lower > 0)
    assert 0.72 < np.mean(found) < 0.92


def test_the_error_of_a_short_reference_stays_in_the_width() -> None:
    path = paths(1, 428, 0.0, seed=5)[0]
    short = harm(path[:14], path[28:], alpha=0.05, floor=0.1)
    long = harm(path[:28], path[28:], alpha=0.05, floor=0.1)
    assert short.upper - short.estimate > 1.2 * (long.upper - long.estimate)
    assert long.estimate - long.lower > 2 * path.std() / math.sqrt(28)


def test_the_four_states() -> None:
    calm = np.tile([0.49, 0.51, 0.51, 0.49], 7)
    assert harm(calm, calm, alpha=0.05, floor=0.05).state == "PASS"
    assert harm(calm, calm + 0.2, alpha=0.05, floor=0.05).state == "FAIL"
    assert harm(calm, calm + 0.03, alpha=0.05, floor=0.05).state == "PASS"
    assert harm(calm, calm - 0.2, alpha=0.05, floor=0.05).state == "PASS"
    assert harm(calm, calm, alpha=0.05, floor=0.001).state == "UNDERPOWERED"
    assert harm(calm[:4], calm[:3] + 1, alpha=0.05, floor=0.05).state == "UNDERPOWERED"


@pytest.mark.parametrize(
    ("reference", "current"), [([], []), ([0.5] * 28, []), ([], [0.5]), ([0.5], [math.nan])]
)
def test_without_days_nothing_is_known(reference: list[float], current: list[float]) -> None:
    test = harm(reference, current, alpha=0.05, floor=0.05)
    assert test.state == "UNKNOWN"
    assert math.isnan(test.estimate)
    assert test.minimal_detectable_effect == math.inf


def test_constant_days_differ_exactly() -> None:
    assert harm([0.5] * 28, [0.7] * 7, alpha=0.05, floor=0.05).lower == pytest.approx(0.2)
    assert harm([0.5] * 28, [0.5] * 7, alpha=0.05, floor=0.05).state == "PASS"


def test_one_current_day_is_bounded_by_the_reference_alone() -> None:
    path = paths(1, 29, 0.0, seed=6)[0]
    test = harm(path[:28], path[28:], alpha=0.05, floor=0.1)
    assert test.lower < test.estimate < test.upper
    assert test.days == 29
