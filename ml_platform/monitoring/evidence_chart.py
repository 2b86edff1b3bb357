"""What convinced a diagnosis, in one picture: each question's deciding estimate against its own limit.

Only multiples of a limit are drawn; what is compared with a least that is needed stands in the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml_platform.monitoring.style import (
    AMBER,
    DPI,
    GRID,
    INK,
    LABEL,
    MUTED,
    PAPER,
    WIDTH,
    draw_header,
    draw_plain,
)
from ml_platform.numbers import number
from ml_platform.pictures import png
from ml_platform.statistics.finding import Finding
from ml_platform.statistics.scales import counts_from, multiple, scale_of, visible
from ml_platform.statistics.states import State

_COLOURS: dict[State, str] = {"PASS": "#059669", "FAIL": "#dc2626", "UNDERPOWERED": AMBER, "UNKNOWN": MUTED}
_FARTHEST = 6.0


def evidence_chart(title: str, subtitle: str, state: State, findings: Sequence[tuple[str, Finding]]) -> bytes:
    """Estimates in units of the least effect that counts, with their intervals and what could be seen.

    Args:
        title: Title.
        subtitle: One sentence.
        state: State shown beside the title.
        findings: Question and finding; those whose estimate is no multiple of a limit are left out.

    Returns:
        A PNG image.
    """
    shown = [(q, f) for q, f in findings if multiple(q, f, f.estimate) is not None]
    height = 1.4 + 0.34 * max(len(shown), 1)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    axis = figure.add_axes((0.27, 0.5 / height, 0.4, 1 - 1.35 / height))
    draw_header(figure, title, subtitle, state)
    for row, (question, finding) in enumerate(reversed(shown)):
        _draw(axis, row, question, finding)
    axis.axvline(0, color=GRID, lw=1, zorder=0)
    for x in (-1, 1):
        axis.axvline(x, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
    axis.set_yticks(
        range(len(shown)), [f"{q}: {f.statistic} of {f.subject}"[:46] for q, f in reversed(shown)]
    )
    axis.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axis.set_xlim(-_FARTHEST, _FARTHEST)
    axis.set_xlabel(
        "distance from no effect, in multiples of the least that counts (dashed); grey: not visible", size=8
    )
    axis.tick_params(colors=MUTED, labelsize=8, length=0)
    draw_plain(axis)
    return png(figure)


def _draw(axis: Axes, row: int, question: str, finding: Finding) -> None:

    def place(value: float | None) -> float | None:
        size = multiple(question, finding, value)
        if size is None or not math.isfinite(size):
            return None
        return max(-_FARTHEST, min(_FARTHEST, size))

    colour = _COLOURS[finding.state]
    seen = place(visible(question, finding))
    if seen is not None:
        axis.barh(row, 2 * seen, left=-seen, height=0.55, color=GRID, alpha=0.7, zorder=0)
    low, high = place(finding.low), place(finding.high)
    if low is not None and high is not None:
        axis.plot([low, high], [row, row], color=colour, lw=2, solid_capstyle="round", zorder=2)
    axis.plot(place(finding.estimate) or 0.0, row, "o", color=colour, ms=6, zorder=3)
    # The units differ from row to row: each says its own.
    unit = scale_of(question, finding).unit
    told = f"{number(finding.estimate)}, counts from {counts_from(question, finding)}: {unit}"
    axis.text(_FARTHEST * 1.04, row, told, size=LABEL, color=MUTED, va="center")
