"""What a model's decisions were worth, in money: right and wrong ones on matured, served predictions.

Beside it stands the worth of the best constant decision on the same rows (always the positive one, or always
the negative one): what the model adds is the difference. That is no counterfactual of the world: that a
decision changed the outcome cannot be known from these data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_platform.guard_config import DecisionValueConfig
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions

KNOWN, UNKNOWN = "known", "unknown"


@dataclass(frozen=True)
class DecisionWorth:
    """Decisions of one model on predictions whose outcome is known.

    Attributes:
        model_key: The model.
        state: ``known`` or ``unknown``.
        partitions: Matured, served partitions.
        rows: Decisions judged.
        right: Of those, right ones.
        false_alarms: Positive decisions on a negative outcome.
        missed: Negative decisions on a positive outcome.
        worth: Of all of them; None when unknown.
        constant: Worth of the better constant decision on the same rows; None when unknown.
        currency: Unit of the amounts.
        reason: Why it is not known; what it was reckoned from when it is.
    """

    model_key: str
    state: str
    partitions: int
    rows: int
    right: int
    false_alarms: int
    missed: int
    worth: float | None
    constant: float | None
    currency: str
    reason: str

    @property
    def added(self) -> float | None:
        """What the model adds to the better constant decision."""
        return None if self.worth is None or self.constant is None else self.worth - self.constant


def decision_worth(platform: Platform, target: Target, as_of: datetime) -> DecisionWorth:
    """Reckon the decisions served up to an instant, by all champions there were, on matured partitions."""
    value = target.model.retraining.value
    champion = promotions.champion(platform.ledger, target.key, as_of)

    def unknown(reason: str, partitions: int = 0) -> DecisionWorth:
        return DecisionWorth(target.key, UNKNOWN, partitions, 0, 0, 0, 0, None, None, value.currency, reason)

    if target.model.kind != "binary":
        return unknown(f"right and wrong have no amounts for a {target.model.kind} target")
    if value.decisions is None:
        return unknown("the use case does not say what decisions are worth (retraining.value.decisions)")
    if champion is None:
        return unknown("nothing has been promoted")
    live = Live(platform, target, as_of, champion)
    keys = [k for k in live.heads if k <= live.last_mature]
    labels = live.labels(keys)
    rows = live.judged(keys, labels) if labels is not None else None
    if rows is None or not rows.num_rows:
        return unknown("no label of what was served is mature", len(keys))
    words = target.model.serving.decision
    said = np.asarray(rows["decision"].to_pylist())
    if not np.isin(said, (words.positive, words.negative)).all():
        return unknown("the words of the decision have changed since some of them were served", len(keys))
    return _reckoned(
        target, len(keys), said == words.positive, _truth(target, rows), value.decisions, value.currency
    )


def _truth(target: Target, rows: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(rows[target.model.label.column].to_numpy(), dtype=np.float64) > 0.5


def _reckoned(
    target: Target,
    partitions: int,
    positive: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    amounts: DecisionValueConfig,
    currency: str,
) -> DecisionWorth:
    false_alarms, missed = int((positive & ~truth).sum()), int((~positive & truth).sum())
    rows, positives = len(truth), int(truth.sum())
    right = rows - false_alarms - missed
    constants = (
        _amount(amounts, positives, rows - positives, 0),
        _amount(amounts, rows - positives, 0, positives),
    )
    return DecisionWorth(
        target.key,
        KNOWN,
        partitions,
        rows,
        right,
        false_alarms,
        missed,
        _amount(amounts, right, false_alarms, missed),
        max(constants),
        currency,
        f"{right:,} × {amounts.right:g} − {false_alarms:,} × {amounts.false_alarm:g} "
        f"− {missed:,} × {amounts.missed:g}",
    )


def _amount(amounts: DecisionValueConfig, right: int, false_alarms: int, missed: int) -> float:
    return right * amounts.right - false_alarms * amounts.false_alarm - missed * amounts.missed
