import numpy as np
import pytest
from scipy import stats

from ml_platform.statistics.blocks import adjust, change_of_days, judge, lone_level, mean_of_days
from ml_platform.statistics.states import worst


def autocorrelated(rng: np.random.Generator, days: int, lag1: float) -> np.ndarray:
    shocks = rng.standard_normal(days + 30)
    for i in range(1, days + 30):
        shocks[i] += lag1 * shocks[i - 1]
    return shocks[30:]


def test_days_that_resemble_their_neighbours_do_not_alarm_more_often_than_promised() -> None:
    rng = np.random.default_rng(5)
    blocked, welch = 0, 0
    for _ in range(600):
        reference, current = autocorrelated(rng, 28, 0.4), autocorrelated(rng, 7, 0.4)
        blocked += change_of_days(reference, current).p_value() < 0.01
        welch += stats.ttest_ind(reference, current, equal_var=False).pvalue < 0.01
    assert blocked / 600 < 0.025
    assert welch / 600 > 0.05


def test_the_detectable_effect_is_found_four_times_out_of_five() -> None:
    rng = np.random.default_rng(6)
    found = []
    for _ in range(600):
        reference, current = rng.standard_normal(28), rng.standard_normal(28)
        effect = change_of_days(reference, current).minimal_detectable_effect(0.05)
        found.append(change_of_days(reference, current + effect).p_value() < 0.05)
    assert 0.74 < np.mean(found) < 0.9


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    intervals = [mean_of_days(autocorrelated(rng, 40, 0.3)).interval() for _ in range(500)]
    assert 0.93 < np.mean([low < 0 < high for low, high in intervals]) < 0.985


def test_a_short_reference_widens_the_error() -> None:
    days = np.tile([-1.0, 1.0, 1.0, -1.0], 10)
    assert change_of_days(days[:8], days).se > 1.5 * change_of_days(days, days).se


def test_constant_days_differ_exactly_or_not_at_all() -> None:
    assert change_of_days([0.1 + 0.2] * 5, [0.3] * 5).p_value() == 1
    assert change_of_days([0.0] * 5, [0.2] * 5).p_value() == 0
    assert change_of_days([0.2] * 5, [0.0] * 5).p_value("greater") == 1


def test_one_day_alone_says_nothing() -> None:
    estimate = mean_of_days([0.4])
    assert estimate.p_value() == 1
    assert estimate.minimal_detectable_effect(0.05) == np.inf


@pytest.mark.parametrize(
    ("shift", "floor", "state"),
    [(0.0, 0.5, "PASS"), (1.0, 0.5, "FAIL"), (0.0, 0.001, "UNDERPOWERED"), (0.2, 0.5, "PASS")],
)
def test_the_four_states(shift: float, floor: float, state: str) -> None:
    reference = np.tile([-0.1, 0.1, 0.1, -0.1], 7)
    change = change_of_days(reference, reference[:8] + shift)
    detectable = change.minimal_detectable_effect(0.01)
    significant = change.p_value() < 0.01
    assert judge(change, significant=significant, floor=floor, effect=shift, detectable=detectable) == state


def test_fewer_than_eight_days_in_all_cannot_fail() -> None:
    change = change_of_days([0, 0.1, 0, 0.1], [9, 9.1, 9])
    assert change.p_value() < 1e-4
    assert judge(change, significant=True, floor=0.1, effect=9, detectable=0.1) == "UNDERPOWERED"


def test_no_days_are_unknown() -> None:
    change = change_of_days([], [1.0, 2.0])
    assert judge(change, significant=False, floor=1, effect=0, detectable=0) == "UNKNOWN"
    assert worst([]) == "UNKNOWN"
    assert worst(["PASS", "UNDERPOWERED", "UNKNOWN"]) == "UNKNOWN"
    assert worst(["PASS", "UNKNOWN", "FAIL"]) == "FAIL"


def test_a_lone_effect_passes_the_adjustment_exactly_at_its_level() -> None:
    level = lone_level(0.05, 10)
    assert adjust([level * 0.99] + [1.0] * 9)[0] < 0.05
    assert adjust([level * 1.01] + [1.0] * 9)[0] > 0.05
    assert adjust([]) == []
