import numpy as np
import pytest

from ml_platform.statistics.shrinkage import shrink


def test_noise_alone_shrinks_to_its_mean() -> None:
    estimates = np.array([-0.1, 0.0, 0.1, 0.02, -0.02])
    assert shrink(estimates, np.full(5, 0.2)) == pytest.approx(np.zeros(5))


def test_precise_estimates_hardly_move_and_vague_ones_do() -> None:
    shrunk = shrink([1.0, -1.0, 1.0, -1.0], [0.01, 0.01, 2.0, 2.0])
    assert shrunk[:2] == pytest.approx([1, -1], abs=0.01)
    assert 0 < shrunk[2] < 0.4


def test_the_variance_is_that_of_dersimonian_and_laird() -> None:
    y, v = np.array([0.1, 0.5, -0.3, 0.9]), np.array([0.04, 0.02, 0.09, 0.05])
    w = 1 / v
    mean = (w * y).sum() / w.sum()
    tau2 = ((w * (y - mean) ** 2).sum() - 3) / (w.sum() - (w**2).sum() / w.sum())
    center = (y / (v + tau2)).sum() / (1 / (v + tau2)).sum()
    assert shrink(y, np.sqrt(v)) == pytest.approx(center + tau2 / (tau2 + v) * (y - center))


def test_shrunk_estimates_are_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(1)
    errors = rng.uniform(0.5, 2, 400)
    truth = rng.normal(0.3, 0.8, 400)
    estimates = truth + errors * rng.standard_normal(400)
    shrunk = shrink(estimates, errors)
    assert np.mean((shrunk - truth) ** 2) < 0.5 * np.mean((estimates - truth) ** 2)
    assert np.std(shrunk) < np.std(truth)


def test_a_known_center_needs_no_company() -> None:
    assert shrink([0.4], [0.1], center=0)[0] == pytest.approx(0.4 * 0.15 / 0.16)
    assert shrink([0.1], [0.2], center=0)[0] == 0
    assert shrink([0.4], [0.1])[0] == pytest.approx(0.4)


def test_what_was_not_seen_gets_the_center() -> None:
    assert shrink([5.0, np.nan, 0.1], [np.inf, 1.0, 0.0], center=0) == pytest.approx([0, 0, 0.1])
    assert np.isnan(shrink([5.0], [np.inf])).all()
    assert shrink([], []).size == 0
    assert shrink([0.2, 0.3], [0.0, 0.0]) == pytest.approx([0.2, 0.3])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        shrink([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="negative"):
        shrink([1.0], [-1.0])
