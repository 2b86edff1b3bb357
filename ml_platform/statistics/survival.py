"""Times until something happens, some of them not yet over: risk table, Kaplan-Meier, log-rank.

lifelines has both estimators but asks for pandas < 3; these are held to the published numbers of the
leukaemia trial of Freireich (1963).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RiskTable:
    """How many are at risk, and to how many it happens.

    Attributes:
        times: (k,) ascending.
        at_risk: (groups, k) rows whose observation lasts at least until each time.
        events: (groups, k) rows to which it happens at that time.
    """

    times: Floats
    at_risk: Floats
    events: Floats


@dataclass(frozen=True)
class LogRank:
    """The log-rank test of two groups (Mantel 1966).

    Attributes:
        observed: Events of each group.
        expected: The same were there no difference.
        statistic: Chi-squared with one degree of freedom.
        p_value: Of a statistic this large; rows are taken as independent.
    """

    observed: tuple[float, float]
    expected: tuple[float, float]
    statistic: float
    p_value: float


def risk_table(
    until: Floats, happened: Flags, times: Floats | None = None, group: Codes | None = None, groups: int = 1
) -> RiskTable:
    """Count rows at risk and events by group.

    Args:
        until: (n,) time of the event, or until when a row was observed without one;
            infinite where it stays at risk.
        happened: (n,) whether it was the event.
        times: (k,) ascending times of all events that count; every time of an event when None.
        group: (n,) number of each row's group; one group when None.
        groups: How many groups there are.
    """
    times = np.unique(until[happened]) if times is None else times
    group = np.zeros(until.size, dtype=np.intp) if group is None else group
    size = times.size + 1
    reached = np.searchsorted(times, until, side="right")
    counts = np.bincount(group * size + reached, minlength=groups * size).reshape(groups, size)
    at_risk = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    exact = happened & (reached > 0)
    exact[exact] = times[reached[exact] - 1] == until[exact]
    places = group[exact] * size + reached[exact]
    events = np.bincount(places, minlength=groups * size).reshape(groups, size)[:, 1:]
    return RiskTable(times, at_risk.astype(np.float64), events.astype(np.float64))


def kaplan_meier(until: Floats, happened: Flags, at: Floats) -> Floats:
    """Share to which it has not happened by some times (Kaplan and Meier 1958).

    Args:
        until: (n,) time of the event, or until when a row was observed without one.
        happened: (n,) whether it was the event.
        at: (m,) times.

    Returns:
        (m,) survival; 1 before the first event.
    """
    table = risk_table(until, happened)
    if not table.times.size:
        return np.ones(at.size)
    survival = np.cumprod(1 - table.events[0] / table.at_risk[0])
    place = np.searchsorted(table.times, at, side="right")
    return np.where(place > 0, survival[np.maximum(place - 1, 0)], 1.0)


def log_rank(until: Floats, happened: Flags, second: Flags) -> LogRank:
    """Test whether it happens at the same rate in two groups.

    Args:
        until: (n,) time of the event, or until when a row was observed without one.
        happened: (n,) whether it was the event.
        second: (n,) whether a row belongs to the second group.
    """
    table = risk_table(until, happened, group=second.astype(np.intp), groups=2)
    risk, events = table.at_risk.sum(axis=0), table.events.sum(axis=0)
    share = table.at_risk / np.maximum(risk, 1)
    expected = (share * events).sum(axis=1)
    spread = share[0] * share[1] * events * (risk - events) / np.maximum(risk - 1, 1)
    observed, variance = table.events.sum(axis=1), float(spread.sum())
    statistic = float((observed[0] - expected[0]) ** 2 / variance) if variance > 0 else 0.0
    return LogRank(
        observed=(float(observed[0]), float(observed[1])),
        expected=(float(expected[0]), float(expected[1])),
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic, 1)),
    )
