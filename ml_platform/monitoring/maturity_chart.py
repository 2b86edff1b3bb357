"""The picture of label maturity: the law by class, and each cohort's known labels against it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ml_platform.monitoring.label_maturity import LabelMaturity
from ml_platform.monitoring.style import (
    AMBER,
    BLUE,
    DPI,
    GRID,
    INK,
    MUTED,
    PAPER,
    SLATE,
    VIOLET,
    WIDTH,
    draw_header,
    draw_plain,
    name_partitions,
)
from ml_platform.pictures import png

_COLOURS = {"mature": BLUE, "weighted": VIOLET, "immature": AMBER, "overdue": "#dc2626"}
_SHOWN = 45


def maturity_chart(title: str, report: LabelMaturity) -> bytes:
    """F(age | class) with Kaplan and Meier's estimate, and the share known of the last cohorts.

    Args:
        title: Title, for example the model's key.
        report: Label maturity.

    Returns:
        A PNG image.
    """
    figure = Figure(figsize=(WIDTH, 4.0), dpi=DPI, facecolor=PAPER)
    grid = figure.add_gridspec(
        1, 2, width_ratios=[2, 3], wspace=0.16, left=0.06, right=0.98, top=0.7, bottom=0.14
    )
    draw_header(figure, title, report.sentence(), report.state)
    _law(figure.add_subplot(grid[0, 0]), report)
    _cohorts(figure.add_subplot(grid[0, 1]), report)
    return png(figure)


def _law(axis: Axes, report: LabelMaturity) -> None:
    curves = report.law.sketch()
    days = [h / 24 for h in curves["hours"]]
    for name, colour in zip(report.law.by_class(), (SLATE, INK, BLUE, VIOLET), strict=False):
        axis.step(days, curves[name], where="post", color=colour, lw=1.6, label=name)
    every = curves["kaplan_meier"]
    axis.step(days, every, where="post", color=AMBER, lw=1.1, ls=":", label="all (Kaplan-Meier)")
    axis.set_xlabel("age in days", color=MUTED, size=8)
    axis.set_ylabel("share known", color=INK)
    axis.set_ylim(0, 1.02)
    axis.grid(axis="y", color=GRID, lw=0.8)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower right")
    draw_plain(axis)


def _cohorts(axis: Axes, report: LabelMaturity) -> None:
    cohorts = report.cohorts[-_SHOWN:]
    places = range(len(cohorts))
    colours = [_COLOURS[c.maturity] for c in cohorts]
    axis.bar(places, [c.share_known for c in cohorts], width=0.82, color=colours, alpha=0.75)
    expected = [(i, c.expected) for i, c in enumerate(cohorts) if c.expected is not None]
    axis.plot([i for i, _ in expected], [e for _, e in expected], "_", color=INK, ms=7, mew=1.4)
    name_partitions(axis, [c.partition_key for c in cohorts], 6)
    axis.set_ylim(0, 1.02)
    present = [m for m in _COLOURS if any(c.maturity == m for c in cohorts)]
    axis.legend(
        handles=[Patch(facecolor=_COLOURS[m], alpha=0.75, label=m) for m in present],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=max(len(present), 1),
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        title="labels known by partition; - expected by the law",
        title_fontsize=8,
    )
    draw_plain(axis)
