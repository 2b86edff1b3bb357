"""Performance without labels: the loss that the features alone lead one to expect.

CBPE (NannyML): with ``q = P(y|score)`` of the reference, a row with score p costs
``-(q log p + (1-q) log(1-p))`` in expectation; with several classes ``-Σ q_c log p_c``, each ``q_c`` fitted
against the rest and all brought to a sum of 1. Of a number the squared error itself is estimated from the
score (the direct loss estimation of NannyML, with the score as its only input). The density-weighted form
(after PAPE, Bialek et al. 2024, arXiv 2401.08348) fits q on reference rows that are weighted to look like the
current ones, so that the curve holds where the rows have moved to.

Both assume that P(y|x) stayed what it was. They say how much of a change of the loss comes from X, and are
blind to concept drift: in measurements they alarmed on none of 14. They are never an all-clear.

The curves of this module are also what the concept test (:mod:`ml_platform.monitoring.concept`) reads its
residuals from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.base import SMALLEST, Kind
from ml_platform.model_config import FeatureConfig, KindName
from ml_platform.numbers import number, signed
from ml_platform.statistics.blocks import Floats, change_of_days, judge
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite

Codes = npt.NDArray[np.int64]

QUESTION = "covariates"
PLAIN, WEIGHTED = "estimated_loss_change", "density_weighted_loss_change"
"""Names of the two findings, which stand side by side."""
_METHOD = {PLAIN: "CBPE", WEIGHTED: "density-weighted"}
NEVER_AN_ALL_CLEAR = (
    "It sees only what the features explain: a changed rule stays unseen, so it is never an all-clear."
)
BINS = 200
"""Scores are first put into this many bins of equal size: finer than any step that days of data support."""
FREE_BINS = 20
"""Bins of a curve that need not rise: each mean stands alone."""
Shape = Literal["probability", "rising", "free"]
"""Of a curve: rising and kept off 0 and 1; rising; or any."""
LEAST = 1e-3
"""Values are kept this far from 0 and 1, or their logits could not be shifted."""
FOLDS = 7
"""Blocks of neighbouring days left out in turn: neighbours resemble each other."""
DENSITY_ROWS = 6000
"""Rows of each window that the density ratio is learned from."""
DENSITY_TREES = 40
LARGEST_WEIGHT = 20.0
"""Density ratios are cut here: a handful of rows must not speak for a window."""


@dataclass(frozen=True)
class DayEstimate:
    """Expected loss of one current partition.

    Attributes:
        partition_key: The partition.
        rows: Its rows.
        cbpe: Expected loss under the reference's P(y|score).
        pape: The same under the density-weighted curve; None where there is none.
    """

    partition_key: str
    rows: int
    cbpe: float
    pape: float | None


@dataclass(frozen=True)
class EstimatedReport:
    """Expected loss of the current window, without its labels.

    Attributes:
        days: One per current partition, in order.
        cbpe: Mean over days.
        pape: Mean over days under the density-weighted curve; None where the effective sample is too small.
        reference_loss: Realised loss of the reference, mean over days.
        reference_cbpe: Its expected loss (cross-fitted by days), mean over days.
        effective_share: Effective sample of the density weights, as a share of the reference rows: near 0
            where the reference has no rows like the current ones.
        finding: Change of the expected loss, ``estimated_loss_change``.
        weighted: The same by the density-weighted curve, ``density_weighted_loss_change``: UNKNOWN where the
            effective sample is too small; None where it was not asked for.
        reason: Why nothing could be estimated.
    """

    finding: Finding
    weighted: Finding | None = None
    days: tuple[DayEstimate, ...] = ()
    cbpe: float | None = None
    pape: float | None = None
    reference_loss: float | None = None
    reference_cbpe: float | None = None
    effective_share: float | None = None
    reason: str = ""

    @property
    def both(self) -> list[Finding]:
        """The findings, side by side."""
        return [self.finding, *([self.weighted] if self.weighted else [])]

    def findings(self) -> Findings:
        """Both findings; unknown where nothing could be estimated."""
        if self.reason:
            return Findings.unknown(QUESTION, self.reason)
        return Findings.of(QUESTION, self.both)


@dataclass(frozen=True)
class _Rows:
    """Rows of one window; ``day`` is a position in ``names``."""

    names: list[str]
    day: Codes
    scores: Floats

    def curved(self, channel: int) -> Floats:
        """The score of a channel (rows,)."""
        return self.scores if self.scores.ndim == 1 else self.scores[:, channel]

    def by_day(self, values: Floats) -> Floats:
        return tally(self.day, values, len(self.names)) / tally(
            self.day, np.ones(values.size), len(self.names)
        )


def estimated_loss(
    reference: Table,
    current: Table,
    *,
    kind: Kind,
    label: str,
    features: Sequence[FeatureConfig],
    settings: DiagnosisConfig,
    density: bool = True,
) -> EstimatedReport:
    """Expected loss of the current rows against that of the reference.

    Args:
        reference: Out-of-sample scored rows: ``partition_key``, the label's code, scores, features.
        current: ``partition_key``, scores, features; labels are not read.
        kind: Kind of target.
        label: Column of the label.
        features: Model inputs; those that run with time do not enter the density ratio.
        settings: ``loss_floor`` (share of the reference loss), ``p_value``, ``unseen_effective_share``,
            ``block_partitions``.
        density: Also weight the reference by a density ratio (up to .3 s).

    Raises:
        IntegrityError: A column is missing, or a label or a score is none of the kind.
    """
    inputs = [f for f in features if density and not f.runs_with_time]
    needed = (PARTITION, *kind.names(), *(f.name for f in inputs))
    before = as_frame(reference, (*needed, label), "reference rows")
    now = as_frame(current, needed, "current rows")
    _check(before, now, kind, label)
    reason = _cannot(before, now, kind, label)
    if reason:
        unknown = [Finding(s, "all", "UNKNOWN", reason) for s in (PLAIN, WEIGHTED)]
        return EstimatedReport(unknown[0], unknown[1] if inputs else None, reason=reason)
    old, new = _rows(before, kind), _rows(now, kind)
    labels = before[label].to_numpy(np.float64)
    losses = kind.losses(labels, old.scores)
    targets = kind.outcomes(labels) if kind.bounded else losses[:, None]
    cbpe = new.by_day(_expected(kind, old, targets, np.ones(labels.size), new))
    pape, share = None, None
    if inputs:
        weights = _density_ratio(before, now, old, new, inputs)
        share = float(weights.sum() ** 2 / (weights**2).sum() / weights.size)
        if share >= settings.unseen_effective_share:
            pape = new.by_day(_expected(kind, old, targets, weights, new))
    fitted = np.column_stack(
        [
            cross_fitted(old.curved(i), target, old.day, np.ones(labels.size), _shape(kind))
            for i, target in enumerate(targets.T)
        ]
    )
    baseline = old.by_day(_LOSSES[kind.name](fitted, old.scores))
    realised = float(old.by_day(losses).mean())
    facts = {"reference_loss": realised, "effective_share": share}
    weighted = None
    if pape is not None:
        weighted = _judged(WEIGHTED, baseline, pape, realised, len(now), settings, facts)
    elif share is not None:
        weighted = _too_few_alike(share, realised, settings)
    return EstimatedReport(
        finding=_judged(PLAIN, baseline, cbpe, realised, len(now), settings, facts),
        weighted=weighted,
        days=_days(new, cbpe, pape),
        cbpe=float(cbpe.mean()),
        pape=float(pape.mean()) if pape is not None else None,
        reference_loss=realised,
        reference_cbpe=float(baseline.mean()),
        effective_share=share,
    )


def _expected(kind: Kind, old: _Rows, targets: Floats, weights: Floats, new: _Rows) -> Floats:
    """Expected loss of the new rows under curves of the old ones (rows,)."""
    curves = [fit_curve(old.curved(i), t, weights, _shape(kind)) for i, t in enumerate(targets.T)]
    found = np.column_stack([curve.at(new.curved(i)) for i, curve in enumerate(curves)])
    return _LOSSES[kind.name](found, new.scores)


def _shape(kind: Kind) -> Shape:
    return "probability" if kind.bounded else "free"


def expected_loss(chance: Floats, score: Floats) -> Floats:
    """Expected log loss of scores where a positive has the given chance; nats, shape (rows,)."""
    p = np.clip(score, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(chance * np.log(p) + (1 - chance) * np.log1p(-p)), dtype=np.float64)


def _of_classes(chance: Floats, scores: Floats) -> Floats:
    whole = chance / chance.sum(axis=1, keepdims=True)
    return np.asarray(-(whole * np.log(np.clip(scores, SMALLEST, 1.0))).sum(axis=1), dtype=np.float64)


_LOSSES: Mapping[KindName, Callable[[Floats, Floats], Floats]] = {
    "binary": lambda chance, scores: expected_loss(chance[:, 0], scores),
    "regression": lambda loss, _: loss[:, 0],
    "multiclass": _of_classes,
}
"""Expected loss from what the curves say (rows, channels) and the scores."""
_WRONG: Mapping[KindName, str] = {
    "binary": "not 0 or 1",
    "regression": "no number",
    "multiclass": "no class",
}


def _check(before: pd.DataFrame, now: pd.DataFrame, kind: Kind, label: str) -> None:
    for frame, what in ((before, "reference rows"), (now, "current rows")):
        bad = ~kind.valid(kind.scores(frame))
        if bad.any():
            raise IntegrityError(
                f"{int(bad.sum())} {'probabilities' if kind.bounded else 'scores'} are missing or "
                f"{'not in [0, 1]' if kind.bounded else 'infinite'}",
                where=f"{what}, column {', '.join(kind.names())}",
                fix="score these partitions again",
            )
    odd = ~_is_code(before[label].to_numpy(np.float64), kind)
    if odd.any():
        raise IntegrityError(
            f"{int(odd.sum())} labels that are {_WRONG[kind.name]}",
            where=f"reference rows, column {label}",
            fix="pass matured rows only",
        )


def _is_code(values: Floats, kind: Kind) -> npt.NDArray[np.bool_]:
    return np.isin(values, np.arange(max(2, len(kind.classes)))) if kind.bounded else np.isfinite(values)


def _cannot(before: pd.DataFrame, now: pd.DataFrame, kind: Kind, label: str) -> str:
    """Why nothing can be estimated; empty when something can."""
    if not len(before) or not len(now):
        return f"the {'current window' if len(before) else 'reference'} has no rows"
    if before[PARTITION].nunique() < 2:
        return "the reference has one partition only"
    if before[label].nunique() < 2:
        return f"the reference has rows of one {'class' if kind.bounded else 'value'} only"
    return ""


def _rows(frame: pd.DataFrame, kind: Kind) -> _Rows:
    day, names = pd.factorize(frame[PARTITION], sort=True)
    return _Rows([str(n) for n in names], day.astype(np.int64), kind.scores(frame))


def _density_ratio(
    before: pd.DataFrame, now: pd.DataFrame, old: _Rows, new: _Rows, inputs: Sequence[FeatureConfig]
) -> Floats:
    """Density of the current over that of the reference at each reference row, mean 1.

    Days are split in two; a row's ratio comes from the classifier that saw none of its day. With rows
    split at random the classifier recognises the day by its shocks instead of the change.
    """
    x = [_matrix(frame, before, inputs, rows) for frame, rows in ((before, old), (now, new))]
    kept = [_sample(rows.day.size) for rows in (old, new)]
    weights = np.ones(old.day.size)
    for half in (0, 1):
        train = [keep[rows.day[keep] % 2 != half] for keep, rows in zip(kept, (old, new), strict=True)]
        if len(new.names) < 2:
            train[1] = kept[1]
        odds = _odds(x[0][train[0]], x[1][train[1]], x[0])
        inside = old.day % 2 == half
        ratio = np.minimum(odds[inside] * train[0].size / max(train[1].size, 1), LARGEST_WEIGHT)
        weights[inside] = ratio / ratio.mean()
    return weights


def _sample(rows: int) -> Codes:
    """Evenly spread row numbers, at most :data:`DENSITY_ROWS`, drawn the same way every time."""
    if rows <= DENSITY_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, DENSITY_ROWS, replace=False))


def _matrix(
    frame: pd.DataFrame, reference: pd.DataFrame, inputs: Sequence[FeatureConfig], rows: _Rows
) -> Floats:
    """Features and the scores, (rows, features + channels); categories as their rank by frequency."""
    columns = [rows.scores]
    for feature in inputs:
        values = frame[feature.name]
        if feature.kind == "categorical":
            ranks = {v: i for i, v in enumerate(reference[feature.name].value_counts().index)}
            columns.append(values.map(ranks).to_numpy(np.float64, na_value=np.nan))
        else:
            columns.append(values.to_numpy(np.float64, na_value=np.nan))
    return np.column_stack(columns)


def _odds(reference: Floats, current: Floats, at: Floats) -> Floats:
    """Odds that a row is a current one, by a few small trees."""
    import lightgbm as lgb

    x = np.vstack([reference, current])
    y = np.repeat([0.0, 1.0], [len(reference), len(current)])
    parameters = {
        "objective": "binary",
        "num_leaves": 8,
        "learning_rate": 0.1,
        "min_data_in_leaf": 100,
        "max_bin": 63,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(x, y), num_boost_round=DENSITY_TREES)
    return np.exp(np.asarray(booster.predict(at, raw_score=True), dtype=np.float64))


def _days(rows: _Rows, cbpe: Floats, pape: Floats | None) -> tuple[DayEstimate, ...]:
    counts = np.bincount(rows.day, minlength=len(rows.names))
    weighted: list[float | None] = [None] * cbpe.size if pape is None else [float(v) for v in pape]
    return tuple(
        DayEstimate(name, int(count), float(plain), other)
        for name, count, plain, other in zip(rows.names, counts, cbpe, weighted, strict=True)
    )


def _judged(
    statistic: str,
    baseline: Floats,
    daily: Floats,
    realised: float,
    rows: int,
    settings: DiagnosisConfig,
    facts: Mapping[str, float | None],
) -> Finding:
    """The rise of the expected loss, one-sided."""
    block = settings.block_partitions
    change = change_of_days(_blocks(baseline, block), _blocks(daily, block))
    p_value = change.p_value("greater")
    detectable = change.minimal_detectable_effect(settings.p_value, "greater")
    floor = settings.loss_floor * realised
    state = judge(
        change,
        significant=p_value < settings.p_value,
        floor=floor,
        effect=change.value,
        detectable=detectable,
    )
    low, high = change.interval()
    seen = (
        f"{number(detectable)} could be seen"
        if math.isfinite(detectable)
        else "too few days to see any change"
    )
    return Finding(
        statistic=statistic,
        subject="all",
        state=state,
        detail=f"The features alone let one expect a loss changed by {signed(change.value)} from "
        f"{number(realised)} ({_METHOD[statistic]}, p {number(p_value, 2)}); {seen}, floor {number(floor)}. "
        f"{NEVER_AN_ALL_CLEAR}",
        estimate=finite(change.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=p_value,
        blocks=change.blocks,
        rows=rows,
        facts={**facts, "expected_loss": float(daily.mean()), "lag1": change.lag1},
    )


def _too_few_alike(share: float, realised: float, settings: DiagnosisConfig) -> Finding:
    least = settings.unseen_effective_share
    return Finding(
        statistic=WEIGHTED,
        subject="all",
        state="UNKNOWN",
        detail=f"only {share:.0%} of the reference are left as effective sample for rows like the current "
        f"ones (least {least:.0%}), too few to fit a curve on ({_METHOD[WEIGHTED]})",
        floor=settings.loss_floor * realised,
        facts={"effective_share": share, "reference_loss": realised},
    )


def _blocks(daily: Floats, block: int) -> Floats:
    """Means of neighbouring days."""
    cells = (np.arange(daily.size) // block).astype(np.int64)
    count = int(cells[-1]) + 1
    return tally(cells, daily, count) / tally(cells, np.ones(daily.size), count)


@dataclass(frozen=True)
class Curve:
    """A curve, linear between its knots and constant outside them.

    Attributes:
        scores: Knots, strictly increasing.
        values: Mean outcome at each.
    """

    scores: Floats
    values: Floats

    def at(self, scores: Floats) -> Floats:
        """Mean outcome at the given scores."""
        return np.interp(scores, self.scores, self.values)


def fit_curve(scores: Floats, labels: Floats, weights: Floats, shape: Shape = "probability") -> Curve:
    """Mean outcome by score: isotonic regression (Zadrozny and Elkan 2002) on binned scores, or bin means.

    Args:
        scores: Shape (rows,); at least one row with a weight.
        labels: Shape (rows,): outcomes.
        weights: Shape (rows,), at least 0.
        shape: Of the curve.
    """
    bins, knots = _binned(scores, weights, shape)
    return _fit(knots, tally(bins, weights, knots.size), tally(bins, weights * labels, knots.size), shape)


def cross_fitted(
    scores: Floats, labels: Floats, days: Codes, weights: Floats, shape: Shape = "probability"
) -> Floats:
    """Values of the curve at the rows, each from a curve fitted without the row's block of days.

    Args:
        scores: Shape (rows,).
        labels: Shape (rows,).
        days: Position of each row's day in the order of time, shape (rows,); at least two days.
        weights: Shape (rows,).
        shape: Of the curve.
    """
    bins, knots = _binned(scores, weights, shape)
    count = int(days.max()) + 1
    folds = min(FOLDS, count)
    fold = days * folds // count
    cell = fold * knots.size + bins
    size = (folds, knots.size)
    rows = tally(cell, weights, folds * knots.size).reshape(size)
    outcomes = tally(cell, weights * labels, folds * knots.size).reshape(size)
    values = np.empty(scores.size)
    for f in range(folds):
        curve = _fit(knots, rows.sum(axis=0) - rows[f], outcomes.sum(axis=0) - outcomes[f], shape)
        inside = fold == f
        values[inside] = curve.at(scores[inside])
    return values


def tally(cells: Codes, terms: Floats, count: int) -> Floats:
    """Sum of the terms by cell, shape (count,)."""
    return np.asarray(np.bincount(cells, terms, count), dtype=np.float64)


def _binned(scores: Floats, weights: Floats, shape: Shape) -> tuple[Codes, Floats]:
    """Bin of each row, and the mean score of each bin."""
    wanted = FREE_BINS if shape == "free" else BINS
    cuts = np.unique(np.quantile(scores, np.arange(1, wanted) / wanted))
    raw = np.searchsorted(cuts, scores, side="right")
    counts = np.bincount(raw, minlength=cuts.size + 1)
    used = counts > 0
    bins = (np.cumsum(used) - 1)[raw]
    return bins.astype(np.int64), tally(bins, scores, int(used.sum())) / counts[used]


def _fit(knots: Floats, rows: Floats, outcomes: Floats, shape: Shape) -> Curve:
    seen = rows > 1e-9
    means = outcomes[seen] / rows[seen]
    if shape == "free":
        return Curve(knots[seen], means)
    fitted = optimize.isotonic_regression(means, weights=rows[seen]).x
    return Curve(knots[seen], np.clip(fitted, LEAST, 1 - LEAST) if shape == "probability" else fitted)
