"""The sum of what actions were worth, for people."""

from datetime import UTC, datetime

from ml_platform.lifecycle.guard.effects import KNOWN, PENDING, Reckoning, Worth

THEN = datetime(2020, 9, 21, tzinfo=UTC)


def effect(state: str, worth: float | None) -> Worth:
    return Worth(1, THEN, "retrain", "promoted", state, 0.01, 4, 400, worth, 25.0, "")


def told(*effects: Worth, refusals: int = 0) -> str:
    return Reckoning(effects, "EUR", refusals).sentence()


def test_nothing_was_asked_for() -> None:
    assert told() == "no verdict has asked for an action yet, and no champion was replaced"


def test_what_is_known_is_told_apart_from_what_is_not() -> None:
    assert told(effect(KNOWN, 80.0), effect(PENDING, None)) == (
        "1 action(s) gained 80.00 EUR, net 55.00; what 1 action(s) gained is not known; all cost 50.00 EUR"
    )


def test_without_a_price_nothing_is_said_to_be_gained_or_lost() -> None:
    """The loss saved is known, and nobody said what a unit of it is worth."""
    assert told(effect(KNOWN, None)) == "what 1 action(s) gained is not known; all cost 25.00 EUR"


def test_refusals_alone_cost_nothing() -> None:
    assert told(refusals=2) == "2 refusal(s) trained nothing, so what they were worth cannot be known"
