"""What each feature looked like in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_platform.modeling.encoding import UNKNOWN_CODE, Encoder, FeatureKind
from ml_platform.modeling.frames import Floats

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """One feature over the training rows.

    Attributes:
        name: Its column.
        kind: Numeric or categorical.
        missing: Share of rows without a value.
        mean: Mean of a numeric feature's values; None without values.
        quantiles: Its values at :data:`QUANTILES`; empty without values.
        shares: Share of rows by category, of a categorical one.
    """

    name: str
    kind: FeatureKind
    missing: float
    mean: float | None
    quantiles: tuple[float, ...]
    shares: dict[str, float]

    @property
    def constant(self) -> bool:
        """Whether all training rows have one value, from which nothing can be learned."""
        if self.missing:
            return False
        if self.kind == "numeric":
            return self.quantiles[0] == self.quantiles[-1]
        return max(self.shares.values(), default=0.0) == 1.0


def summarise(encoder: Encoder, matrix: Floats) -> tuple[FeatureSummary, ...]:
    """A summary of each column of an encoded matrix (rows, features)."""
    return tuple(
        _numeric(name, matrix[:, i])
        if kind == "numeric"
        else _categorical(name, matrix[:, i], encoder.vocabularies[name])
        for i, (name, kind) in enumerate(encoder.features)
    )


def _numeric(name: str, values: Floats) -> FeatureSummary:
    known = values[~np.isnan(values)]
    missing = 1 - known.size / values.size
    if not known.size:
        return FeatureSummary(name, "numeric", missing, None, (), {})
    quantiles = tuple(float(q) for q in np.quantile(known, QUANTILES))
    return FeatureSummary(name, "numeric", missing, float(known.mean()), quantiles, {})


def _categorical(name: str, codes: Floats, vocabulary: tuple[str, ...]) -> FeatureSummary:
    counts = np.bincount(codes.astype(np.int64), minlength=len(vocabulary) + 1) / codes.size
    shares = {c: float(counts[i + 1]) for i, c in enumerate(vocabulary)}
    return FeatureSummary(name, "categorical", float(counts[UNKNOWN_CODE]), None, (), shares)
