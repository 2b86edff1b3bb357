"""Where a number probably lies: quantiles of cross-fitted residuals, by how large the prediction is.

A split-conformal interval (Vovk et al. 2005; Papadopoulos et al. 2002) whose residuals come from models that
did not see their day, taken apart for bands of the prediction (Mondrian: Boström and Johansson 2020), because
large amounts are usually less certain than small ones. The outermost tenths are halved again and again, as
long as there are rows: the largest predictions of a skewed target are nothing like the rest of their tenth.
It holds on average over days like those in training; it does not know that tomorrow may be unlike them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_platform.modeling.frames import Floats

SHARE = 0.8
"""Share of outcomes inside."""
BANDS = 10
LEAST_ROWS = 100
"""Rows of a band; fewer could not tell its tenth from its ninetieth percentile."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Residual quantiles by band of the prediction.

    Attributes:
        edges: Inner edges of the bands, rising (bands - 1,).
        low: Lower residual quantile of each band (bands,).
        high: Upper one.
        share: Share of outcomes between them.
        least: The interval begins here at least; None where outcomes may be negative.
    """

    edges: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    share: float = SHARE
    least: float | None = None

    @classmethod
    def fit(cls, labels: Floats, scores: Floats) -> Interval:
        """The interval of cross-fitted, calibrated scores (rows,)."""
        edges = np.unique(np.quantile(scores, _levels(labels.size)))
        codes = np.searchsorted(edges, scores, side="right")
        kept = [i for i in range(edges.size + 1) if (codes == i).any()]
        tails = ((1 - SHARE) / 2, (1 + SHARE) / 2)
        ends = np.array([np.quantile((labels - scores)[codes == i], tails) for i in kept])
        inner = tuple(float(edges[i - 1]) for i in kept[1:])
        least = None if (labels < 0).any() else 0.0
        return cls(inner, tuple(map(float, ends[:, 0])), tuple(map(float, ends[:, 1])), least=least)

    def around(self, scores: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends (rows,) each."""
        band = np.searchsorted(self.edges, scores, side="right")
        low, high = np.asarray(self.low)[band], np.asarray(self.high)[band]
        ends = scores + low, scores + high
        return (
            ends if self.least is None else (np.maximum(ends[0], self.least), np.maximum(ends[1], self.least))
        )


def _levels(rows: int) -> list[float]:
    """Levels of the bands' inner edges: tenths where there are rows for them, finer ones in both tails."""
    bands = max(1, min(BANDS, rows // LEAST_ROWS))
    levels = [i / bands for i in range(1, bands)]
    tail = 1 / bands / 2
    while bands == BANDS and rows * tail >= LEAST_ROWS:
        levels += [tail, 1 - tail]
        tail /= 2
    return sorted(levels)
