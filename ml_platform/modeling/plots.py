"""Pictures of a model and its evaluation as PNG bytes, drawn without a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ml_platform.modeling.evaluate import Bin, Channel, Evaluation
from ml_platform.modeling.gates import Gate
from ml_platform.pictures import png

INK, MUTED, GRID, PAPER = "#1f2a37", "#6b7280", "#e5e7eb", "#ffffff"
BLUE, RED, GREEN = "#2563eb", "#dc2626", "#15803d"
SERIES = (BLUE, "#f59e0b", "#7c3aed", "#94a3b8")
DPI = 130
MOST_BARS = 30


def reliability(evaluations: Mapping[str, Evaluation], channel: int = 0) -> bytes:
    """Observed mean against mean score in ten bins, bars blocked by day, over where the scores lie.

    Args:
        evaluations: By name of the model, the most important first.
        channel: Position of the class that is drawn, where there are several.
    """
    figure = _figure(6.2, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    first = next(iter(evaluations.values()))
    ends = [e for one in evaluations.values() for b in one.channels[channel].bins for e in _ends(b)]
    room = 0.1 * (max(ends) - min(0.0, *ends))
    limits = (0.0, min(1.0, max(ends) + room)) if first.kind.bounded else (min(ends) - room, max(ends) + room)
    top.plot(limits, limits, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for colour, (name, evaluation) in zip(SERIES, evaluations.items(), strict=False):
        _curve(top, evaluation.channels[channel], name, colour)
        days = [d.scores[channel] for d in evaluation.days]
        bottom.plot(days, np.full(len(days), name), "|", color=colour, markersize=12, alpha=0.7)
    what = first.channels[channel].name
    _title(
        top,
        f"Reliability of {what}" if what else "Reliability",
        f"{first.rows:,} rows, {len(first.days)} partitions",
    )
    top.set_xlim(*limits)
    top.set_ylim(*limits)
    top.set_ylabel("observed share" if first.kind.bounded else "observed mean")
    bottom.set_xlabel("mean score")
    bottom.set_ylim(len(evaluations) - 0.3, -0.7)
    bottom.set_title("mean score of each partition", fontsize=8, color=MUTED, loc="left")
    _frame(top)
    _frame(bottom)
    top.legend(frameon=False, fontsize=9, loc="upper left")
    return png(figure)


def roc(evaluations: Mapping[str, Evaluation]) -> bytes:
    """ROC curves by name of the model; those whose rows hold one class are left out.

    Of several classes the first model's curves, one class against the rest.
    """
    figure = _figure(5.6, 5.6)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    first = next(iter(evaluations.values()))
    curves = {n: e.channels[0] for n, e in evaluations.items()}
    if len(first.channels) > 1:
        curves = {c.name: c for c in first.channels}
    colours = [SERIES[i % len(SERIES)] for i in range(len(curves))]
    for colour, (name, curve) in zip(colours, curves.items(), strict=True):
        if curve.roc:
            false, true = zip(*curve.roc, strict=True)
            axis.plot(false, true, color=colour, linewidth=2, label=f"{name}, AUC {curve.auc:.3f}")
    told = "how well positives are told from negatives"
    _title(axis, "ROC", told if len(first.channels) == 1 else "each class against the rest")
    axis.set_xlabel("false positive rate")
    axis.set_ylabel("true positive rate")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.01)
    _frame(axis)
    if any(c.roc for c in curves.values()):
        axis.legend(frameon=False, fontsize=9, loc="lower right")
    return png(figure)


def evaluation_plots(evaluations: Mapping[str, Evaluation]) -> dict[str, bytes]:
    """The pictures of a kind by name: reliability of each channel, and ROC curves of classes.

    Args:
        evaluations: By name of the model, the most important first.
    """
    first = next(iter(evaluations.values()))
    drawn = {
        f"reliability_{c.name}" if c.name else "reliability": reliability(evaluations, i)
        for i, c in enumerate(first.channels)
    }
    return drawn | {"roc": roc(evaluations)} if first.kind.bounded else drawn


def importance(shares: Mapping[str, float]) -> bytes:
    """How much each feature moves the score, as a share of all movement.

    Args:
        shares: By feature; see :attr:`ml_platform.modeling.model.Model.importance`.
    """
    ranked = sorted(shares.items(), key=lambda item: -item[1])[:MOST_BARS]
    figure = _figure(7.0, 1.2 + 0.27 * len(ranked))
    axis = figure.subplots()
    values = [share for _, share in ranked]
    axis.barh(range(len(ranked)), values, color=BLUE, height=0.62)
    for row, value in enumerate(values):
        axis.text(value, row, f" {value:.1%}", va="center", fontsize=8, color=MUTED)
    _rows(axis, [name for name, _ in ranked])
    axis.set_xlim(0, 1.14 * max([*values, 1e-9]))
    axis.xaxis.set_visible(False)
    left = f", the first {MOST_BARS} of {len(shares)}" if len(shares) > MOST_BARS else ""
    _title(axis, "Importance", f"mean share of the movement of the score{left}")
    _frame(axis, grid=False)
    axis.spines["bottom"].set_visible(False)
    return png(figure)


def slices(gate: Gate) -> bytes:
    """Harm of each judged segment with its corrected bounds, against the limit.

    Args:
        gate: The gate ``slices`` of :func:`ml_platform.modeling.gates.assess`.
    """
    judged = sorted(gate.evidence.get("segments", []), key=lambda row: -row["harm"])[:MOST_BARS]
    figure = _figure(7.6, 1.5 + 0.27 * max(len(judged), 2))
    axis = figure.subplots()
    if not judged or gate.limit is None:
        axis.text(0.5, 0.5, gate.description, ha="center", va="center", color=MUTED, wrap=True)
        axis.set_axis_off()
        return png(figure)
    for row, segment in enumerate(judged):
        _segment(axis, row, segment, gate)
    axis.axvline(0, color=MUTED, linewidth=1)
    axis.axvline(gate.limit, color=RED, linewidth=1, linestyle=(0, (4, 3)))
    axis.text(gate.limit, -0.9, f"limit {gate.limit:g} ", fontsize=8, color=RED, ha="right", va="center")
    _rows(axis, [f"{s['column']} = {s['value']}  ({s['rows']:,})" for s in judged])
    axis.set_ylim(len(judged) - 0.4, -1.3)
    loss = gate.evidence["loss"].replace("_", " ")
    axis.set_xlabel(f"{loss} over the reference's  (right of the limit: harm)")
    _title(axis, "Slices", "paired by partition, bounds corrected for all segments; rows in brackets")
    _frame(axis)
    return png(figure)


def _curve(axis: Axes, channel: Channel, name: str, colour: str) -> None:
    x = [b.mean_score for b in channel.bins]
    y = [b.observed.value for b in channel.bins]
    below = [b.observed.value - _or(b.observed.low, b.observed.value) for b in channel.bins]
    above = [_or(b.observed.high, b.observed.value) - b.observed.value for b in channel.bins]
    label = f"{name}, calibration error {channel.calibration_error:.3g}"
    axis.errorbar(
        x,
        y,
        yerr=[below, above],
        color=colour,
        marker="o",
        markersize=4,
        linewidth=1.8,
        elinewidth=1,
        label=label,
    )


def _segment(axis: Axes, row: int, segment: Mapping[str, Any], gate: Gate) -> None:
    failed = f"{segment['column']}={segment['value']}" in gate.evidence["failed"]
    colour = RED if failed else (GREEN if segment["harm"] < 0 else BLUE)
    axis.plot([segment["low"], segment["high"]], [row, row], color=colour, linewidth=1.4, alpha=0.75)
    axis.plot([segment["harm"]], [row], "o", color=colour, markersize=5)


def _ends(found: Bin) -> tuple[float, float, float]:
    observed = found.observed
    return found.mean_score, _or(observed.low, observed.value), _or(observed.high, observed.value)


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER, layout=_layout())


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14)


def _rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()


def _title(axis: Axes, title: str, summary: str) -> None:
    axis.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=24)
    axis.annotate(
        summary,
        (0, 1),
        (0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=MUTED,
    )


def _frame(axis: Axes, grid: bool = True) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)
    axis.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axis.xaxis.label.set(color=MUTED, fontsize=9)
    axis.yaxis.label.set(color=MUTED, fontsize=9)
    if grid:
        axis.grid(color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
