"""The one chart per model: realised and estimated loss, verdicts, label arrival and drift by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ml_platform.monitoring.daily import DailyDistance
from ml_platform.monitoring.marks import Story, draw_events, draw_incidents, draw_promotions, draw_verdicts
from ml_platform.monitoring.performance import PerformanceReport
from ml_platform.monitoring.scoring import DayPerformance
from ml_platform.monitoring.shifts import NULL_BASE, NULL_STEP
from ml_platform.monitoring.style import (
    AMBER,
    BLUE,
    DPI,
    GRID,
    INK,
    LABEL,
    MUTED,
    PAPER,
    SLATE,
    TEAL,
    VIOLET,
    WIDTH,
    draw_header,
    draw_plain,
    left_margin,
    name_partitions,
)
from ml_platform.pictures import png
from ml_platform.statistics.blocks import Floats

TRAILING = 7
"""Matured days in the trailing mean."""

_HEAT = LinearSegmentedColormap.from_list("distance", ["#f8fafc", "#fde68a", "#f59e0b", "#dc2626", "#7f1d1d"])
_FULL_HEAT = 1.0
_IN_A_LINE = 4
"""Entries of the legend."""


def model_chart(
    title: str,
    performance: PerformanceReport,
    *,
    distance: DailyDistance | None = None,
    story: Story | None = None,
    noun: str = "day",
) -> bytes:
    """Realised loss, label arrival and drift of one model, partition by partition.

    Args:
        title: Title, for example the model's key.
        performance: Loss by partition; those that are not mature are shaded and carry no loss.
        distance: Distance of each partition to the reference, per feature and for the score.
        story: Promotions, verdicts, incidents, known events, and the loss estimated without labels.
        noun: What a partition is called.

    Returns:
        A PNG image.
    """
    told = story or Story()
    drifting = distance if distance and distance.features else None
    keys = sorted({d.partition_key for d in performance.days} | set(_partitions(drifting)))
    strip = 0.2 * len(drifting.features) + 0.3 if drifting else 0.0
    height = 5.8 + strip
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    heights = [3.6, 0.22, 0.7] + ([strip] if drifting else [])
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        hspace=0.12,
        left=left_margin(_row_names(drifting) if drifting else []),
        right=0.9,
        top=1 - 1.15 / height,
        bottom=0.6 / height,
    )
    axes = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
    draw_header(figure, title, _summary(performance), performance.state)
    _loss_panel(axes[0], performance, keys, told, noun)
    draw_verdicts(axes[1], told.verdicts, keys)
    _arrival_panel(axes[2], performance, keys)
    if drifting:
        _drift_panel(axes[3], drifting, keys)
    for axis in axes:
        _days(axis, keys, labelled=axis is axes[-1])
    return png(figure)


def _partitions(distance: DailyDistance | None) -> tuple[str, ...]:
    return distance.partitions if distance else ()


def _summary(performance: PerformanceReport) -> str:
    loss = performance.metric(performance.loss)
    # Of several classes the one that is furthest off.
    bias = max((performance.metric(n) for n in performance.biases), key=lambda m: abs(m.value or 0.0))
    young = len(performance.immature)
    if loss.value is None:
        return f"no matured partition yet · {young} immature"
    name = performance.loss.replace("_", " ")
    parts = [f"{name} {_short(loss.value)} over {loss.days} matured partitions"]
    if loss.change is not None:
        parts.append(f"{_short(loss.change, '+')} against the reference")
    if loss.minimal_detectable_effect is not None:
        parts.append(f"detectable {_short(loss.minimal_detectable_effect)}")
    if bias.value is not None:
        parts.append(f"{bias.name.replace('_', ' ')} {_short(bias.value, '+')}")
    return " · ".join([*parts, f"{young} immature"])


def _short(value: float, sign: str = "") -> str:
    """Three digits; from a thousand on whole numbers."""
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}#.3g}"


def _loss_panel(axis: Axes, performance: PerformanceReport, keys: list[str], story: Story, noun: str) -> None:
    place = {key: i for i, key in enumerate(keys)}
    handles: list[Line2D | Patch] = [*_reference(axis, performance, noun)]
    handles += _losses(axis, performance.days, place, noun)
    handles += _weighted(axis, performance.days, place)
    handles += _estimated(axis, story.estimated, place, VIOLET, "estimated without labels")
    handles += _estimated(axis, story.density_weighted, place, TEAL, "density-weighted")
    handles += _immature(axis, performance.immature, place)
    draw_events(axis, story.events, keys)
    draw_incidents(axis, story.incidents, keys)
    draw_promotions(axis, story.promotions, keys)
    axis.set_ylabel(performance.loss.replace("_", " "), color=INK)
    axis.grid(axis="y", color=GRID, lw=0.8)
    axis.set_axisbelow(True)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.16 * (high - low))
    axis.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        # Seven in one line would leave the picture.
        ncols=min(len(handles), _IN_A_LINE),
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.4,
    )


def _reference(axis: Axes, performance: PerformanceReport, noun: str) -> list[Patch]:
    band = performance.reference
    if band is None:
        return []
    axis.axhline(band.mean, color=SLATE, lw=1, ls=(0, (4, 3)), zorder=1)
    if band.low is not None and band.high is not None:
        axis.axhspan(band.low, band.high, color=SLATE, alpha=0.16, lw=0, zorder=0)
    return [Patch(facecolor=SLATE, alpha=0.3, label=f"reference ({band.days} {noun}s, 95 %)")]


def _losses(
    axis: Axes, days: Sequence[DayPerformance], place: dict[str, int], noun: str
) -> list[Line2D | Patch]:
    """Matured days with their sampling band, broken where days are missing; trailing mean."""
    x, loss, low, high = (np.full(len(place), np.nan) for _ in range(4))
    for day in days:
        i = place[day.partition_key]
        if day.loss is not None:
            x[i], loss[i] = i, day.loss
            low[i] = day.loss if day.loss_low is None else day.loss_low
            high[i] = day.loss if day.loss_high is None else day.loss_high
    axis.fill_between(x, low, high, where=~np.isnan(loss), color=BLUE, alpha=0.15, lw=0, zorder=2)
    axis.plot(x, loss, color=BLUE, lw=0.9, alpha=0.6, marker="o", ms=3.5, mew=0, zorder=3)
    trailing = _trailing(loss)
    axis.plot(x, trailing, color=INK, lw=2, solid_capstyle="round", zorder=4)
    return [
        Line2D([], [], color=BLUE, lw=0.9, marker="o", ms=3.5, label=f"{noun}, 95 % band"),
        Line2D([], [], color=INK, lw=2, label=f"last {TRAILING} matured {noun}s"),
    ]


def _trailing(loss: Floats) -> Floats:
    """Mean of the last matured days; NaN before there are enough and on days without a loss."""
    found = np.flatnonzero(~np.isnan(loss))
    trailing = np.full(loss.size, np.nan)
    for end in range(TRAILING, found.size + 1):
        trailing[found[end - 1]] = loss[found[end - TRAILING : end]].mean()
    return trailing


def _immature(axis: Axes, immature: Sequence[str], place: dict[str, int]) -> list[Patch]:
    for key in immature:
        axis.axvspan(place[key] - 0.5, place[key] + 0.5, color=AMBER, alpha=0.1, lw=0, zorder=0)
    return [Patch(facecolor=AMBER, alpha=0.25, label="immature")] if immature else []


def _weighted(axis: Axes, days: Sequence[DayPerformance], place: dict[str, int]) -> list[Line2D | Patch]:
    """Losses weighted by label arrival: open marks, since they are no realised ones yet."""
    drawn = False
    for day in days:
        if day.weighted_loss is None or day.weighted_low is None or day.weighted_high is None:
            continue
        drawn, x = True, place[day.partition_key]
        axis.vlines(x, day.weighted_low, day.weighted_high, color=BLUE, lw=0.8, alpha=0.5, zorder=2)
        axis.plot(x, day.weighted_loss, "o", color=BLUE, mfc=PAPER, ms=4, mew=1.1, zorder=3)
    if not drawn:
        return []
    return [Line2D([], [], color=BLUE, lw=0.8, marker="o", mfc=PAPER, ms=4, label="young, weighted by 1/F")]


def _estimated(
    axis: Axes, estimated: Mapping[str, float], place: dict[str, int], colour: str, name: str
) -> list[Line2D | Patch]:
    """A loss expected without labels: beside the realised one, never mixed with it; broken where unknown."""
    values = np.full(len(place), np.nan)
    for key, value in estimated.items():
        if key in place:
            values[place[key]] = value
    if np.isnan(values).all():
        return []
    axis.plot(values, color=colour, lw=1.2, ls=":", marker=".", ms=2, zorder=3)
    return [Line2D([], [], color=colour, lw=1.2, ls=":", label=name)]


def _arrival_panel(axis: Axes, performance: PerformanceReport, keys: list[str]) -> None:
    place = {key: i for i, key in enumerate(keys)}
    for day in performance.days:
        colour = BLUE if day.maturity == "mature" else AMBER
        axis.bar(place[day.partition_key], 1, width=0.82, color=GRID, alpha=0.6)
        axis.bar(place[day.partition_key], day.share_known, width=0.82, color=colour, alpha=0.75)
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 1], ["0", "100 %"])
    axis.set_ylabel("labels\nknown", color=INK, rotation=0, ha="right", va="center", labelpad=22, size=LABEL)


def _drift_panel(axis: Axes, distance: DailyDistance, keys: list[str]) -> None:
    values = np.full((len(distance.features), len(keys)), np.nan)
    columns = [keys.index(p) for p in distance.partitions]
    values[:, columns] = np.array(distance.distance, dtype=np.float64)
    image = axis.imshow(values, aspect="auto", cmap=_HEAT, vmin=0, vmax=_FULL_HEAT, interpolation="nearest")
    names = _row_names(distance)
    axis.set_yticks(range(len(names)), names)
    _mark_rows(axis, distance, columns)
    axis.set_yticks(np.arange(len(distance.features)) - 0.5, minor=True)
    axis.grid(which="minor", axis="y", color=PAPER, lw=1.5)
    axis.tick_params(which="minor", length=0)
    box = axis.get_position()
    figure = axis.get_figure(root=True)
    if figure is None:
        return
    bar = figure.colorbar(image, cax=figure.add_axes((0.915, box.y0, 0.012, box.height)), extend="max")
    bar.set_label("distance to reference (SD); × = nulls", size=7.5, color=MUTED)
    bar.ax.tick_params(labelsize=7, colors=MUTED, length=2)
    bar.outline.set_visible(False)


def _row_names(distance: DailyDistance) -> list[str]:
    later = distance.runs_with_time
    return [f"{n} (runs with time)" if n in later else n for n in distance.features]


def _mark_rows(axis: Axes, distance: DailyDistance, columns: list[int]) -> None:
    """Fade what is expected to drift; mark days on which values went missing."""
    for row, name in enumerate(distance.features):
        if name in distance.runs_with_time:
            axis.axhspan(row - 0.5, row + 0.5, color=PAPER, alpha=0.65, lw=0)
        limit = max(distance.reference_null_rate[row] or 0, NULL_BASE) + NULL_STEP
        for column, rate in zip(columns, distance.null_rate[row], strict=True):
            if rate is not None and rate > limit:
                axis.plot(column, row, "x", color=INK, ms=5, mew=1.4)


def _days(axis: Axes, keys: list[str], *, labelled: bool) -> None:
    name_partitions(axis, keys, 12)
    axis.set_xlim(-0.5, max(len(keys), 1) - 0.5)
    axis.tick_params(colors=MUTED, length=3 if labelled else 0, labelbottom=labelled)
    draw_plain(axis)
