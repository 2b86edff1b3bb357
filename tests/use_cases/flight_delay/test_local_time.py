"""Wall-clock times to UTC: both changes of clocks, midnight, and numbers that are no time of day."""

import numpy as np
import pytest

from ml_platform.use_cases.flight_delay.local_time import (
    MISSING,
    NEW_YORK,
    local_dates,
    next_occurrence,
    to_utc,
    to_utc_by_zone,
    wall_times,
)


def minutes(*texts: str) -> np.ndarray:
    return np.asarray(texts, "datetime64[m]")


def test_a_number_becomes_a_time_of_day() -> None:
    dates = np.asarray(["2013-06-09"] * 6, "datetime64[D]")
    wall = wall_times(dates, np.asarray([5, 1305, 2400, 1375, 2430, MISSING]))
    expected = ["2013-06-09T00:05", "2013-06-09T13:05", "2013-06-10T00:00", "NaT", "NaT", "NaT"]
    np.testing.assert_array_equal(wall, minutes(*expected))


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2013-03-10T01:59", "2013-03-10T06:59"),
        # Clocks jump from 02:00 to 03:00: 02:30 is not shown, and counts from the offset before.
        ("2013-03-10T02:30", "2013-03-10T07:30"),
        ("2013-03-10T03:00", "2013-03-10T07:00"),
        ("2013-11-03T00:30", "2013-11-03T04:30"),
        # Clocks are set back at 02:00: 01:30 is shown twice, and the first one is meant.
        ("2013-11-03T01:30", "2013-11-03T05:30"),
        ("2013-11-03T02:00", "2013-11-03T07:00"),
    ],
)
def test_the_days_on_which_clocks_change(wall: str, utc: str) -> None:
    np.testing.assert_array_equal(to_utc(minutes(wall), NEW_YORK), minutes(utc))


def test_each_time_has_its_own_zone_and_an_unknown_zone_has_no_time() -> None:
    wall = minutes("2013-06-09T12:00", "2013-06-09T12:00", "2013-06-09T12:00", "NaT")
    zones = [NEW_YORK, "America/Puerto_Rico", None]
    found = to_utc_by_zone(wall, zones, np.asarray([0, 1, 2, 0]))
    np.testing.assert_array_equal(found, minutes("2013-06-09T16:00", "2013-06-09T16:00", "NaT", "NaT"))
    winter = to_utc_by_zone(minutes("2013-01-09T12:00", "2013-01-09T12:00"), zones, np.asarray([0, 1]))
    np.testing.assert_array_equal(winter, minutes("2013-01-09T17:00", "2013-01-09T16:00"))


def test_an_arrival_is_the_next_time_the_clock_shows_it() -> None:
    departure = minutes("2013-06-09T23:00", "2013-06-09T23:00", "NaT")
    dates = np.asarray(["2013-06-09"] * 3, "datetime64[D]")
    clock = np.asarray([2055, 30, 2055])
    found = next_occurrence(departure, dates, clock, ["America/Los_Angeles"], np.zeros(3, int))
    np.testing.assert_array_equal(found, minutes("2013-06-10T03:55", "2013-06-10T07:30", "NaT"))


def test_local_dates_follow_the_clocks() -> None:
    instants = minutes("2013-03-10T04:59", "2013-03-10T05:00", "2013-03-11T03:59", "2013-03-11T04:00")
    expected = np.asarray(["2013-03-09", "2013-03-10", "2013-03-10", "2013-03-11"], "datetime64[D]")
    np.testing.assert_array_equal(local_dates(instants, NEW_YORK), expected)
