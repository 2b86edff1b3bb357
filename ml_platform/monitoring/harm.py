"""Is there harm at all: has the champion's loss risen over its frozen reference since promotion?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.numbers import number, signed
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import finite
from ml_platform.statistics.sequential import HarmTest, harm

QUESTION = "harm"


def judge_harm(
    reference_losses: Sequence[float],
    current_losses: Sequence[float],
    partitions: Sequence[str],
    settings: DiagnosisConfig,
    loss: str = "log loss",
    scale: float = 1.0,
) -> Findings:
    """The anytime-valid test of the loss; it may be asked every day without losing its level.

    Args:
        reference_losses: Out-of-sample daily mean losses of the frozen reference, in order; NaN is
            left out.
        current_losses: Matured daily mean losses since promotion, in order; NaN is left out.
        partitions: The current partitions, as many as current losses.
        loss: Name of the loss, for people.
        scale: One unit of a loss's limits and worth, see :meth:`.Kind.loss_scale`; kept in the facts.
        settings: ``harm_alpha``; ``loss_floor`` as a share of the mean reference loss.

    Raises:
        ValueError: There are not as many partitions as current losses.
    """
    if len(partitions) != len(current_losses):
        raise ValueError(f"{len(partitions)} partitions for {len(current_losses)} current losses")
    known = [v for v in reference_losses if not math.isnan(v)]
    if not known:
        return Findings.unknown(QUESTION, "the champion has no reference losses")
    judged = [p for p, v in zip(partitions, current_losses, strict=True) if not math.isnan(v)]
    if not judged:
        return Findings.unknown(QUESTION, "no partition since promotion has a matured loss")
    level = sum(known) / len(known)
    floor = settings.loss_floor * level
    test = harm(reference_losses, current_losses, alpha=settings.harm_alpha, floor=floor)
    facts = {"reference": level, "alpha": settings.harm_alpha, "loss_scale": scale}
    return Findings.of(QUESTION, [_finding(test, floor, judged, facts, loss)])


def _finding(test: HarmTest, floor: float, judged: list[str], facts: dict[str, float], loss: str) -> Finding:
    failed = test.state == "FAIL"
    return Finding(
        statistic="loss_change",
        subject="all",
        state=test.state,
        detail=_detail(test, facts["reference"], floor, len(judged), loss),
        estimate=finite(test.estimate),
        low=finite(test.lower),
        high=finite(test.upper),
        minimal_detectable_effect=finite(test.minimal_detectable_effect),
        floor=floor,
        blocks=test.days,
        partitions=tuple(judged) if failed else (),
        facts=facts | {"lag1": test.lag1, "current_partitions": len(judged)},
    )


def _detail(test: HarmTest, level: float, floor: float, days: int, loss: str) -> str:
    seen = (
        f"a rise of {number(test.minimal_detectable_effect)} could be seen"
        if math.isfinite(test.minimal_detectable_effect)
        else "no rise could be seen yet"
    )
    return (
        f"Over {days} partitions since promotion the mean {loss} changed by {signed(test.estimate)} from "
        f"{number(level)}; anytime-valid lower bound {signed(test.lower, missing='none yet')}, "
        f"floor {number(floor)}; {seen}."
    )
