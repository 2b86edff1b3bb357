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
tested again on residuals whose calibration was shifted (in logits; of a number along a line) to the current
mean: what is left then is a changed rule (:mod:`ml_platform.monitoring.prior`). Several classes are shifted
together: a new share of one moves the others' odds against the rest, and not by the same factor everywhere.
A segment that is too small to be tested, and stands out then, is a suspicion: while there is one, nobody can
say that nothing else moved.

A level may move unseen by the bias, through the days' shocks, and bend slopes and contrasts that are seen:
where negatives become positive at random the slope falls, where all amounts grow those of large segments grow
by more. One that fails while no bias does is a suspicion where a shifted level explains it. Of a number the
level lies along a line, so that its slope over all rows is a part of the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.base import Kind
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.concept_judging import (
    judge_series,
    unknown,
    unless_early,
    with_small_suspects,
)
from ml_platform.monitoring.concept_series import (
    ALL,
    WEIGHT,
    Segmentation,
    Series,
    Window,
    daily_mean,
    effective_rows,
    segment,
    series_of,
    weights_of,
    window_of,
)
from ml_platform.monitoring.estimated import Shape, cross_fitted, fit_curve
from ml_platform.monitoring.prior import to_level
from ml_platform.numbers import number, signed
from ml_platform.statistics.blocks import Floats, change_of_days, judge
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, finite

QUESTION = "concept"

Change = Literal["none", "prior", "concept"]


