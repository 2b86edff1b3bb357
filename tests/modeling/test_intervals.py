"""Where a number probably lies: on average, and for the few large predictions of a skewed target."""

import numpy as np
import pytest

from ml_platform.modeling.frames import Floats
from ml_platform.modeling.intervals import SHARE, Interval


def amounts(seed: int, rows: int = 40_000) -> tuple[Floats, Floats]:
    """Outcomes and their expectations: most are nothing, and what is large is uncertain in proportion."""
    rng = np.random.default_rng(seed)
    scores = rng.lognormal(1, 1.4, rows)
    bought = rng.random(rows) < 0.6
    return np.where(bought, scores / 0.6 * rng.gamma(2, 0.5, rows), 0.0), scores


def inside(seed: int, interval: Interval, above: float) -> float:
    labels, scores = amounts(seed)
    low, high = interval.around(scores)
    chosen = scores >= np.quantile(scores, above)
    return float(((low <= labels) & (labels <= high))[chosen].mean())


def test_four_outcomes_in_five_lie_inside_of_large_predictions_too() -> None:
    interval = Interval.fit(*amounts(1))
    assert inside(2, interval, 0.0) == pytest.approx(SHARE, abs=0.06)
    assert inside(2, interval, 0.99) == pytest.approx(SHARE, abs=0.08)
    assert inside(2, interval, 0.999) > 0.6, "forty rows"


def test_an_amount_is_not_expected_below_zero() -> None:
    labels, scores = amounts(1)
    low, high = Interval.fit(labels, scores).around(scores)
    assert low.min() == 0 and (high >= low).all()
    shifted = Interval.fit(labels - 100, scores - 100)
    assert shifted.least is None and shifted.around(scores - 100)[0].min() < -100


def test_few_rows_have_one_band() -> None:
    labels, scores = amounts(1, rows=150)
    assert Interval.fit(labels, scores).edges == ()
