"""Labels: what late means, and what is not known yet."""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from .world import LATER, World, row

DAY = "2013-05-28"
FLIGHT = "carrier = 'B6' AND flight = 57 AND origin = 'JFK'"
KEY = {"carrier": "B6", "flight": 57, "origin": "JFK"}


@pytest.mark.parametrize(
    ("outcome", "late", "band"),
    [
        ({"arr_delay": "15", "cancelled": "false", "diverted": "false"}, 0, "on_time"),
        ({"arr_delay": "16", "cancelled": "false", "diverted": "false"}, 1, "up_to_an_hour"),
        ({"arr_delay": "61", "cancelled": "false", "diverted": "false"}, 1, "over_an_hour"),
        ({"arr_delay": "-30", "cancelled": "false", "diverted": "false"}, 0, "on_time"),
        ({"arr_delay": "NULL", "cancelled": "true", "diverted": "false"}, 1, "not_flown"),
        ({"arr_delay": "NULL", "cancelled": "false", "diverted": "true"}, 1, "not_flown"),
        ({"arr_delay": "NULL", "cancelled": "false", "diverted": "false"}, None, None),
    ],
)
def test_late_is_more_than_fifteen_minutes_diverted_or_cancelled(
    history: World, outcome: dict[str, str], late: int | None, band: str | None
) -> None:
    hit = f"partition_key = '{DAY}' AND {FLIGHT}"
    values = ", ".join(f"CASE WHEN {hit} THEN {v} ELSE {c} END AS {c}" for c, v in outcome.items())
    world = history.changed(
        "flight_outcomes", f"SELECT * REPLACE ({values}, air_time + 1 AS air_time) FROM feed"
    )
    label = row(world.labels(DAY, LATER), **KEY)
    assert (label["late"], label["delay_band"]) == (late, band)
    assert (label["label_known_at"] is None) is (late is None)


def test_a_label_is_unknown_until_it_is_reported(history: World) -> None:
    whole = history.labels(DAY, LATER)
    for hours in (24, 72, 200):
        as_of = history.cutoff(DAY) + dt.timedelta(hours=hours)
        known = history.labels(DAY, as_of)
        reported = pc.less_equal(whole["label_known_at"], pa.scalar(as_of, pa.timestamp("us", "UTC")))
        assert known["late"].is_valid().to_pylist() == reported.to_pylist()
        assert known["delay_band"].is_valid().to_pylist() == reported.to_pylist()
        assert known["label_known_at"].null_count == known["late"].null_count
        assert 0 < known["late"].null_count < known.num_rows
        assert known["arr_delay"].filter(pc.invert(reported)).null_count == known["late"].null_count


def test_at_the_cutoff_nothing_is_known(history: World) -> None:
    labels = history.labels(DAY, history.cutoff(DAY))
    assert labels.num_rows > 800 and labels["late"].null_count == labels.num_rows


def test_a_mature_day_is_wholly_known(history: World) -> None:
    use_case = history.use_case
    model = use_case.model("arrival_delay")
    as_of = dt.datetime.fromisoformat("2013-06-08T22:00:00-04:00")
    last = use_case.last_mature(model, as_of)
    assert last == DAY
    assert history.labels(last, as_of)["late"].null_count == 0
    first_moment = use_case.scheme.instant(dt.date(2013, 5, 28) + dt.timedelta(days=11))
    assert history.labels(last, first_moment)["late"].null_count == 0


def test_a_correction_counts_from_when_it_was_let_in(history: World) -> None:
    at = dt.datetime(2013, 6, 20, tzinfo=dt.UTC)
    hit = f"partition_key = '{DAY}' AND {FLIGHT}"
    world = history.revised("flight_outcomes", hit, "true AS cancelled", at)
    moment = dt.timedelta(microseconds=1)
    before = row(world.labels(DAY, at - moment), **KEY)
    assert (before["cancelled"], before["late"], before["revision"]) == (False, 0, 1)
    corrected = row(world.labels(DAY, at), **KEY)
    assert (corrected["late"], corrected["revision"]) == (1, 2)
    assert corrected["label_known_at"] == before["label_known_at"] < at, "known once, revised later"


def test_labels_have_the_rows_of_the_features(history: World) -> None:
    key = ["partition_key", "carrier", "flight", "origin", "event_time"]
    labels, features = history.labels(DAY, LATER), history.features(DAY)[DAY]
    assert labels.select(key).equals(features.select(key))
    assert 0.1 < pc.mean(labels["late"]).as_py() < 0.6
