"""Did P(y|x) change? Residuals of the calibrated score, compared within and between days.

With ``q = isotonic(p)`` fitted on the reference and ``r = y - q`` three questions are asked by day. A number
and its score are taken in standard deviations of the label in the reference. Of several classes each is asked
about against the rest, and the levels are shared by the classes (Bonferroni over classes, Benjamini-Yekutieli
within):

- bias: did the mean residual change? A day's shocks move it, so it is a blunt instrument;
- slope: did the slope of r on p *within a day* change, overall and per category?
- contrast: did a segment's residual change against the rest *of the same day*?

Slopes and contrasts cancel what a day does to all of its rows, so they see a changed rule through hard
days. Over days they are ratios of sums, linearised by day (Cochran 1977, section 6.4): a day counts by
the rows that inform it, so small segments pool their days, and the day stays the sample.

Prior shift or concept? A new base rate bends slopes and contrasts too. So when the bias fails they are
tested again on residuals whose calibration was shifted (in logits; of a number by a constant) to the current
mean: what is left then is a changed rule (prior shift: Saerens et al. 2002).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from ml_platform.config import FeatureConfig
from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.base import Kind
from ml_platform.monitoring.estimated import Codes, Shape, cross_fitted, fit_curve, tally
from ml_platform.statistics.blocks import POWER, Estimate, Floats, adjust, change_of_days, judge, lone_level
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite
from ml_platform.statistics.shrinkage import shrink
from ml_platform.statistics.states import State

QUESTION = "concept"
ALL = "all"
WEIGHT = "weight"
"""Optional column: inverse probability that a label has arrived by now."""
SUSPICIOUS_FLOORS = 3
"""A suspicion needs a detectable effect of at most this many floors, or more days could not decide it."""
BANDS = 4
"""Numeric segments are cut into this many bands of equal reference size."""

_STEP_DAYS = 3
"""Least days on either side of a step within the current window."""

Change = Literal["none", "prior", "concept"]


@dataclass(frozen=True)
class ConceptReport:
    """What is known about a change of P(y|x).

    Attributes:
        bias: Change of the mean residual (label minus calibrated score).
        slopes: Change of the slope of residuals on the score within days: ``all``, and by category.
        contrasts: Change of the residual of a segment minus the rest, within days.
        recalibrated_slopes: The slopes again, after shifting the calibration to the current base rate;
            empty unless the bias fails.
        recalibrated_contrasts: The contrasts likewise.
        kind: ``prior``: only the base rate moved. ``concept``: slopes or contrasts fail (after
            recalibration where the bias fails).
        onset: Estimated first partition of the change; None without one.
        reason: Why something could not be measured.
        others: The bias of each class, where there are several; ``bias`` is the largest that fails.
    """

    bias: Finding
    slopes: tuple[Finding, ...] = ()
    contrasts: tuple[Finding, ...] = ()
    recalibrated_slopes: tuple[Finding, ...] = ()
    recalibrated_contrasts: tuple[Finding, ...] = ()
    kind: Change = "none"
    onset: str | None = None
    reason: str = ""
    others: tuple[Finding, ...] = ()

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """The slopes and contrasts that tell prior from concept: recalibrated ones where there are any."""
        recalibrated = self.recalibrated_slopes + self.recalibrated_contrasts
        return recalibrated or self.slopes + self.contrasts

    def findings(self) -> Findings:
        """The bias and the deciding slopes and contrasts."""
        if self.bias.state == "UNKNOWN":
            return Findings.unknown(QUESTION, self.reason)
        return Findings.of(QUESTION, [*(self.others or (self.bias,)), *self.deciding], self.reason)


@dataclass(frozen=True)
class _Window:
    """Rows of one window: all arrays have one entry per row, but ``names`` one per block."""

    names: list[str]
    day: Codes
    label: Floats
    score: Floats
    weight: Floats
    segments: list[Codes]

    @cached_property
    def terms(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Weight, its square, weighted score and its square; scores are centred, for sums of squares."""
        w, p = self.weight, self.score - np.average(self.score, weights=self.weight)
        return w, w * w, w * p, w * p * p


