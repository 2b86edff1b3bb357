"""The picture of a drift report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from ml_platform.monitoring.drift import ColumnDrift, DriftReport
from ml_platform.monitoring.style import (
    DPI,
    GRID,
    INK,
    LABEL,
    MUTED,
    PAPER,
    SLATE,
    STATE_COLOURS,
    WIDTH,
    draw_header,
    draw_plain,
    left_margin,
)
from ml_platform.pictures import png

_STATISTIC, _NULLS = 0.735, 0.875


def drift_chart(title: str, report: DriftReport, *, floor: float = 0.2) -> bytes:
    """Effect of each column with its interval, the null rates beside it.

    Args:
        title: Title.
        report: Drift.
        floor: ``MonitoringConfig.drift_effect``, drawn as the band within which nothing alarms.

    Returns:
        A PNG image.
    """
    columns = sorted(report.columns, key=lambda c: abs(c.values.effect or 0))
    height = 1.75 + 0.27 * len(columns)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    left = left_margin([_row_name(c) for c in columns])
    axis = figure.add_axes((left, 0.62 / height, 0.72 - left, 1 - 1.6 / height))
    days = f"{len(report.current)} current against {len(report.reference)} reference partitions"
    alarms = f"alarms: {', '.join(report.alarms)}" if report.alarms else "no alarm"
    draw_header(figure, title, f"{days} · {alarms}", report.state)
    axis.axvspan(-floor, floor, color=SLATE, alpha=0.15, lw=0)
    axis.axvline(0, color=SLATE, lw=0.8)
    for place, column in enumerate(columns):
        _effect(axis, place, column)
    _effect_axis(axis, columns, floor)
    return png(figure)


def _row_name(column: ColumnDrift) -> str:
    return column.name if column.deciding else f"{column.name} (runs with time)"


def _table(axis: Axes, x: float, place: float, text: str, **style: Any) -> None:
    """A cell at a share of the figure's width and a row of the axis."""
    figure = axis.get_figure(root=True)
    if figure is not None:
        across = blended_transform_factory(figure.transFigure, axis.transData)
        axis.text(x, place, text, size=LABEL, va="center", transform=across, clip_on=False, **style)


def _effect(axis: Axes, place: int, column: ColumnDrift) -> None:
    values = column.values
    colour = STATE_COLOURS[values.state] if column.deciding else SLATE
    if values.effect is None:
        axis.text(0, place, "no evidence", size=7.5, color=MUTED, ha="center", va="center")
    else:
        if values.low is not None and values.high is not None:
            axis.plot([values.low, values.high], [place, place], color=colour, lw=1.6, alpha=0.6)
        filled = colour if column.deciding else PAPER
        axis.plot(values.effect, place, "o", ms=6, color=colour, mfc=filled, mew=1.4)
    nulls = column.nulls
    broken = {b.kind for b in column.breaks}
    shown = "–"
    if nulls.reference is not None and nulls.current is not None:
        shown = f"{nulls.reference:.1%} → {nulls.current:.1%}"
    red = STATE_COLOURS["FAIL"]
    statistic = "new categories" if "new categories" in broken else values.statistic
    cells = (
        (_STATISTIC, statistic, red if "new categories" in broken else INK),
        (_NULLS, shown, red if "null rate" in broken else INK),
    )
    for x, text, cell_colour in cells:
        _table(axis, x, place, text, color=cell_colour)


def _effect_axis(axis: Axes, columns: Sequence[ColumnDrift], floor: float) -> None:
    axis.set_yticks(
        range(len(columns)),
        [_row_name(c) for c in columns],
        size=LABEL,
    )
    axis.set_ylim(-0.7, len(columns) - 0.3)
    reach = max([2.5 * floor, *(abs(c.values.effect or 0) * 1.25 for c in columns)])
    axis.set_xlim(-reach, reach)
    axis.set_xlabel("effect with 95 % interval (reference SD, or Cohen's h)", size=LABEL, color=MUTED)
    axis.tick_params(colors=MUTED, length=0, labelsize=8)
    axis.grid(axis="y", color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    for x, text in ((_STATISTIC, "statistic"), (_NULLS, "null rate")):
        _table(axis, x, len(columns) - 0.1, text, color=MUTED, weight="bold")
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", ms=5, label=state)
        for state, colour in STATE_COLOURS.items()
    ]
    axis.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=7.5,
        labelcolor=MUTED,
        handletextpad=0.2,
        columnspacing=1,
    )
    draw_plain(axis)
