"""Whether a feed's data is there on time, by the clock of its timeline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_platform.contracts.model import Contract, State


@dataclass(frozen=True, slots=True)
class Freshness:
    """How punctual a partition's data is.

    Attributes:
        state: UNKNOWN while it is not due yet and nothing has come.
        late_by: How long after its deadline it came, or by how much it is overdue; zero when punctual.
        age: Time since the last delivery; None when there was none.
        reason: For people.
    """

    state: State
    late_by: timedelta
    age: timedelta | None
    reason: str


def freshness(
    contract: Contract, due_at: datetime, last_delivery: datetime | None, now: datetime
) -> Freshness:
    """Judge a partition, usually the newest one that is due.

    Overdue data fails. Data that came late passes, with its lateness, because it is there now. Data that
    came fails again once it is older than the contract's ``freshness``.

    Args:
        contract: Its ``latency`` is the grace after ``due_at``; its ``freshness`` the greatest age.
        due_at: When the partition's data is expected.
        last_delivery: When it last came with at least one row; None when it never did.
        now: The timeline's instant, not the wall's.
    """
    deadline, zero = due_at + contract.latency, timedelta(0)
    if last_delivery is None:
        if now <= deadline:
            return Freshness("UNKNOWN", zero, None, f"due by {deadline.isoformat()}")
        return Freshness("FAIL", now - deadline, None, f"missing since {deadline.isoformat()}")
    late_by, age = max(last_delivery - deadline, zero), now - last_delivery
    if contract.freshness is not None and age > contract.freshness:
        reason = f"stale: {age} old, at most {contract.freshness} is promised"
        return Freshness("FAIL", late_by, age, reason)
    return Freshness("PASS", late_by, age, f"came {late_by} late" if late_by else "on time")
