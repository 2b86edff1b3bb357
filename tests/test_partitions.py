"""Partitions are local dates: a day may have 23 or 25 hours, a week begins where the first one did."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ml_platform.errors import PartitionError
from ml_platform.partitions import PartitionScheme

NEW_YORK = PartitionScheme("daily", "America/New_York", date(2013, 1, 1), date(2013, 12, 31))
WEEKS = PartitionScheme("weekly", "UTC", date(2020, 1, 6))


@pytest.mark.parametrize(("key", "hours"), [("2013-03-10", 23), ("2013-03-11", 24), ("2013-11-03", 25)])
def test_daylight_saving_days_have_23_and_25_hours(key: str, hours: int) -> None:
    partition = NEW_YORK.partition(key)
    assert partition.end - partition.start == timedelta(hours=hours)


def test_an_instant_belongs_to_the_local_date() -> None:
    assert NEW_YORK.key_at(datetime(2013, 6, 9, 3, 59, tzinfo=UTC)) == "2013-06-08"
    assert NEW_YORK.key_at(datetime(2013, 6, 9, 4, 0, tzinfo=UTC)) == "2013-06-09"


def test_a_week_is_named_by_its_first_day() -> None:
    assert WEEKS.key_at(datetime(2020, 1, 19, 12, tzinfo=UTC)) == "2020-01-13"
    assert WEEKS.keys("2020-01-08", "2020-01-20") == ["2020-01-06", "2020-01-13", "2020-01-20"]
    assert WEEKS.shift("2020-01-13", -1) == "2020-01-06"


def test_keys_are_cut_to_the_declared_range() -> None:
    assert NEW_YORK.keys("2012-12-30", "2013-01-02") == ["2013-01-01", "2013-01-02"]
    assert NEW_YORK.keys("2013-12-31", "2014-01-02") == ["2013-12-31"]


@pytest.mark.parametrize(
    ("scheme", "key", "why"),
    [
        (NEW_YORK, "yesterday", "not a partition key"),
        (NEW_YORK, "2014-01-01", "outside"),
        (WEEKS, "2020-01-07", "nearest one before it is 2020-01-06"),
    ],
)
def test_a_wrong_key_says_why(scheme: PartitionScheme, key: str, why: str) -> None:
    with pytest.raises(PartitionError, match=why):
        scheme.day(key)
