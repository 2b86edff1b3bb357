"""Evaluations side by side: whether two can be compared, and what one lost to the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ml_platform.kinds.base import Kind
from ml_platform.modeling.day_bounds import MINIMUM_DAYS, DayMean, mean_of_days
from ml_platform.modeling.evaluate import Day, Evaluation, Segment


@dataclass(frozen=True, slots=True)
class Missing:
    """An evaluation that should be there and is not, for example of a champion that cannot be read."""

    reason: str


Evidence: TypeAlias = Evaluation | Missing


class CannotJudgeError(Exception):
    """Evidence is missing or unusable; a gate that raises it is UNKNOWN."""


def whole(evidence: Evidence | None, what: str) -> Evaluation:
    """The evaluation, if it can be judged.

    Raises:
        CannotJudgeError: It is missing, has rows without a score, or one of its means is not a number (a
            day without a number would else count as a day without rows).
    """
    if evidence is None:
        raise CannotJudgeError(f"there is no evaluation of {what}")
    if isinstance(evidence, Missing):
        raise CannotJudgeError(f"there is no evaluation of {what}: {evidence.reason}")
    if evidence.unscored:
        raise CannotJudgeError(f"{evidence.unscored} rows have no valid score of {what}")
    days = [*evidence.days, *(d for s in evidence.segments for d in s.days)]
    numbers = [evidence.loss, *(n for d in days for n in (d.loss, *d.scores, *d.outcomes))]
    if not evidence.days or not all(map(math.isfinite, numbers)):
        raise CannotJudgeError(f"the evaluation of {what} holds something that is not a number")
    return evidence


def paired(one: Evaluation, other: Evaluation, what: str) -> DayMean:
    """Mean over days of the difference of losses; each day counts once.

    Raises:
        CannotJudgeError: They are of different rows.
    """
    require_same_rows(one, other, what)
    return mean_of_days(np.array([a.loss - b.loss for a, b in zip(one.days, other.days, strict=True)]))


def require_same_rows(one: Evaluation, other: Evaluation, what: str) -> None:
    """Refuse evaluations of different rows.

    Raises:
        CannotJudgeError: Partitions, rows or labels differ.
    """
    if one.rows_digest != other.rows_digest or not _same_days(one.days, other.days):
        raise CannotJudgeError(f"the model and {what} were not evaluated on the same rows")


def _same_days(one: Sequence[Day], other: Sequence[Day]) -> bool:
    return [(d.partition_key, d.rows) for d in one] == [(d.partition_key, d.rows) for d in other]


def require_days(mean: DayMean) -> None:
    """Refuse a mean of too few days.

    Raises:
        CannotJudgeError: It has no standard error.
    """
    if not math.isfinite(mean.value) or not math.isfinite(mean.se):
        raise CannotJudgeError(f"{mean.days} block(s) say too little; at least {MINIMUM_DAYS} are needed")


def segment_harm(
    segment: Segment, reference: Evaluation | None, kind: Kind, constant: Sequence[float]
) -> tuple[Segment, DayMean]:
    """What a segment lost to the reference (to the constant where there is none); each row counts once.

    Raises:
        CannotJudgeError: The reference lacks the segment, or some of its rows.
    """
    own = np.array([d.loss for d in segment.days])
    rows = np.array([d.rows for d in segment.days], dtype=np.float64)
    if reference is None:
        other = kind.constant_losses(np.array([d.outcomes for d in segment.days]), constant)
    else:
        twin = [s for s in reference.segments if (s.column, s.value) == (segment.column, segment.value)]
        if not twin or not _same_days(segment.days, twin[0].days):
            raise CannotJudgeError(f"the reference lacks segment {segment.column}={segment.value}")
        other = np.array([d.loss for d in twin[0].days])
    return segment, mean_of_days(own - other, rows)