@dataclass(frozen=True)
class _Segmentation:
    """Values of one segment column; a row's code is a position in ``subjects``."""

    subjects: tuple[str, ...]
    categorical: bool


@dataclass(frozen=True)
class _Series:
    """One daily statistic of both windows.

    Attributes:
        reference: One value per block, NaN where a block says nothing.
        current: Likewise.
        rows: Effective current rows.
    """

    statistic: Literal["slope", "contrast"]
    subject: str
    reference: Floats
    current: Floats
    rows: float


def concept_change(
    reference: Table,
    current: Table,
    *,
    kind: Kind,
    label: str,
    features: Sequence[FeatureConfig],
    segments: Sequence[str],
    settings: DiagnosisConfig,
) -> ConceptReport:
    """Compare P(y|x) in the current window with the reference.

    Args:
        reference: Out-of-sample scored rows: ``partition_key``, the label's code, scores, segment
            columns, optionally ``weight``.
        current: The same for the current, matured (or weighted) partitions.
        kind: Kind of target.
        label: Column of the label.
        features: Kinds of the segment columns; one that is missing is read by its data type.
        segments: Columns whose values (numeric: quartile bands of the reference) are segments.
        settings: Floors, levels, block length and least rows of a segment and of a class.

    Raises:
        IntegrityError: A column is missing, a label or a score is none of the kind, or a weight is
            negative or missing.
    """
    columns = (PARTITION, label, *kind.names(), *segments)
    frames = [
        _checked(as_frame(table, columns, what), kind, label, what)
        for table, what in ((reference, "reference rows"), (current, "current rows"))
    ]
    reason = _cannot(frames[0], frames[1], kind, label, settings.block_partitions)
    if reason:
        return ConceptReport(_unknown("bias", reason), reason=reason)
    segmentations, codes = _segment(frames, features, segments)
    by_segment = [[c[i] for c in codes] for i in range(len(frames))]
    labels = [frame[label].to_numpy(np.float64) for frame in frames]
    scale = kind.label_scale(labels[0])
    outcomes = [kind.outcomes(y) / scale for y in labels]
    scores = [kind.by_channel(kind.scores(frame)) / scale for frame in frames]
    count = len(kind.channels)
    shared = settings.model_copy(
        update={
            "p_value": settings.p_value / count,
            "false_discovery_rate": settings.false_discovery_rate / count,
        }
    )
    found = []
    for i, name in enumerate(kind.channels):
        rare = _rare([y[:, i] for y in outcomes], settings.minimum_class_rows) if name else ""
        if rare:
            few = Finding("bias", name, "UNDERPOWERED", f"{name}: {rare}", floor=settings.bias_floor)
            found.append(ConceptReport(few, reason=f"{name}: {rare}"))
            continue
        before, now = (
            _window(frame, y[:, i], p[:, i], parts, settings.block_partitions)
            for frame, y, p, parts in zip(frames, outcomes, scores, by_segment, strict=True)
        )
        report = _report(before, now, segmentations, shared, "probability" if kind.bounded else "rising")
        found.append(_named(report, name))
    return found[0] if count == 1 else _merged(found)


def _rare(outcomes: list[Floats], least: int) -> str:
    """Why a class cannot be judged; empty where it can."""
    for outcome, what in zip(outcomes, ("reference", "current window"), strict=True):
        rows = int(min(outcome.sum(), outcome.size - outcome.sum()))
        if rows < least:
            return f"{rows} rows of it, or of the others, in the {what} are too few ({least} are needed)"
    return ""


