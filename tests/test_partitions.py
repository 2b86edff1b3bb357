"""Partitions are local dates: a day may have 23 or 25 hours, a week begins where the first one did."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from ml_platform.errors import PartitionError
from ml_platform.partitions import PartitionScheme, Width

NEW_YORK = PartitionScheme("daily", "America/New_York", date(2013, 1, 1), date(2013, 12, 31))
WEEKS = PartitionScheme("weekly", "UTC", date(2020, 1, 6))
HOURS = PartitionScheme("hourly", "UTC", date(2024, 3, 30), date(2024, 3, 31))
MONTHS = PartitionScheme("monthly", "Europe/Berlin", date(2024, 1, 1), date(2025, 3, 31))


@pytest.mark.parametrize(("key", "hours"), [("2013-03-10", 23), ("2013-03-11", 24), ("2013-11-03", 25)])
def test_daylight_saving_days_have_23_and_25_hours(key: str, hours: int) -> None:
    partition = NEW_YORK.partition(key)
    assert partition.end - partition.start == timedelta(hours=hours)


def test_an_instant_belongs_to_the_local_date() -> None:
    assert NEW_YORK.key_at(datetime(2013, 6, 9, 3, 59, tzinfo=UTC)) == "2013-06-08"
    assert NEW_YORK.key_at(datetime(2013, 6, 9, 4, 0, tzinfo=UTC)) == "2013-06-09"


def test_the_day_of_an_instant_is_that_of_the_own_zone() -> None:
    assert NEW_YORK.local_day(datetime(2013, 6, 9, 3, 59, tzinfo=UTC)) == date(2013, 6, 8)
    assert MONTHS.local_day(datetime(2024, 3, 31, 22, 30, tzinfo=UTC)) == date(2024, 4, 1)


def test_a_week_is_named_by_its_first_day() -> None:
    assert WEEKS.key_at(datetime(2020, 1, 19, 12, tzinfo=UTC)) == "2020-01-13"
    assert WEEKS.keys("2020-01-08", "2020-01-20") == ["2020-01-06", "2020-01-13", "2020-01-20"]
    assert WEEKS.shift("2020-01-13", -1) == "2020-01-06"


@pytest.mark.parametrize(
    ("scheme", "text", "key"),
    [
        (MONTHS, "2024-03", "2024-03-01"),
        (WEEKS, "2020-W03", "2020-01-13"),
        (WEEKS, "2020-01-14", "2020-01-14"),
        (NEW_YORK, "20130609", "2013-06-09"),
        (HOURS, "2024-03-30 05:00", "2024-03-30T05"),
        (HOURS, "2024-03-30", "2024-03-30T00"),
    ],
)
def test_a_key_is_read_as_people_write_it(scheme: PartitionScheme, text: str, key: str) -> None:
    assert scheme.read(text) == key
    assert scheme.read(key) == key


def test_a_day_that_ends_a_range_of_hours_is_its_last_hour() -> None:
    assert HOURS.read("2024-03-30", end=True) == "2024-03-30T23"
    assert HOURS.read("2024-03-30T05", end=True) == "2024-03-30T05"


@pytest.mark.parametrize(
    ("scheme", "text", "example"),
    [
        (NEW_YORK, "2013-06", "write one as 2013-12-31"),
        (MONTHS, "nonsense", "write one as 2025-03-01, or 2025-03"),
        (MONTHS, "2024-13", "monthly"),
        (NEW_YORK, "2013-06-09T05", "daily"),
        (HOURS, "2024-03-30T05:30", "hourly"),
        (HOURS, "2024-03-30T05:00+00:00", "hourly"),
        (PartitionScheme("weekly", "UTC", date(2020, 1, 8)), "2020-W03", "weekly"),
    ],
)
def test_what_cannot_be_read_without_doubt_is_told_with_an_example(
    scheme: PartitionScheme, text: str, example: str
) -> None:
    with pytest.raises(PartitionError, match=f"'{re.escape(text)}' is not a partition key") as caught:
        scheme.read(text)
    assert example in caught.value.fix


def test_keys_are_cut_to_the_declared_range() -> None:
    assert NEW_YORK.keys("2012-12-30", "2013-01-02") == ["2013-01-01", "2013-01-02"]
    assert NEW_YORK.keys("2013-12-31", "2014-01-02") == ["2013-12-31"]


@pytest.mark.parametrize(
    ("scheme", "key", "why"),
    [
        (NEW_YORK, "yesterday", "not a partition key"),
        (NEW_YORK, "2014-01-01", "outside"),
        (HOURS, "2024-03-30", "not a partition key"),
        (HOURS, "2024-04-01T00", "outside"),
        (MONTHS, "2024-02-02", "nearest one before it is 2024-02-01"),
        (WEEKS, "2020-01-07", "nearest one before it is 2020-01-06"),
    ],
)
def test_a_wrong_key_says_why(scheme: PartitionScheme, key: str, why: str) -> None:
    with pytest.raises(PartitionError, match=why):
        scheme.day(key)


def test_an_hour_is_named_in_utc_and_the_last_day_has_all_of_its_hours() -> None:
    assert HOURS.key_at(datetime(2024, 3, 30, 5, 59, tzinfo=UTC)) == "2024-03-30T05"
    keys = HOURS.keys(HOURS.first_key, "2025-01-01T00")
    assert (len(keys), keys[0], keys[-1], HOURS.last_key) == (48, "2024-03-30T00", "2024-03-31T23", keys[-1])
    assert keys == sorted(keys)
    assert HOURS.shift("2024-03-30T23", 2) == "2024-03-31T01"
    span = HOURS.partition("2024-03-30T23")
    assert (span.start, span.end - span.start) == (datetime(2024, 3, 30, 23, tzinfo=UTC), timedelta(hours=1))
    assert HOURS.distance("2024-03-30T20", "2024-03-31T02") == 6


def test_a_month_is_as_long_as_it_is() -> None:
    assert MONTHS.key_at(datetime(2024, 2, 29, 23, 30, tzinfo=UTC)) == "2024-03-01", "in Berlin it is March"
    assert MONTHS.shift("2024-11-01", 3) == "2025-02-01"
    assert MONTHS.shift("2024-01-01", -1) == "2023-12-01"
    assert MONTHS.distance("2024-11-01", "2025-02-01") == 3
    assert (MONTHS.partition("2024-02-01").end - MONTHS.partition("2024-02-01").start).days == 29
    assert MONTHS.keys("2024-12-15", "2026-01-01") == ["2024-12-01", "2025-01-01", "2025-02-01", "2025-03-01"]


@pytest.mark.parametrize(
    ("width", "zone", "first"),
    [("hourly", "Europe/Berlin", date(2024, 1, 1)), ("monthly", "UTC", date(2024, 1, 2))],
)
def test_a_scheme_that_would_be_ambiguous_is_refused(width: Width, zone: str, first: date) -> None:
    with pytest.raises(ValueError, match=r"hours of UTC|first of a month"):
        PartitionScheme(width, zone, first)


def test_partitions_have_a_name_for_people() -> None:
    widths: list[Width] = ["hourly", "daily", "weekly", "monthly"]
    schemes = [PartitionScheme(w, "UTC", date(2020, 6, 1)) for w in widths]
    assert [s.noun for s in schemes] == ["hour", "day", "week", "month"]
    assert (schemes[2].counted(1), schemes[2].counted(26)) == ("1 week", "26 weeks")
