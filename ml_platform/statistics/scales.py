"""What the numbers of a finding are: their unit, the value of no effect, and how they stand to the limit.

A limit is no unit of length on every scale: an AUC of .49 is not 4.9 times a limit of .1 above the .5 of no
skill, and 17,000 rows are not good by being 170 times the 100 that are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ml_platform.numbers import MISSING, number
from ml_platform.statistics.finding import Finding


@dataclass(frozen=True, slots=True)
class Scale:
    """How to read a statistic.

    Attributes:
        unit: What is counted, for people.
        zero: The value of no effect.
        from_zero: Limit and smallest visible effect are distances from ``zero``, not values.
        falls: Whether a fall counts as a rise does.
        least: The limit is the least that is needed: what counts is a value *below* it.
        beyond: Why a finding may pass although its estimate is beyond the limit; empty where chance alone
            can be the reason.
    """

    unit: str
    zero: float = 0.0
    from_zero: bool = False
    falls: bool = True
    least: bool = False
    beyond: str = ""


_VALUES, _ROWS, _LOSS = Scale("share of values"), Scale("share of rows"), "mean loss per prediction"
_STAYS = Scale(_LOSS, beyond="the change stays without it, so that it does not explain the change")
_SCALES = {
    "row_count": Scale("share of the usual rows", least=True),
    "null_rate": _VALUES,
    "new_categories": _ROWS,
    "staleness": _VALUES,
    "stuck_value": _VALUES,
    "constant_label": Scale("partitions in a row"),
    "quarantined_share": _ROWS,
    "unit": Scale(
        "distance of distributions, 0 to 1",
        beyond="a distance alone is no change of unit: another unit would have to explain it",
    ),
    "rows": _ROWS,
    "mismatch": _ROWS,
    "delay_hazard": Scale("relative change of the pace of labels", beyond="no label is missing for it"),
    "positive_hazard": Scale("relative change of the pace of labels"),
    "maturity": Scale("share of partitions"),
    "share_known": Scale("share of labels", least=True),
    "loss_change": Scale(_LOSS, falls=False),
    "estimated_loss_change": Scale(_LOSS, falls=False),
    "density_weighted_loss_change": Scale(_LOSS, falls=False),
    "live_gap": Scale(
        _LOSS, falls=False, beyond="the gap is within its standard errors, or came after the first days"
    ),
    "bias": Scale("label minus score"),
    "contrast": Scale("label minus score"),
    "slope": Scale("label minus score, per unit of the score"),
    "domain_auc": Scale("AUC; 0.5 tells nothing apart", zero=0.5, from_zero=True),
    "same_season": Scale("AUC; 0.5 tells nothing apart", zero=0.5, from_zero=True),
    "effective_sample": Scale("share of the reference", least=True),
    "feature_auc": Scale("AUC; 0.5 ranks nothing", zero=0.5),
    "single_day": _STAYS,
    "known_events": _STAYS,
    "year_ago": Scale(_LOSS),
    "older_season_model": Scale(_LOSS, falls=False),
}
_NEEDED = Scale("rows", least=True)
"""On ``volume`` each class is a statistic of its own, and ``rows`` is a count."""
_OTHER = Scale("")


def scale_of(question: str, finding: Finding) -> Scale:
    """The scale of a finding on a question."""
    return _NEEDED if question == "volume" else _SCALES.get(finding.statistic, _OTHER)


def limit(question: str, finding: Finding) -> float | None:
    """The value of the statistic from which on it counts; below which, where it is a least."""
    return _value(finding.floor, scale_of(question, finding))


def visible(question: str, finding: Finding) -> float | None:
    """The value of the statistic from which on it would have been seen."""
    return _value(finding.minimal_detectable_effect, scale_of(question, finding))


def _value(size: float | None, scale: Scale) -> float | None:
    return size if size is None or not scale.from_zero else scale.zero + size


def multiple(question: str, finding: Finding, value: float | None) -> float | None:
    """A value of the statistic in limits from no effect; None where that says nothing."""
    scale, bound = scale_of(question, finding), limit(question, finding)
    if value is None or bound is None or scale.least or bound == scale.zero:
        return None
    return (value - scale.zero) / (bound - scale.zero)


def strength(question: str, finding: Finding) -> float:
    """Size of the effect in limits, so that findings in different units can be ranked; -1 without any."""
    value, bound = finding.estimate, limit(question, finding)
    if value is None or math.isnan(value):
        return -1.0
    if scale_of(question, finding).least and bound is not None:
        return bound / max(value, 1e-9)
    found = multiple(question, finding, value)
    return abs(value) if found is None else abs(found)


def counts_from(question: str, finding: Finding) -> str:
    """The limit in words; a least is said to be one."""
    bound = limit(question, finding)
    if bound is None:
        return MISSING
    return f"below {number(bound)}" if scale_of(question, finding).least else number(bound)


def why_passed(question: str, finding: Finding) -> str:
    """Why a finding passes although its estimate is beyond the limit; empty where it is not."""
    scale, reach = scale_of(question, finding), multiple(question, finding, finding.estimate)
    if finding.state != "PASS" or reach is None or (abs(reach) if scale.falls else reach) < 1:
        return ""
    if scale.beyond:
        return f"Beyond what counts, and no finding: {scale.beyond}."
    low, high = finding.low, finding.high
    if low is not None and high is not None and low <= scale.zero <= high:
        return (
            f"Beyond what counts, but not shown: its interval holds {number(scale.zero)}, which is no effect."
        )
    chance = "" if finding.p_value is None else f" (p {number(finding.p_value, 2)})"
    return f"Beyond what counts, but not shown to be more than chance among all that was tested{chance}."
