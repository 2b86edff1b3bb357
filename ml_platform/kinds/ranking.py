"""How well a score ranks outcomes: the area under the ROC curve, and its form for numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def area_under_curve(positive: Bools, scores: Floats) -> float | None:
    """Area under the ROC curve by ranks, ties counted half; None where a class is missing."""
    count = int(positive.sum())
    others = positive.size - count
    if not count or not others:
        return None
    from scipy import stats  # a quarter of a second, which the code location need not pay

    ranks = stats.rankdata(scores)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * others))


def concordance(labels: Floats, scores: Floats) -> float | None:
    """Share of pairs with different labels that the score puts in the same order, ties counted half.

    The concordance index (Harrell et al. 1982): the area under the ROC curve where labels are 0 and 1.
    None where all labels are equal.
    """
    if labels.size and np.isin(labels, (0.0, 1.0)).all():
        return area_under_curve(labels == 1, scores)  # the same, by one sort
    pairs = labels.size * (labels.size - 1) / 2
    tied_labels, tied_scores = _tied(labels), _tied(scores)
    if pairs <= tied_labels:
        return None
    if pairs <= tied_scores:
        return 0.5
    from scipy import stats

    tau = float(stats.kendalltau(labels, scores).statistic)
    excess = tau * float(np.sqrt((pairs - tied_labels) * (pairs - tied_scores)))
    return 0.5 + excess / (pairs - tied_labels) / 2


def either_way(share: float | None) -> float:
    """A concordance in the better direction, at least .5; .5 too where there was nothing to rank."""
    return 0.5 if share is None else max(share, 1 - share)


def _tied(values: Floats) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())
