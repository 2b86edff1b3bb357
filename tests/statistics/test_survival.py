"""Held to the published numbers of Freireich's leukaemia trial (1963): weeks in remission of 42 patients."""

import numpy as np
import pytest

from ml_platform.statistics.survival import kaplan_meier, log_rank, risk_table

# Treated with 6-MP; the others were still in remission when they were last seen.
TREATED = np.array(
    [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], dtype=np.float64
)
RELAPSED = np.isin(np.arange(21), [0, 1, 2, 4, 6, 9, 10, 14, 15])
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], dtype=np.float64)


def test_kaplan_and_meier_s_estimate() -> None:
    """Kleinbaum and Klein, Survival Analysis (2012), table 2.3."""
    at = np.array([5.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0, 35.0])
    published = [1, 0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482, 0.4482]
    assert kaplan_meier(TREATED, RELAPSED, at) == pytest.approx(published, abs=5e-5)


def test_without_censoring_it_is_the_share_that_is_left() -> None:
    left = kaplan_meier(PLACEBO, np.ones(21, dtype=bool), np.array([1.0, 8.0, 23.0]))
    assert left == pytest.approx([19 / 21, 8 / 21, 0])


def test_the_log_rank_test() -> None:
    """The same, section 2.6: expected 19.25 and 10.75, chi-squared 16.79."""
    until = np.r_[TREATED, PLACEBO]
    happened = np.r_[RELAPSED, np.ones(21, dtype=bool)]
    found = log_rank(until, happened, np.arange(42) >= 21)
    assert found.observed == (9, 21)
    assert found.expected == pytest.approx((19.25, 10.75), abs=0.005)
    assert found.statistic == pytest.approx(16.79, abs=0.005)
    assert found.p_value == pytest.approx(4.17e-5, rel=0.01)


def test_equal_groups_do_not_differ() -> None:
    until, happened = np.r_[TREATED, TREATED], np.r_[RELAPSED, RELAPSED]
    found = log_rank(until, happened, np.arange(42) >= 21)
    assert (found.statistic, found.p_value) == (pytest.approx(0), pytest.approx(1))


def test_the_risk_table_counts_those_still_observed() -> None:
    group = np.array([0, 0, 1, 1])
    until, happened = np.array([1.0, 2.0, 2.0, np.inf]), np.array([True, True, False, False])
    table = risk_table(until, happened, np.array([1.0, 2.0, 3.0]), group, 2)
    assert table.at_risk.tolist() == [[2, 1, 0], [2, 2, 1]]
    assert table.events.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_nothing_happened() -> None:
    assert kaplan_meier(TREATED, np.zeros(21, dtype=bool), np.array([10.0])).tolist() == [1]
    assert log_rank(TREATED, np.zeros(21, dtype=bool), np.arange(21) > 9).p_value == 1
