"""Data is late by the clock of its timeline, not by the wall's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ml_platform.contracts.freshness import freshness
from ml_platform.contracts.model import Contract

DUE = datetime(2024, 5, 2, 6, tzinfo=UTC)
ZERO = timedelta(0)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


@pytest.mark.parametrize(
    ("came", "now", "state", "late_by"),
    [
        (None, -1, "UNKNOWN", 0),
        (None, 2, "UNKNOWN", 0),
        (None, 2.5, "FAIL", 0.5),
        (-5, -1, "PASS", 0),
        (2, 3, "PASS", 0),
        (5, 6, "PASS", 3),
        (2, 74, "PASS", 0),
        (2, 75, "FAIL", 0),
    ],
)
def test_late_missing_and_stale_data(
    contract: Contract, came: float | None, now: float, state: str, late_by: float
) -> None:
    delivered = None if came is None else DUE + hours(came)
    result = freshness(contract, DUE, delivered, DUE + hours(now))
    assert (result.state, result.late_by) == (state, hours(late_by))
    assert result.age == (None if came is None else hours(now - came))
    assert result.reason


def test_without_a_promise_data_never_grows_stale(contract: Contract) -> None:
    promised_nothing = replace(contract, freshness=None, latency=ZERO)
    assert freshness(promised_nothing, DUE, DUE, DUE + timedelta(days=400)).state == "PASS"
    assert freshness(promised_nothing, DUE, None, DUE + hours(0.1)).state == "FAIL"
