"""When a growing window will be able to decide."""

from __future__ import annotations

import math

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.statistics.finding import ROWS_NEEDED, Finding


def window_of(finding: Finding, matured_partitions: int, settings: DiagnosisConfig) -> int:
    """Partitions of the current window behind a finding (its blocks less the reference's)."""
    current = finding.blocks * settings.block_partitions - settings.reference_partitions
    return current if current > 0 else max(1, min(settings.concept_partitions, matured_partitions))


def partitions_until_decidable(
    finding: Finding, matured_partitions: int, settings: DiagnosisConfig
) -> int | None:
    """Partitions until the minimal detectable effect falls to the floor; None if it does not within 42.

    The squared MDE goes with ``1 / window + 1 / reference``: the reference does not grow, so its
    own error stays. What waits for rows to be tested with is decidable when the window has them.
    """
    now = window_of(finding, matured_partitions, settings)
    if (rows := finding.facts.get(ROWS_NEEDED)) is not None:
        needed = math.ceil(now * rows / max(1, finding.rows))
        return max(1, needed - now) if max(now, needed) <= settings.maximum_partitions else None
    effect, floor = finding.minimal_detectable_effect, finding.floor
    if now >= settings.maximum_partitions or effect is None or floor is None or not math.isfinite(effect):
        return None
    if effect <= floor:
        return 1
    fixed = 1 / settings.reference_partitions
    left = (floor / effect) ** 2 * (1 / now + fixed) - fixed
    if left <= 0:
        return None
    needed = math.ceil(1 / left - 1e-9)
    return max(1, needed - now) if needed <= settings.maximum_partitions else None


def smallest_visible(finding: Finding, matured_partitions: int, settings: DiagnosisConfig) -> float | None:
    """The minimal detectable effect of the longest window, in the finding's unit."""
    effect = finding.minimal_detectable_effect
    if effect is None:
        return None
    fixed = 1 / settings.reference_partitions
    now = window_of(finding, matured_partitions, settings)
    longest = max(now, settings.maximum_partitions)
    return effect * math.sqrt((1 / longest + fixed) / (1 / now + fixed))
