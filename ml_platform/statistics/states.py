"""The four states in which a statistic ends; importing them costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

State = Literal["PASS", "FAIL", "UNDERPOWERED", "UNKNOWN"]
_SEVERITY: tuple[State, ...] = ("FAIL", "UNKNOWN", "UNDERPOWERED", "PASS")


def worst(states: Iterable[State]) -> State:
    """The state that matters most: FAIL, UNKNOWN, UNDERPOWERED, PASS; UNKNOWN when there is none."""
    found = set(states)
    return next((s for s in _SEVERITY if s in found), "UNKNOWN")
