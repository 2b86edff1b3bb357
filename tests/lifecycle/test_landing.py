"""Deliveries are append-only revisions; the same bytes change nothing; silence is an event."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ml_platform.config import UseCase
from ml_platform.errors import FeedError, PartitionError
from ml_platform.feed_config import FeedConfig
from ml_platform.lifecycle.landing import land, landed_asset
from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.tables import Delivery

NOW = datetime(2020, 3, 1, 19, tzinfo=UTC)
WEEKS = ["2020-02-17", "2020-02-24", "2020-03-02"]


@pytest.fixture
def platform(library_environment: dict[str, str]) -> Platform:
    return Platform(library_environment)


@pytest.fixture
def library(platform: Platform) -> UseCase:
    return platform.use_case("library_loans")


def statuses(results: list[Any]) -> dict[str, str]:
    return {r.partition: r.status for r in results}


def events(platform: Platform, feed: str) -> list[str]:
    with platform.ledger.begin() as session:
        return list(
            session.scalars(select(Delivery.status).where(Delivery.feed == feed).order_by(Delivery.id))
        )


def test_partitions_land_as_far_as_they_are_known(platform: Platform, library: UseCase) -> None:
    results = land(platform, library, library.feed("loans"), WEEKS, NOW)
    assert statuses(results) == dict.fromkeys(WEEKS, "new")
    assert platform.ledger.heads(landed_asset("loans")).keys() == set(WEEKS)
    early = land(platform, library, library.feed("loans"), ["2020-03-09"], NOW)
    assert statuses(early) == {"2020-03-09": "not_due"}


def test_the_same_bytes_again_change_nothing(platform: Platform, library: UseCase) -> None:
    land(platform, library, library.feed("loans"), WEEKS, NOW)
    before = {k: h.id for k, h in platform.ledger.heads(landed_asset("loans")).items()}
    again = land(platform, library, library.feed("loans"), WEEKS, NOW)
    assert statuses(again) == dict.fromkeys(WEEKS, "unchanged")
    assert {k: h.id for k, h in platform.ledger.heads(landed_asset("loans")).items()} == before


def test_a_later_delivery_adds_to_earlier_partitions_by_the_lookback(
    platform: Platform, library: UseCase
) -> None:
    feed = library.feed("returns")
    land(platform, library, feed, ["2020-02-24"], NOW)
    first = platform.ledger.head(landed_asset("returns"), "2020-02-24")
    later = land(platform, library, feed, ["2020-03-02"], NOW + timedelta(days=7))
    result = next(r for r in later if r.partition == "2020-02-24")
    assert first is not None and result.status == "new" and result.rows > first.rows and result.revision == 2
    assert platform.lake.exists(first.digest), "the earlier revision stays in the lake"


def test_an_empty_delivery_of_a_due_partition_is_an_event_and_keeps_what_was_there(
    platform: Platform, library: UseCase
) -> None:
    feed = library.feed("loans")
    land(platform, library, feed, WEEKS, NOW)
    silent = feed.model_copy(update={"settings": {"per_week": 0}})
    assert statuses(land(platform, library, silent, WEEKS, NOW)) == dict.fromkeys(WEEKS, "empty")
    assert events(platform, "loans") == ["new"] * 3 + ["empty"] * 3
    assert all(h.rows > 0 for h in platform.ledger.heads(landed_asset("loans")).values())


def test_a_feed_that_cannot_be_read_lands_nothing(platform: Platform, library: UseCase) -> None:
    broken = FeedConfig(name="loans", reader="feeds:no_such_function")
    with pytest.raises(FeedError, match="no_such_function"):
        land(platform, library, broken, WEEKS, NOW)
    assert platform.ledger.heads(landed_asset("loans")) == {}
    assert platform.ledger.requested() == []


def test_a_partition_outside_the_range_is_refused(platform: Platform, library: UseCase) -> None:
    with pytest.raises(PartitionError, match="outside"):
        land(platform, library, library.feed("loans"), ["2031-01-06"], NOW)


def test_a_static_feed_has_one_partition(platform: Platform, library: UseCase) -> None:
    assert statuses(land(platform, library, library.feed("branches"), WEEKS, NOW)) == {"static": "new"}
    assert isinstance(
        platform.lake.get(platform.ledger.heads(landed_asset("branches"))["static"].digest), bytes
    )
