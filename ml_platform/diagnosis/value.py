"""Expected value of an action, with the numbers it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from ml_platform.guard_config import ValueConfig
from ml_platform.statistics.states import State


@dataclass(frozen=True)
class ExpectedValue:
    """Worth of an action.

    Attributes:
        state: PASS above zero, FAIL at or below, UNKNOWN when the loss change is not known; None where nobody
            has said what a unit of loss is worth, so that there is nothing to weigh.
        value: Net worth, in ``currency``; None when UNKNOWN.
        gain: value per unit × volume × horizon × loss reduction.
        compute: Cost of computing.
        review: Cost of a person's review.
        regression: P(regression) × its cost.
        volume: Predictions per partition.
        loss_reduction: Estimated fall of the mean loss per prediction.
        currency: Unit of the amounts.
        sentence: All of it in words.
    """

    state: State | None
    value: float | None
    gain: float | None
    compute: float
    review: float
    regression: float
    volume: float | None
    loss_reduction: float | None
    currency: str
    sentence: str


def expected_value(
    loss_reduction: float | None, volume: float | None, compute_seconds: float, settings: ValueConfig
) -> ExpectedValue:
    """Expected value of an action that works for ``settings.horizon_partitions``.

    Args:
        loss_reduction: Fall of the mean loss per prediction; None when it is not known.
        volume: Predictions per partition; None when it is not known.
        compute_seconds: Of training and evaluation.
        settings: Worth and prices.
    """
    compute = compute_seconds / 3600 * settings.compute_hour
    regression = settings.regression_probability * settings.regression_cost
    gain = value = None
    state: State | None = "UNKNOWN"
    sentence = "the expected value is not known, because the loss change or the volume is not known"
    if settings.per_loss_unit is None:
        # A cost that stands by default against a worth that nobody named would decide by itself.
        state = None
        sentence = (
            "not weighed: nobody has said what a better model is worth (retraining.value.per_loss_unit), so "
            "that its price decides nothing"
        )
    elif loss_reduction is not None and volume is not None:
        gain = settings.per_loss_unit * volume * settings.horizon_partitions * loss_reduction
        value = gain - compute - settings.review - regression
        state = "PASS" if value > 0 else "FAIL"
        sentence = (
            f"{settings.per_loss_unit:g} {settings.currency} × {volume:,.0f} predictions × "
            f"{settings.horizon_partitions} partitions × {loss_reduction:.4f} less loss = {gain:,.2f}; "
            f"less compute {compute:,.2f}, review {settings.review:,.2f} and risk {regression:,.2f} "
            f"leaves {value:,.2f} {settings.currency}"
        )
    return ExpectedValue(
        state,
        value,
        gain,
        compute,
        settings.review,
        regression,
        volume,
        loss_reduction,
        settings.currency,
        sentence,
    )
