"""Days, not rows, are the sample."""

import numpy as np
import pytest

from ml_platform.modeling.day_bounds import MINIMUM_DAYS, mean_of_days


def _rejections(lag1: float, days: int = 28, runs: int = 700) -> float:
    """How often the 95 % bound says that a mean of zero is above zero."""
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(runs, days + 50))
    series = noise.copy()
    for t in range(1, days + 50):
        series[:, t] = lag1 * series[:, t - 1] + noise[:, t]
    return float(np.mean([mean_of_days(s[50:]).lower(0.95) > 0 for s in series]))


@pytest.mark.parametrize("lag1", [0.0, 0.3, 0.5])
def test_the_bound_errs_about_as_rarely_as_it_says(lag1: float) -> None:
    assert 0.02 <= _rejections(lag1) <= 0.08


def test_bounds_are_one_sided_and_meet_the_p_value() -> None:
    mean = mean_of_days(np.random.default_rng(2).normal(0.1, 0.2, 28))
    assert mean.lower(0.95) < mean.value < mean.upper(0.95)
    assert mean.p_above(mean.lower(0.95)) == pytest.approx(0.05)
    assert mean.p_above(mean.value) == pytest.approx(0.5)


def test_likeness_of_neighbouring_days_widens_the_bound() -> None:
    values = np.sort(np.random.default_rng(3).normal(size=28))
    shuffled = np.random.default_rng(4).permutation(values)
    assert mean_of_days(values).se > 1.5 * mean_of_days(shuffled).se


def test_weights_count_each_row_once() -> None:
    values, rows = np.array([0.0, 1.0, 0.0, 1.0, 0.0]), np.array([1.0, 3.0, 1.0, 3.0, 2.0])
    assert mean_of_days(values, rows).value == pytest.approx(0.6)
    assert mean_of_days(values).value == pytest.approx(0.4)


def test_equal_weights_are_no_weights() -> None:
    values = np.random.default_rng(5).normal(size=12)
    assert mean_of_days(values, np.full(12, 7.0)).se == pytest.approx(mean_of_days(values).se)


def test_days_without_rows_are_left_out() -> None:
    values = np.array([0.1, np.nan, 0.2, 0.3, 0.1, np.nan, 0.2])
    assert mean_of_days(values) == mean_of_days(values[~np.isnan(values)])


def test_too_few_days_have_no_bounds() -> None:
    few = mean_of_days(np.arange(MINIMUM_DAYS - 1, dtype=np.float64))
    assert np.isinf(few.se)
    assert few.p_above(-100) == 1.0
    assert np.isnan(mean_of_days(np.array([])).value)


def test_equal_days_are_certain() -> None:
    mean = mean_of_days(np.full(10, 0.3))
    assert mean.se == 0
    assert mean.lower(0.95) == mean.upper(0.95) == pytest.approx(0.3)
    assert mean.p_above(0.2) == 0.0
    assert mean.p_above(0.4) == 1.0