def _named(report: ConceptReport, name: str) -> ConceptReport:
    """The report of a class, its name before every subject."""
    if not name:
        return report

    def named(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(
            replace(
                f,
                subject=name if f.subject == ALL else f"{name}: {f.subject}",
                detail=f"{name}: {f.detail}",
            )
            for f in findings
        )

    return replace(
        report,
        bias=named((report.bias,))[0],
        slopes=named(report.slopes),
        contrasts=named(report.contrasts),
        recalibrated_slopes=named(report.recalibrated_slopes),
        recalibrated_contrasts=named(report.recalibrated_contrasts),
    )


def _merged(reports: list[ConceptReport]) -> ConceptReport:
    """One report of all classes: a changed rule of one is a changed rule, and the first onset counts."""
    kinds = {r.kind for r in reports}
    kind: Change = "concept" if "concept" in kinds else "prior" if "prior" in kinds else "none"
    deciding = [r.deciding for r in reports]
    onsets = [r.onset for r in reports if r.kind == kind and r.onset is not None]
    return ConceptReport(
        bias=max((r.bias for r in reports), key=lambda f: (f.state == "FAIL", abs(f.estimate or 0.0))),
        slopes=tuple(f for d in deciding for f in d if f.statistic == "slope"),
        contrasts=tuple(f for d in deciding for f in d if f.statistic == "contrast"),
        kind=kind,
        onset=min(onsets, default=None),
        reason="; ".join(r.reason for r in reports if r.reason),
        others=tuple(r.bias for r in reports),
    )


def _checked(frame: pd.DataFrame, kind: Kind, label: str, what: str) -> pd.DataFrame:
    y, w = frame[label].to_numpy(np.float64), _weights(frame)
    known = np.isin(y, np.arange(max(2, len(kind.classes)))) if kind.bounded else np.isfinite(y)
    one = "0 or 1" if not kind.classes else "a class"
    for bad, name, rule in (
        (~known, label, f"labels that are not {one}" if kind.bounded else "labels that are no number"),
        (
            ~kind.valid(kind.scores(frame)),
            ", ".join(kind.names()),
            "probabilities that are missing or not in [0, 1]"
            if kind.bounded
            else "scores that are missing or infinite",
        ),
        (~((w >= 0) & np.isfinite(w)), WEIGHT, "weights that are missing, negative or infinite"),
    ):
        if bad.any():
            raise IntegrityError(
                f"{int(bad.sum())} {rule}",
                where=f"{what}, column {name}",
                fix="pass matured, scored rows only",
            )
    return frame


def _weights(frame: pd.DataFrame) -> Floats:
    return frame[WEIGHT].to_numpy(np.float64) if WEIGHT in frame.columns else np.ones(len(frame))


def _cannot(reference: pd.DataFrame, current: pd.DataFrame, kind: Kind, label: str, block: int) -> str:
    """Why nothing can be judged; empty when something can."""
    for frame, what in ((reference, "reference"), (current, "current window")):
        if not len(frame):
            return f"the {what} has no rows"
        if frame.loc[_weights(frame) > 0, label].nunique() < 2:
            return f"the {what} has rows of one {'class' if kind.bounded else 'value'} only"
    if reference[PARTITION].nunique() <= block:
        return "the reference has one block of partitions only"
    return ""


def _segment(
    frames: list[pd.DataFrame], features: Sequence[FeatureConfig], columns: Sequence[str]
) -> tuple[list[_Segmentation], list[list[Codes]]]:
    """Segmentations, and for each of them the codes of the rows of both frames."""
    kinds = {f.name: f.kind for f in features}
    segmentations, codes = [], []
    for column in columns:
        both = [frame[column] for frame in frames]
        numeric = kinds.get(column, "numeric" if pd.api.types.is_numeric_dtype(both[0]) else "categorical")
        found = _bands(column, both) if numeric == "numeric" else _categories(column, both)
        segmentations.append(found[0])
        codes.append(found[1])
    return segmentations, codes


def _categories(column: str, both: list[pd.Series]) -> tuple[_Segmentation, list[Codes]]:
    values, names = pd.factorize(pd.concat(both, ignore_index=True), use_na_sentinel=False)
    subjects = tuple(f"{column}={'missing' if pd.isna(name) else name}" for name in names)
    return _Segmentation(subjects, True), [c.astype(np.int64) for c in np.split(values, [len(both[0])])]


def _bands(column: str, both: list[pd.Series]) -> tuple[_Segmentation, list[Codes]]:
    rows = [values.to_numpy(np.float64, na_value=np.nan) for values in both]
    known = rows[0][~np.isnan(rows[0])]
    inner = np.quantile(known, np.arange(1, BANDS) / BANDS) if known.size else np.array([])
    cuts = np.unique(inner)
    ends = ["", *(f"{c:.4g}" for c in cuts), ""]
    subjects = [f"{column}={low}..{high}" for low, high in pairwise(ends)]
    codes = [
        np.where(np.isnan(r), len(subjects), np.searchsorted(cuts, r, side="right")).astype(np.int64)
        for r in rows
    ]
    return _Segmentation((*subjects, f"{column}=missing"), False), codes


def _window(
    frame: pd.DataFrame, outcome: Floats, score: Floats, segments: list[Codes], block: int
) -> _Window:
    day, partitions = pd.factorize(frame[PARTITION], sort=True)
    return _Window(
        names=[str(name) for name in partitions[::block]],
        day=(day // block).astype(np.int64),
        label=outcome,
        score=score,
        weight=_weights(frame),
        segments=segments,
    )


def _report(
    before: _Window,
    now: _Window,
    segmentations: list[_Segmentation],
    settings: DiagnosisConfig,
    shape: Shape,
) -> ConceptReport:
    curve = fit_curve(before.score, before.label, before.weight, shape)
    expected = curve.at(now.score)
    residuals = before.label - cross_fitted(before.score, before.label, before.day, before.weight, shape)
    changed = now.label - expected
    bias, daily = _bias(before, now, residuals, changed, settings)
    tests = _series(before, now, residuals, changed, segmentations)
    slopes, contrasts = _split(tests, _judge(tests, settings))
    reason = "" if np.ptp(before.score) else "the score is constant in the reference, so it has no slope"
    report = ConceptReport(bias, slopes, contrasts, reason=reason)
    if bias.state == "FAIL":
        changed = now.label - _SHIFTS[shape](expected, now.label, now.weight)
        tests = _series(before, now, residuals, changed, segmentations)
        slopes, contrasts = _split(tests, _judge(tests, settings))
        report = replace(report, recalibrated_slopes=slopes, recalibrated_contrasts=contrasts)
    failed = [t for t, f in zip(tests, report.deciding, strict=True) if f.state == "FAIL"]
    return _dated(report, failed, daily, now.names)


def _dated(
    report: ConceptReport, failed: list[_Series], bias: tuple[Floats, Floats], names: list[str]
) -> ConceptReport:
    """The report with its kind and onset, and the onset's partitions on the findings that fail."""
    kind: Change = "concept" if failed else "prior" if report.bias.state == "FAIL" else "none"
    if kind == "none":
        return report
    pairs = [(t.reference, t.current) for t in failed] or [bias]
    first = _onset(pairs)
    since = tuple(names[first:])

    def mark(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(replace(f, partitions=since) if f.state == "FAIL" else f for f in findings)

    return replace(
        report,
        bias=mark((report.bias,))[0],
        slopes=mark(report.slopes),
        contrasts=mark(report.contrasts),
        recalibrated_slopes=mark(report.recalibrated_slopes),
        recalibrated_contrasts=mark(report.recalibrated_contrasts),
        kind=kind,
        onset=names[first],
    )


def _onset(pairs: list[tuple[Floats, Floats]]) -> int:
    """Block at which the days before and after it differ most: a change point by least squares.

    Several series are first added up, each with the sign of its change and in units of its spread.
    """
    total_before, total_now = np.zeros(pairs[0][0].size), np.zeros(pairs[0][1].size)
    for before, now in pairs:
        center = np.nanmean(before)
        spread = math.sqrt((np.nanvar(before) + np.nanvar(now)) / 2) or 1.0
        scale = math.copysign(1 / spread, np.nanmean(now) - center)
        total_before += np.nan_to_num((before - center) * scale)
        total_now += np.nan_to_num((now - center) * scale)
    days = np.concatenate([total_before, total_now])
    after = np.arange(total_now.size, 0, -1)  # days from each candidate on
    later = np.cumsum(total_now[::-1])[::-1]
    earlier = days.size - after
    contrast = later / after - (days.sum() - later) / earlier
    gain = contrast * np.sqrt(after * earlier / days.size)
    return int(np.argmax(gain))


def _shifted(expected: Floats, label: Floats, weight: Floats) -> Floats:
    """Probabilities whose logits are shifted until they meet the labels' mean (Newton's method)."""
    logits = special.logit(expected)
    target = float((weight * label).sum())
    shift, shifted = 0.0, expected
    for _ in range(20):
        gap = target - float((weight * shifted).sum())
        step = gap / float((weight * shifted * (1 - shifted)).sum())
        shift += max(min(step, 1.0), -1.0)  # far steps can overshoot where the curve is flat
        shifted = special.expit(logits + shift)
        if abs(step) < 1e-8:
            break
    return shifted


def _moved(expected: Floats, label: Floats, weight: Floats) -> Floats:
    """Numbers shifted by a constant until they meet the labels' mean."""
    return expected + np.average(label - expected, weights=weight)


_SHIFTS: Mapping[Shape, Callable[[Floats, Floats, Floats], Floats]] = {
    "probability": _shifted,
    "rising": _moved,
}


def _bias(
    before: _Window, now: _Window, residuals: Floats, changed: Floats, settings: DiagnosisConfig
) -> tuple[Finding, tuple[Floats, Floats]]:
    daily = _daily_mean(before, residuals), _daily_mean(now, changed)
    change = change_of_days(*daily)
    p_value = change.p_value()
    detectable = change.minimal_detectable_effect(settings.p_value)
    state = judge(
        change,
        significant=p_value < settings.p_value,
        floor=settings.bias_floor,
        effect=abs(change.value),
        detectable=detectable,
    )
    low, high = change.interval()
    finding = Finding(
        statistic="bias",
        subject=ALL,
        state=state,
        detail=f"The mean residual (label minus calibrated score) changed by {change.value:+.3f} "
        f"(p {p_value:.2g}); {detectable:.3f} could be seen, floor {settings.bias_floor:.3f}.",
        estimate=finite(change.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=settings.bias_floor,
        p_value=p_value,
        blocks=change.blocks,
        rows=round(_effective(now.weight.sum(), (now.weight**2).sum())),
        facts={"lag1": change.lag1},
    )
    return finding, daily


def _daily_mean(window: _Window, residuals: Floats) -> Floats:
    days = len(window.names)
    total = tally(window.day, window.weight, days)
    return tally(window.day, window.weight * residuals, days) / np.where(total > 0, total, np.nan)


def _effective(weights: float, squares: float) -> float:
    """Rows of weight 1 that would be worth as much (Kish)."""
    return weights**2 / squares if squares > 0 else 0.0


def _series(
    before: _Window,
    now: _Window,
    residuals: Floats,
    changed: Floats,
    segmentations: list[_Segmentation],
) -> list[_Series]:
    """Daily slopes, then daily contrasts, of all subjects that occur in the current window."""
    whole = [
        _Sums.of(w, r, np.zeros(w.day.size, np.int64), 1) for w, r in ((before, residuals), (now, changed))
    ]
    slopes = _pair("slope", (ALL,), [s.slopes() for s in whole], whole[1].rows())
    contrasts: list[_Series] = []
    for i, segmentation in enumerate(segmentations):
        count = len(segmentation.subjects)
        parts = [_Sums.of(w, r, w.segments[i], count) for w, r in ((before, residuals), (now, changed))]
        rows = parts[1].rows()
        if segmentation.categorical:
            slopes += _pair("slope", segmentation.subjects, [s.slopes() for s in parts], rows)
        against = [part.contrasts(all_) for part, all_ in zip(parts, whole, strict=True)]
        contrasts += _pair("contrast", segmentation.subjects, against, rows)
    return slopes + contrasts


def _pair(
    statistic: Literal["slope", "contrast"],
    subjects: Sequence[str],
    daily: list[Floats],
    rows: Floats,
) -> list[_Series]:
    """Series of the subjects that occur now, from both windows' values of shape (blocks, subjects)."""
    return [
        _Series(statistic, subject, daily[0][:, i], daily[1][:, i], float(rows[i]))
        for i, subject in enumerate(subjects)
        if rows[i] > 0
    ]


@dataclass(frozen=True)
class _Sums:
    """Weighted sums over the rows of each block and segment, each of shape (blocks, segments)."""

    weight: Floats
    squares: Floats
    score: Floats
    score_score: Floats
    residual: Floats
    score_residual: Floats

    @classmethod
    def of(cls, window: _Window, residuals: Floats, segment: Codes, count: int) -> _Sums:
        days = len(window.names)
        cell = window.day * count + segment
        terms = (*window.terms, window.weight * residuals, window.terms[2] * residuals)
        sums = (tally(cell, t, days * count).reshape(days, count) for t in terms)
        return cls(*sums)

    def rows(self) -> Floats:
        """Effective rows of each segment."""
        weight, squares = self.weight.sum(axis=0), self.squares.sum(axis=0)
        return np.asarray(weight**2 / np.where(squares > 0, squares, 1), dtype=np.float64)

    def slopes(self) -> Floats:
        """Daily slopes of residuals on the score within the block, linearised."""
        weight = np.where(self.weight > 0, self.weight, 1)
        spread = self.score_score - self.score**2 / weight
        spread[spread <= 1e-12 * self.weight] = 0  # one row, or one score: no slope
        return _linearised(self.score_residual - self.score * self.residual / weight, spread)

    def contrasts(self, whole: _Sums) -> Floats:
        """Daily mean residual of each segment minus that of the rest of its block, linearised."""
        rest = whole.weight - self.weight
        share = np.where((self.weight > 0) & (rest > 1e-9 * whole.weight), 1.0, 0.0)
        inside = self.residual / np.where(share, self.weight, 1)
        outside = (whole.residual - self.residual) / np.where(share, rest, 1)
        information = share * self.weight * rest / np.where(share, whole.weight, 1)
        return _linearised((inside - outside) * information, information)


def _linearised(numerator: Floats, information: Floats) -> Floats:
    """Daily values whose plain mean is the ratio of sums, and whose spread is that of its error.

    Blocks without information are NaN.
    """
    known = information > 0
    blocks = known.sum(axis=0)
    total = information.sum(axis=0)
    safe = np.where(total > 0, total, 1)
    ratio = numerator.sum(axis=0) / safe
    values = ratio + (numerator - ratio * information) * blocks / safe
    return np.where(known, values, np.nan)


def _split(tests: list[_Series], findings: list[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    slopes = sum(t.statistic == "slope" for t in tests)
    return tuple(findings[:slopes]), tuple(findings[slopes:])


def _judge(tests: list[_Series], settings: DiagnosisConfig) -> list[Finding]:
    """One finding per series; those with enough rows are adjusted as one family."""
    changes = [_change(t) for t in tests]
    alone = _p_values(changes)
    tested = [
        i
        for i, (t, c) in enumerate(zip(tests, changes, strict=True))
        if t.rows >= settings.segment_minimum_rows and math.isfinite(c.se) and not math.isnan(c.value)
    ]
    adjusted = dict(zip(tested, adjust([alone[i] for i in tested]), strict=True))
    level = lone_level(settings.false_discovery_rate, len(tested))
    detectable = _detectable(changes, level), _detectable(changes, settings.p_value)
    shrunk = _shrunk(tests, changes)
    half = special.stdtrit([c.df for c in changes], 0.975) * [c.se for c in changes]
    return [
        _finding(
            test,
            changes[i],
            settings,
            alone=alone[i],
            adjusted=adjusted.get(i),
            shrunk=float(shrunk[i]),
            detectable=float(detectable[0][i]),
            detectable_alone=float(detectable[1][i]),
            half=float(half[i]),
        )
        for i, test in enumerate(tests)
    ]


def _change(test: _Series) -> Estimate:
    """Change of the mean, its error taken around a step within the current window.

    Otherwise a change that began amid the window would count as noise and hide itself. The place and the
    size of the step cost two degrees of freedom. (Not for the bias: shocks shared by neighbouring days
    look like steps. Within days they cancel.)
    """
    known = test.current[~np.isnan(test.current)]
    if known.size < 2 * _STEP_DAYS:
        return change_of_days(test.reference, known)
    change = change_of_days(test.reference, _without_step(known))
    free = max(change.blocks - 2, 3)
    return replace(change, se=change.se * math.sqrt(free / (free - 2)), df=max(change.df - 2, 1))


def _without_step(known: Floats) -> Floats:
    """Days of the same mean without the step that fits them best."""
    before = np.arange(_STEP_DAYS, known.size - _STEP_DAYS + 1)
    after = known.size - before
    sums = np.cumsum(known)
    step = (sums[-1] - sums[before - 1]) / after - sums[before - 1] / before
    best = int(np.argmax(step**2 * before * after))
    since = (np.arange(known.size) >= before[best]).astype(np.float64)
    return np.asarray(known - step[best] * (since - since.mean()), dtype=np.float64)


def _p_values(changes: list[Estimate]) -> list[float]:
    """Two-sided p-values, at once for those that have a standard error."""
    t = np.array([abs(c.value) / c.se if c.se > 0 and not math.isnan(c.value) else 0.0 for c in changes])
    tails = 2 * special.stdtr([c.df for c in changes], -t)
    return [float(tail) if c.se > 0 else c.p_value() for tail, c in zip(tails, changes, strict=True)]


def _detectable(changes: list[Estimate], level: float) -> Floats:
    df, se = np.array([c.df for c in changes]), np.array([c.se for c in changes])
    return np.asarray(
        (special.stdtrit(df, 1 - level / 2) + special.stdtrit(df, POWER)) * se, dtype=np.float64
    )


def _shrunk(tests: list[_Series], changes: list[Estimate]) -> Floats:
    """Changes shrunk towards none, slopes and contrasts as populations of their own."""
    shrunk = np.zeros(len(tests))
    for statistic in ("slope", "contrast"):
        chosen = [i for i, t in enumerate(tests) if t.statistic == statistic]
        errors = [changes[i].se for i in chosen]
        shrunk[chosen] = shrink([changes[i].value for i in chosen], errors, center=0.0)
    return shrunk


def _finding(
    test: _Series,
    change: Estimate,
    settings: DiagnosisConfig,
    *,
    alone: float,
    adjusted: float | None,
    shrunk: float,
    detectable: float,
    detectable_alone: float,
    half: float,
) -> Finding:
    floor = settings.slope_floor if test.statistic == "slope" else settings.contrast_floor
    if math.isnan(change.value):
        nothing = _unknown(test.statistic, _NOTHING[test.statistic], test.subject)
        # a segment of one window only is no missing evidence: it is the unseen region of another question
        unseen: State = "UNKNOWN" if test.subject == ALL else "UNDERPOWERED"
        return replace(nothing, state=unseen, floor=floor, rows=round(test.rows))
    state = judge(
        change,
        significant=adjusted is not None and adjusted <= settings.false_discovery_rate,
        floor=floor,
        effect=abs(change.value),
        detectable=detectable if adjusted is not None else math.inf,
    )
    suspicion = (
        state != "FAIL"
        and adjusted is not None
        and alone < settings.p_value
        and abs(shrunk) >= floor
        and detectable_alone <= SUSPICIOUS_FLOORS * floor
    )
    return Finding(
        statistic=test.statistic,
        subject=test.subject,
        state=state,
        detail=_detail(test, change.value, adjusted, detectable, floor),
        estimate=finite(change.value),
        low=finite(change.value - half),
        high=finite(change.value + half),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=adjusted,
        blocks=change.blocks,
        rows=round(test.rows),
        suspicion=suspicion,
        facts={
            "p_value_alone": alone,
            "shrunk": shrunk,
            "minimal_detectable_effect_alone": finite(detectable_alone),
            "lag1": change.lag1,
        },
    )


_NOTHING = {
    "slope": "Scores do not vary within the days of one of the windows, so there is no slope.",
    "contrast": "Days of one of the windows lack these rows, or have no others.",
}


def _detail(test: _Series, value: float, adjusted: float | None, detectable: float, floor: float) -> str:
    what = {
        "slope": "The slope of residuals on the score",
        "contrast": "The mean residual against the rest of the day",
    }[test.statistic]
    if adjusted is None:
        return f"{what} changed by {value:+.3f} in {test.subject}; {test.rows:.0f} rows are too few to test."
    return (
        f"{what} changed by {value:+.3f} in {test.subject} (adjusted p {adjusted:.2g}, {test.rows:.0f} "
        f"rows); {detectable:.3f} could be seen, floor {floor:.3f}."
    )


def _unknown(statistic: str, reason: str, subject: str = ALL) -> Finding:
    return Finding(statistic, subject, "UNKNOWN", reason)
