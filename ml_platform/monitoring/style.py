"""Palette and frame of the platform's pictures, drawn without a window (Agg)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml_platform.statistics.states import State

INK, MUTED, GRID, PAPER = "#1f2a37", "#6b7280", "#e5e7eb", "#ffffff"
BLUE, AMBER, VIOLET, SLATE, TEAL = "#2563eb", "#f59e0b", "#7c3aed", "#94a3b8", "#0d9488"
STATE_COLOURS: dict[State, str] = {
    "PASS": "#15803d",
    "FAIL": "#dc2626",
    "UNDERPOWERED": "#b45309",
    "UNKNOWN": "#6b7280",
}
DPI = 130
WIDTH = 11.0
"""Inches."""
LABEL = 8
"""Font size of labels."""


def draw_header(figure: Figure, title: str, summary: str, state: State) -> None:
    """Title, one line of summary, and the state as a pill."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.3 / height, title, size=14, weight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.6 / height, summary, size=9, color=MUTED, va="center")
    pill = {"boxstyle": "round,pad=0.45", "facecolor": STATE_COLOURS[state], "edgecolor": "none"}
    figure.text(
        0.98,
        1 - 0.3 / height,
        state,
        size=9,
        weight="bold",
        color="white",
        ha="right",
        va="center",
        bbox=pill,
    )


def left_margin(names: Sequence[str]) -> float:
    """Share of a figure's width that row names of size :data:`LABEL` need."""
    longest = max((len(n) for n in names), default=0)
    return min(max(1.4, 0.35 + 0.065 * longest), 4.0) / WIDTH


def draw_plain(axis: Axes) -> None:
    """Only the bottom spine, quiet labels of one size."""
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)
    for label in axis.get_yticklabels():
        label.set_color(INK)
        label.set_fontsize(LABEL)


def name_partitions(axis: Axes, keys: Sequence[str], most: int) -> None:
    """Ticks at some of the partitions, at most so many; of hours the day is named where it begins."""
    places = range(0, len(keys), max(1, -(-len(keys) // most)))
    names, before = [], ""
    for day, _, hour in (keys[i].partition("T") for i in places):
        names.append(f"{hour} h\n{day if day != before else ''}" if hour else day)
        before = day
    axis.set_xticks(list(places), names, size=LABEL)
