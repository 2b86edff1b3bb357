"""A calibrator is kept only where it improves."""

import numpy as np
import pytest
from scipy import special

from ml_platform.kinds.binary import Binary
from ml_platform.modeling.calibration import Calibrator, calibrate
from ml_platform.modeling.frames import Floats, blocked_folds, log_odds

from .parcels import parcels

KIND = Binary()

TABLE = parcels(days=40, rows=200, seed=3, shock=0.0)
TRUTH = TABLE["truth"].to_numpy()
LABELS = TABLE["late"].to_numpy(np.float64)
PARTITIONS = TABLE["partition_key"].to_numpy(dtype=object)
FOLDS = blocked_folds(PARTITIONS, 5)


def _stepped(truth: Floats) -> Floats:
    """A rising distortion that no line on log-odds undoes."""
    return np.where(truth < 0.3, truth * 0.2, 0.7 + 0.3 * truth)


def test_calibrated_scores_are_left_alone() -> None:
    calibrator, scores, report = calibrate(KIND, TRUTH, LABELS, FOLDS, PARTITIONS)
    assert calibrator == Calibrator()
    assert report.gain == 0
    assert np.array_equal(scores, TRUTH)


def test_overconfident_scores_are_calibrated_by_platt() -> None:
    overconfident = special.expit(3 * log_odds(TRUTH))
    calibrator, scores, report = calibrate(KIND, overconfident, LABELS, FOLDS, PARTITIONS)
    assert report.method == calibrator.method == "platt"
    assert calibrator.x[0] == pytest.approx(1 / 3, abs=0.05)
    assert KIND.losses(LABELS, scores).mean() < KIND.losses(LABELS, overconfident).mean() - 0.1
    assert report.gain > 2 * report.gain_error > 0


def test_a_distortion_that_no_line_undoes_is_calibrated_by_isotonic() -> None:
    calibrator, _, report = calibrate(KIND, _stepped(TRUTH), LABELS, FOLDS, PARTITIONS)
    assert calibrator.method == "isotonic"
    assert report.loss["isotonic"] < report.loss["platt"] < report.loss["none"]


def test_isotonic_does_not_win_by_fitting_noise() -> None:
    few = np.arange(LABELS.size) % 20 == 0
    _, _, report = calibrate(KIND, TRUTH[few], LABELS[few], FOLDS[few], PARTITIONS[few])
    assert report.loss["isotonic"] > report.loss["none"]
    assert report.method == "none"


def test_switched_off_it_tries_nothing() -> None:
    _, _, report = calibrate(KIND, special.expit(3 * log_odds(TRUTH)), LABELS, FOLDS, PARTITIONS, ("none",))
    assert set(report.loss) == {"none"}


def test_scores_that_rank_the_wrong_way_round_are_never_turned_round() -> None:
    calibrator, _, report = calibrate(KIND, 1 - TRUTH, LABELS, FOLDS, PARTITIONS, ("none", "platt"))
    assert calibrator.method == "none"
    assert "platt" not in report.loss


@pytest.mark.parametrize("distortion", [lambda t: special.expit(3 * log_odds(t)), _stepped])
def test_a_calibrator_keeps_the_order_and_stays_within_bounds(distortion) -> None:  # type: ignore[no-untyped-def]
    calibrator, _, _ = calibrate(KIND, distortion(TRUTH), LABELS, FOLDS, PARTITIONS)
    calibrated = calibrator.apply(np.linspace(0, 1, 1001))
    assert (np.diff(calibrated) >= 0).all()
    assert calibrated.min() > 0
    assert calibrated.max() < 1
