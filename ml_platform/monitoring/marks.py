"""What was decided about a model, and what was known beforehand, as marks on its chart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from ml_platform.monitoring.style import AMBER, BLUE, INK, LABEL, MUTED, PAPER, VIOLET

_NAMED_SHARE = 0.035
_LABEL_SHARE = 0.12


@dataclass(frozen=True)
class Promotion:
    """A mark on the chart: another model serves from here on.

    Attributes:
        partition_key: First partition that the model scored, or is to score.
        text: For example the model's version.
    """

    partition_key: str
    text: str


@dataclass(frozen=True)
class VerdictMark:
    """A day's verdict.

    Attributes:
        partition_key: The day.
        verdict: Its name.
        refused: The action that it asks for was refused by a guard.
    """

    partition_key: str
    verdict: str
    refused: bool = False


@dataclass(frozen=True)
class IncidentSpan:
    """How long an incident lasted.

    Attributes:
        first: First partition.
        last: Last one.
        text: Its cause.
    """

    first: str
    last: str
    text: str


@dataclass(frozen=True)
class Story:
    """What was decided, beside what was measured.

    Attributes:
        promotions: Other models from here on; those before the first partition are drawn at the left edge.
        verdicts: One per day.
        incidents: Open and closed ones.
        events: Names of days that are known to be unlike others, by partition.
        estimated: Loss estimated without labels, by partition; never mixed with the realised one.
        density_weighted: The same by density-weighted curves, where it is known.
    """

    promotions: Sequence[Promotion] = ()
    verdicts: Sequence[VerdictMark] = ()
    incidents: Sequence[IncidentSpan] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    estimated: Mapping[str, float] = field(default_factory=dict)
    density_weighted: Mapping[str, float] = field(default_factory=dict)


VERDICT_COLOURS = {
    "none": "#cbd5e1",
    "wait_for_labels": AMBER,
    "fix_data": "#dc2626",
    "fix_serving": "#b91c1c",
    "block_training": "#7f1d1d",
    "recalibrate": BLUE,
    "rollback": VIOLET,
    "retrain": "#059669",
    "escalate": INK,
}
"""Colour of each verdict in the strip."""


def draw_incidents(axis: Axes, incidents: Sequence[IncidentSpan], keys: Sequence[str]) -> None:
    """A bar along the foot of the panel for as long as each incident lasted."""
    for number, span in enumerate(incidents):
        left, right = bisect_left(keys, span.first) - 0.5, bisect_right(keys, span.last) - 0.5
        if right <= left:
            continue
        height = 0.015 + 0.035 * (number % 3)
        axis.plot(
            [left, right],
            [height, height],
            transform=axis.get_xaxis_transform(),
            color="#dc2626",
            lw=4,
            alpha=0.7,
            solid_capstyle="butt",
            zorder=5,
        )
        if right - left < _NAMED_SHARE * len(keys):
            continue  # its name would run into its neighbours'
        axis.text(
            left,
            height + 0.012,
            span.text,
            transform=axis.get_xaxis_transform(),
            size=6.5,
            color="#7f1d1d",
            zorder=6,
        )


def draw_events(axis: Axes, events: Mapping[str, str], keys: Sequence[str]) -> None:
    """A dotted line through each day that is known to be unlike others, with its name along it."""
    place = {key: i for i, key in enumerate(keys)}
    for key in sorted(events.keys() & place.keys()):
        axis.axvline(place[key], color=MUTED, lw=0.8, ls=(0, (1, 2)), zorder=1)
        axis.annotate(
            events[key],
            # Below the names of promotions, and above most losses.
            (place[key], 0.87),
            xycoords=("data", "axes fraction"),
            xytext=(-1, 0),
            textcoords="offset points",
            size=6.5,
            color=MUTED,
            rotation=90,
            ha="right",
            va="top",
            path_effects=[withStroke(linewidth=2, foreground=PAPER)],
            zorder=6,
        )


def draw_verdicts(axis: Axes, verdicts: Sequence[VerdictMark], keys: Sequence[str]) -> None:
    """One cell per day in its verdict's colour; a cross where the action was refused."""
    place = {key: i for i, key in enumerate(keys)}
    for mark in verdicts:
        if mark.partition_key not in place:
            continue
        x = place[mark.partition_key]
        axis.axvspan(x - 0.46, x + 0.46, color=VERDICT_COLOURS.get(mark.verdict, MUTED), lw=0)
        if mark.refused:
            axis.plot(x, 0.5, "x", color=PAPER, ms=3.5, mew=1.1)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.set_ylabel("verdict", color=INK, rotation=0, ha="right", va="center", labelpad=8, size=LABEL)
    shown = [v for v in VERDICT_COLOURS if any(m.verdict == v for m in verdicts)]
    if shown:
        axis.legend(
            handles=[Patch(facecolor=VERDICT_COLOURS[v], label=v) for v in shown],
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            fontsize=6.5,
            labelcolor=INK,
            handlelength=1.0,
            labelspacing=0.2,
        )


def draw_promotions(axis: Axes, promotions: Sequence[Promotion], keys: Sequence[str]) -> None:
    """A line and a name each; a name that would run into the one before it stands a line lower."""
    before, line = -np.inf, 0
    for promotion in promotions:
        x = max(bisect_left(keys, promotion.partition_key) - 0.5, -0.5)
        line = line + 1 if x - before < _LABEL_SHARE * len(keys) else 0
        before = x
        axis.axvline(x, color=VIOLET, lw=1.4, zorder=5)
        late = x > (1 - _LABEL_SHARE) * len(keys)  # its name would leave the chart
        axis.annotate(
            f"{promotion.text} ▲" if late else f"▲ {promotion.text}",
            (x, 0.965 - 0.05 * (line % 8)),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 0),
            textcoords="offset points",
            size=8,
            color=VIOLET,
            ha="right" if late else "left",
            va="top",
            zorder=6,
        )
