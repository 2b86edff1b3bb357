"""Freshness is told by the timeline's clock, not the wall's."""

from datetime import UTC, datetime

from library import NEXT_WEEK, SERVED, Library

from ml_platform.lifecycle.freshness import FeedFreshness, feed_freshness


def fresh_feed(library: Library, name: str) -> FeedFreshness:
    return feed_freshness(library.platform, library.use_case, library.feed(name))


def test_a_feed_that_came_is_fresh_and_its_age_is_on_the_timeline(served: Library) -> None:
    found = fresh_feed(served, "loans")
    assert (found.state, found.partition) == ("PASS", SERVED[1])
    assert found.age_hours == found.late_hours == 0
    served.platform.clock(served.use_case).set(datetime(2020, 9, 7, 18, tzinfo=UTC))
    assert fresh_feed(served, "loans").age_hours == 24


def test_a_feed_that_did_not_come_is_overdue_after_its_grace(served: Library) -> None:
    clock = served.platform.clock(served.use_case)
    clock.set(datetime(2020, 9, 14, 9, tzinfo=UTC))
    waiting = fresh_feed(served, "loans")
    assert (waiting.state, waiting.partition) == ("UNKNOWN", NEXT_WEEK)
    clock.set(datetime(2020, 9, 14, 15, tzinfo=UTC))
    overdue = fresh_feed(served, "loans")
    assert (overdue.state, overdue.late_hours) == ("FAIL", 5) and "missing since" in overdue.reason


def test_an_empty_delivery_is_not_fresh(served: Library) -> None:
    served.platform.clock(served.use_case).set(datetime(2020, 9, 15, tzinfo=UTC))
    served.deliver("loans", [NEXT_WEEK], per_week=0)
    assert fresh_feed(served, "loans").state == "FAIL"
    served.deliver("loans", [NEXT_WEEK])
    late = fresh_feed(served, "loans")
    assert late.state == "PASS" and late.late_hours == 14 and "late" in late.reason


def test_a_reference_feed_is_fresh_once_it_has_landed(fresh: Library) -> None:
    assert fresh_feed(fresh, "branches").state == "FAIL"
    fresh.deliver("branches", [SERVED[0]])
    assert fresh_feed(fresh, "branches").state == "PASS"


def test_before_the_first_partition_is_due_nothing_is_expected(fresh: Library) -> None:
    fresh.platform.clock(fresh.use_case).set(datetime(2020, 1, 2, tzinfo=UTC), back=True)
    assert fresh_feed(fresh, "loans").state == "UNKNOWN"
