"""Ranking by a single column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata


def auc(values: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """AUC of values against outcomes in the better direction, at least .5; .5 where one outcome is lacking.

    The rank statistic of Mann and Whitney: Hanley & McNeil (1982), "The meaning and use of the area under a
    receiver operating characteristic curve", Radiology 143.

    Args:
        values: Shape (rows,), without NaN.
        positive: Shape (rows,).
    """
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return 0.5
    area = (rankdata(values)[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return float(max(area, 1 - area))
