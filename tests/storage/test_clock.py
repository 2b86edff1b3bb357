"""Each timeline has a clock of its own; a replay's stands still until it is moved."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ml_platform.config import TimelineConfig
from ml_platform.errors import NotFoundError, PlatformError
from ml_platform.storage.clock import Clock, find_timeline
from ml_platform.storage.ledger import Ledger

START = datetime(2020, 3, 1, 22, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.engine.dispose()


def replay(name: str = "parcels") -> TimelineConfig:
    return TimelineConfig(name=name, clock="replay", start=START)


def test_a_replay_clock_begins_at_its_start_and_stands_still(ledger: Ledger) -> None:
    clock = Clock(ledger, replay())
    assert clock.now() == START == clock.now()


def test_it_moves_for_everybody_and_is_remembered(ledger: Ledger) -> None:
    Clock(ledger, replay()).advance(timedelta(days=1))
    assert Clock(Ledger(ledger.url), replay()).now() == START + timedelta(days=1)


def test_timelines_move_apart(ledger: Ledger) -> None:
    Clock(ledger, replay("parcels")).advance(timedelta(days=1))
    assert Clock(ledger, replay("orders")).now() == START


def test_it_does_not_go_back_by_accident(ledger: Ledger) -> None:
    clock = Clock(ledger, replay())
    with pytest.raises(PlatformError, match="go back"):
        clock.set(START - timedelta(days=1))
    assert clock.set(START - timedelta(days=1), back=True) == START - timedelta(days=1)


def test_an_instant_without_offset_is_refused(ledger: Ledger) -> None:
    with pytest.raises(PlatformError, match="no UTC offset"):
        Clock(ledger, replay()).set(datetime(2021, 1, 1))


def test_a_wall_clock_cannot_be_moved(ledger: Ledger) -> None:
    clock = Clock(ledger, TimelineConfig(name="live", clock="wall"))
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(PlatformError, match="wall clock"):
        clock.advance(timedelta(days=1))


def test_an_unknown_timeline_names_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="parcels"):
        find_timeline({"parcels": replay()}, "nope")