@dataclass(frozen=True)
class ConceptReport:
    """What is known about a change of P(y|x).

    Attributes:
        bias: Change of the mean residual (label minus calibrated score).
        slopes: Change of the slope of residuals on the score within days: ``all``, and by category.
        contrasts: Change of the residual of a segment minus the rest, within days.
        recalibrated_slopes: The slopes again, after shifting the calibration to the current base rate;
            empty unless the bias fails, of any class where there are several.
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
        return ConceptReport(unknown("bias", reason), reason=reason)
    segmentations, codes = segment(frames, features, segments)
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
    channels = [
        _Channel.of(
            name,
            [
                window_of(frame, y[:, i], p[:, i], parts, settings.block_partitions)
                for frame, y, p, parts in zip(frames, outcomes, scores, by_segment, strict=True)
            ],
            kind,
            shared,
            _rare([y[:, i] for y in outcomes], settings.minimum_class_rows) if name else "",
        )
        for i, name in enumerate(kind.channels)
    ]
    found = [_report(c, segmentations, shared) for c in channels]
    if any(f.state == "FAIL" for r in found for f in (r.bias, *r.deciding)):
        if not kind.bounded:
            found = [_with_slope(r) for r in found]
        moved = any(r.bias.state == "FAIL" for r in found)
        expected = np.column_stack([c.expected for c in channels])
        level = to_level(expected, outcomes[1], channels[0].now.weight, bounded=kind.bounded)
        found = [
            _decided(r, c, segmentations, shared, level[:, i], moved)
            for i, (r, c) in enumerate(zip(found, channels, strict=True))
        ]
    found = [_named(r, c.name) for r, c in zip(found, channels, strict=True)]
    return found[0] if count == 1 else _merged(found)


@dataclass(frozen=True)
class _Channel:
    """One score against one outcome, before any slope or contrast is looked at.

    Attributes:
        name: Name of the class; empty where there is one channel.
        before: The reference.
        now: The current window.
        residuals: Of the reference, cross-fitted (rows,).
        expected: Calibrated scores of the current window (rows,).
        bias: Change of the mean residual.
        daily: Mean residuals by block, of both windows.
        rare: Why the class cannot be judged; empty where it can.
    """

    name: str
    before: Window
    now: Window
    residuals: Floats
    expected: Floats
    bias: Finding
    daily: tuple[Floats, Floats]
    rare: str

    @classmethod
    def of(
        cls, name: str, windows: list[Window], kind: Kind, settings: DiagnosisConfig, rare: str
    ) -> _Channel:
        before, now = windows
        shape: Shape = "probability" if kind.bounded else "rising"
        expected = fit_curve(before.score, before.label, before.weight, shape).at(now.score)
        fitted = cross_fitted(before.score, before.label, before.day, before.weight, shape)
        residuals = before.label - fitted
        bias, daily = _bias(before, now, residuals, now.label - expected, settings)
        if rare:
            bias = Finding("bias", ALL, "UNDERPOWERED", rare, floor=settings.bias_floor)
        return cls(name, before, now, residuals, expected, bias, daily, rare)


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
    y, w = frame[label].to_numpy(np.float64), weights_of(frame)
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


def _cannot(reference: pd.DataFrame, current: pd.DataFrame, kind: Kind, label: str, block: int) -> str:
    """Why nothing can be judged; empty when something can."""
    for frame, what in ((reference, "reference"), (current, "current window")):
        if not len(frame):
            return f"the {what} has no rows"
        if frame.loc[weights_of(frame) > 0, label].nunique() < 2:
            return f"the {what} has rows of one {'class' if kind.bounded else 'value'} only"
    if reference[PARTITION].nunique() <= block:
        return "the reference has one block of partitions only"
    return ""


def _report(channel: _Channel, segmentations: list[Segmentation], settings: DiagnosisConfig) -> ConceptReport:
    """Slopes and contrasts of a channel."""
    if channel.rare:
        return ConceptReport(channel.bias, reason=f"{channel.name}: {channel.rare}")
    tests = _tests(channel, segmentations, channel.expected)
    slopes, contrasts = _split(tests, judge_series(tests, settings))
    reason = (
        "" if np.ptp(channel.before.score) else "the score is constant in the reference, so it has no slope"
    )
    return ConceptReport(channel.bias, slopes, contrasts, reason=reason)


def _decided(
    report: ConceptReport,
    channel: _Channel,
    segmentations: list[Segmentation],
    settings: DiagnosisConfig,
    level: Floats,
    moved: bool,
) -> ConceptReport:
    """The report with its kind and onset, slopes and contrasts tested again on residuals of a ``level``.

    Where the level has ``moved`` these decide. Else they only tell suspicions from failures.
    """
    if channel.rare:
        return report
    shifted = _tests(channel, segmentations, level)
    judged = judge_series(shifted, settings)
    if moved:
        slopes, contrasts = _split(shifted, with_small_suspects(shifted, judged, settings))
        report = replace(report, recalibrated_slopes=slopes, recalibrated_contrasts=contrasts)
        tests = shifted
    else:
        tests = _tests(channel, segmentations, channel.expected)
        slopes, contrasts = _split(shifted, judged)
        slopes = _explained(report.slopes, slopes, settings)
        contrasts = _explained(report.contrasts, contrasts, settings)
        report = replace(report, slopes=slopes, contrasts=contrasts)
    failed = [t for t, f in zip(tests, report.deciding, strict=True) if f.state == "FAIL"]
    return _dated(report, failed, channel.daily, channel.now.names)


def _with_slope(report: ConceptReport) -> ConceptReport:
    """The report of a number: its level has moved where its mean did, or its slope over all rows."""
    slope = next((f for f in report.slopes if f.subject == ALL and f.state == "FAIL"), None)
    if slope is None or report.bias.state == "FAIL":
        return report
    return replace(
        report, bias=replace(report.bias, state="FAIL", detail=f"{slope.detail} {report.bias.detail}")
    )


def _tests(channel: _Channel, segmentations: list[Segmentation], expected: Floats) -> list[Series]:
    changed = channel.now.label - expected
    return series_of(channel.before, channel.now, channel.residuals, changed, segmentations)


def _explained(
    found: tuple[Finding, ...], shifted: tuple[Finding, ...], settings: DiagnosisConfig
) -> tuple[Finding, ...]:
    """Failures that are not even significant alone on shifted residuals become suspicions."""
    return tuple(
        replace(
            one,
            state="UNDERPOWERED",
            suspicion=True,
            detail=f"{one.detail} A level that moved everywhere could explain it, and cannot be seen yet.",
        )
        if one.state == "FAIL" and other.facts.get("p_value_alone", 1.0) >= settings.p_value
        else one
        for one, other in zip(found, shifted, strict=True)
    )


def _dated(
    report: ConceptReport, failed: list[Series], bias: tuple[Floats, Floats], names: list[str]
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


def _bias(
    before: Window, now: Window, residuals: Floats, changed: Floats, settings: DiagnosisConfig
) -> tuple[Finding, tuple[Floats, Floats]]:
    daily = daily_mean(before, residuals), daily_mean(now, changed)
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
        state=unless_early(state, daily[1], settings),
        detail=f"The mean residual (label minus calibrated score) changed by {signed(change.value)} "
        f"(p {number(p_value, 2)}); {number(detectable)} could be seen, floor {number(settings.bias_floor)}.",
        estimate=finite(change.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=settings.bias_floor,
        p_value=p_value,
        blocks=change.blocks,
        rows=round(effective_rows(now.weight.sum(), (now.weight**2).sum())),
        facts={"lag1": change.lag1},
    )
    return finding, daily


def _split(tests: list[Series], findings: list[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    slopes = sum(t.statistic == "slope" for t in tests)
    return tuple(findings[:slopes]), tuple(findings[slopes:])
