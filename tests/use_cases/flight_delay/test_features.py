"""Features see what was visible at their cutoff, all of it, and nothing else."""

import datetime as dt
from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml_platform.config import UseCase
from ml_platform.storage.parquet import write_table

from .world import World, column_changes, row

DAY, NEXT = "2013-06-09", "2013-06-10"
FLIGHT = {"carrier": "B6", "flight": 57, "origin": "JFK"}


@pytest.fixture(scope="module")
def before(history: World) -> pa.Table:
    return history.features(DAY)[DAY]


def test_one_day_alone_is_bit_for_bit_what_it_is_among_many(history: World, use_case: UseCase) -> None:
    keys = use_case.scheme.keys("2013-05-12", "2013-06-10")
    together = history.features(*keys)
    assert len(together) == 30
    for key in ("2013-05-12", "2013-05-27", DAY):
        alone = history.features(key)[key]
        assert alone.num_rows > 600
        assert write_table(alone) == write_table(together[key])


def test_the_day_of_asking_changes_no_feature(history: World, before: pa.Table) -> None:
    at_cutoff = history.features(DAY, as_of=history.cutoff(DAY))[DAY]
    assert write_table(at_cutoff) == write_table(before)


def test_there_is_one_row_for_each_flight_of_the_schedule(history: World, before: pa.Table) -> None:
    scheduled = history.tables["flight_schedule"]
    planned = scheduled.filter(pc.equal(scheduled["partition_key"], DAY))
    assert before.num_rows == planned.num_rows > 800
    assert pc.all(
        pc.equal(before["cutoff"], pa.scalar(history.cutoff(DAY), pa.timestamp("us", "UTC")))
    ).as_py()
    gaps = {n for n in before.column_names if before[n].null_count}
    assert gaps <= {"typical_seats"}, "everything else is known for every flight"


def test_no_feature_is_the_aircraft_that_flew(history: World) -> None:
    assert not {"tailnum", "dep_delay", "arr_delay", "cancelled"} & set(
        history.features(DAY)[DAY].column_names
    )


# What happens, or becomes known, after the cutoff.


def shift_future_outcomes(world: World) -> World:
    later = f"visible_from > TIMESTAMPTZ '{world.cutoff(DAY).isoformat()}'"
    return world.changed(
        "flight_outcomes",
        f"""SELECT * REPLACE (
            CASE WHEN {later} THEN arr_delay + 300 ELSE arr_delay END AS arr_delay,
            CASE WHEN {later} THEN 'N14228' ELSE tailnum END AS tailnum,
            CASE WHEN {later} THEN NOT cancelled ELSE cancelled END AS cancelled
        ) FROM feed""",
    )


def revise_outcomes_late(world: World) -> World:
    return world.revised(
        "flight_outcomes",
        "partition_key BETWEEN '2013-05-01' AND '2013-05-20'",
        "NOT cancelled AS cancelled",
        world.cutoff(DAY) + dt.timedelta(hours=1),
    )


def report_late(world: World, values: str = "arr_delay AS arr_delay") -> World:
    """Outcomes of a mature day that were accepted only after the cutoff: a replayed quarantine."""
    at = (world.cutoff(DAY) + dt.timedelta(minutes=1)).isoformat()
    return world.changed(
        "flight_outcomes",
        f"""SELECT * FROM feed WHERE (partition_key = '2013-05-20' AND carrier = 'UA') IS NOT TRUE
        UNION ALL
        SELECT * REPLACE (
            TIMESTAMPTZ '{at}' AS accepted_at, TIMESTAMPTZ '{at}' AS visible_from, {values}
        ) FROM feed WHERE partition_key = '2013-05-20' AND carrier = 'UA'""",
    )


def change_later_weather(world: World) -> World:
    late = world.cutoff(DAY).isoformat()
    hit = f"visible_from > TIMESTAMPTZ '{late}'"
    values = ", ".join(
        f"CASE WHEN {hit} THEN 99 ELSE {c} END AS {c}" for c in ("temp", "wind_gust", "precip", "visib")
    )
    return world.changed("weather_observations", f"SELECT * REPLACE ({values}) FROM feed")


def revise_weather_late(world: World) -> World:
    return world.revised(
        "weather_observations",
        "partition_key = '2013-06-08'",
        "99 AS temp, 99 AS precip",
        world.cutoff(DAY) + dt.timedelta(seconds=1),
    )


def revise_schedule_late(world: World) -> World:
    return world.revised(
        "flight_schedule",
        f"partition_key = '{DAY}'",
        "distance + 50 AS distance, '2013-06-09T23:00' AS sched_dep_local",
        world.cutoff(DAY) + dt.timedelta(seconds=1),
    )


def revise_planes_late(world: World) -> World:
    return world.revised(
        "planes", "seats > 0", "seats + 100 AS seats", world.cutoff(DAY) + dt.timedelta(seconds=1)
    )


@pytest.mark.parametrize(
    "change",
    [
        shift_future_outcomes,
        revise_outcomes_late,
        change_later_weather,
        revise_weather_late,
        revise_schedule_late,
        revise_planes_late,
    ],
)
def test_what_came_after_the_cutoff_changes_no_feature(
    history: World, before: pa.Table, change: Callable[[World], World]
) -> None:
    after = change(history).features(DAY)[DAY]
    assert write_table(after) == write_table(before)


def test_an_outcome_let_in_after_the_cutoff_is_as_if_it_had_never_come(history: World) -> None:
    never = history.changed(
        "flight_outcomes",
        "SELECT * FROM feed WHERE (partition_key = '2013-05-20' AND carrier = 'UA') IS NOT TRUE",
    )
    expected = write_table(never.features(DAY)[DAY])
    assert write_table(report_late(history).features(DAY)[DAY]) == expected
    assert write_table(report_late(history, "true AS cancelled").features(DAY)[DAY]) == expected
    seen = report_late(history, "true AS cancelled").features(NEXT)[NEXT]
    assert "carrier_late_rate" in column_changes(history.features(NEXT)[NEXT], seen)


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (revise_outcomes_late, {"late_rate", "carrier_late_rate", "flight_late_rate"}),
        (change_later_weather, {"temp", "wind_gust", "precip_12h", "visib"}),
    ],
)
def test_a_day_later_the_same_change_is_seen(
    history: World, change: Callable[[World], World], columns: set[str]
) -> None:
    """The tests above could not fail if these changes were invisible anyway."""
    changed = column_changes(history.features(NEXT)[NEXT], change(history).features(NEXT)[NEXT])
    assert columns <= changed


# What was known by the cutoff.


@pytest.mark.parametrize(
    ("feed", "where", "change", "columns"),
    [
        (
            "flight_outcomes",
            "partition_key = '2013-05-20'",
            "true AS cancelled",
            {"late_rate", "carrier_late_rate", "dest_late_rate", "origin_hour_late_rate", "flight_late_rate"},
        ),
        (
            "weather_observations",
            "observed_at = TIMESTAMPTZ '2013-06-09T01:00:00Z'",
            "55 AS temp, 0.5 AS precip, 3 AS visib, 44 AS humid, 33 AS wind_speed, 40 AS wind_gust",
            {"temp", "precip_12h", "visib", "humid", "wind_speed", "wind_gust"},
        ),
        ("flight_schedule", f"partition_key = '{DAY}'", "distance + 50 AS distance", {"distance"}),
        (
            "flight_schedule",
            f"partition_key = '{DAY}' AND carrier = 'UA'",
            "'2013-06-09T23:00' AS sched_dep_local",
            {"local_hour", "origin_hour_departures", "origin_hour_late_rate"},
        ),
    ],
)
def test_what_was_corrected_before_the_cutoff_is_seen(
    history: World, before: pa.Table, feed: str, where: str, change: str, columns: set[str]
) -> None:
    early = history.cutoff(DAY) - dt.timedelta(seconds=1)
    after = history.revised(feed, where, change, early).features(DAY)[DAY]
    assert column_changes(before, after) == columns | (
        {"route_late_rate"} if feed == "flight_outcomes" else set()
    )


def test_seats_come_from_the_aircraft_of_past_outcomes(history: World, before: pa.Table) -> None:
    changed = history.changed("planes", "SELECT * REPLACE (seats + 100 AS seats) FROM feed")
    after = changed.features(DAY)[DAY]
    assert column_changes(before, after) == {"typical_seats"}
    grown = pc.subtract(after["typical_seats"], before["typical_seats"]).drop_null()
    assert pc.min_max(grown).as_py() == pytest.approx({"min": 100, "max": 100})
    assert grown.to_pylist() and before["typical_seats"].null_count < 0.1 * before.num_rows


def test_rates_and_seats_are_what_counting_by_hand_gives(history: World, before: pa.Table) -> None:
    """A second, plain way to the same numbers: one flight, rows filtered and counted one by one."""
    cutoff = history.cutoff(DAY)
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("outcomes", history.tables["flight_outcomes"])
        db.register("planes", history.tables["planes"])
        rows = db.sql(
            """SELECT o.*, p.seats FROM outcomes o LEFT JOIN planes p USING (tailnum)
            WHERE o.partition_key BETWEEN '2013-03-30' AND '2013-05-28'"""
        ).to_arrow_table()
    known = [r for r in rows.to_pylist() if r["visible_from"] <= cutoff]
    assert len(known) == rows.num_rows, "after eleven days all outcomes of a day are reported"

    def late(some: list[dict[str, object]]) -> int:
        return sum(
            bool(r["cancelled"] or r["diverted"] or (r["arr_delay"] is not None and r["arr_delay"] > 15))
            for r in some
        )

    ours = row(before, **FLIGHT)
    overall = late(known) / len(known)
    hour = f"T{int(ours['local_hour']):02}"
    flight = [r for r in known if all(r[k] == v for k, v in FLIGHT.items())]
    of_hour = [r for r in known if r["origin"] == "JFK" and hour in r["sched_dep_local"]]
    of_carrier = [r for r in known if r["carrier"] == "B6"]
    assert len(flight) > 5 and len(of_hour) > 100
    assert ours["late_rate"] == pytest.approx(overall)
    assert ours["flight_late_rate"] == pytest.approx((late(flight) + 10 * overall) / (len(flight) + 10))
    assert ours["carrier_late_rate"] == pytest.approx(
        (late(of_carrier) + 50 * overall) / (len(of_carrier) + 50)
    )
    assert ours["origin_hour_late_rate"] == pytest.approx(
        (late(of_hour) + 50 * overall) / (len(of_hour) + 50)
    )
    seats = [r["seats"] for r in flight if r["seats"] is not None]
    assert ours["typical_seats"] == pytest.approx(sum(seats) / len(seats))


def test_young_outcomes_do_not_count_though_they_are_known(history: World, before: pa.Table) -> None:
    """Rates over young days would flatter, because late flights are reported later."""
    changed = history.changed(
        "flight_outcomes",
        "SELECT * REPLACE (partition_key >= '2013-05-29' OR cancelled AS cancelled) FROM feed",
    )
    assert write_table(changed.features(DAY)[DAY]) == write_table(before)
    older = history.changed(
        "flight_outcomes",
        "SELECT * REPLACE (partition_key = '2013-05-28' OR cancelled AS cancelled) FROM feed",
    )
    assert "late_rate" in column_changes(before, older.features(DAY)[DAY])


def test_an_outcome_stops_to_count_after_its_sixty_days(history: World) -> None:
    gone = history.changed("flight_outcomes", "SELECT * FROM feed WHERE partition_key <> '2013-03-30'")
    assert "late_rate" in column_changes(history.features(DAY)[DAY], gone.features(DAY)[DAY])
    assert write_table(history.features(NEXT)[NEXT]) == write_table(gone.features(NEXT)[NEXT])


def test_the_weather_is_the_last_one_known(history: World, before: pa.Table) -> None:
    weather = history.tables["weather_observations"]
    last = row(
        weather.filter(pc.equal(weather["origin"], "JFK")),
        observed_at=dt.datetime(2013, 6, 9, 1, tzinfo=dt.UTC),
    )
    ours = before.filter(pc.equal(before["origin"], "JFK")).to_pylist()[0]
    assert ours["temp"] == last["temp"] and ours["visib"] == last["visib"]
    assert ours["wind_gust"] == (last["wind_gust"] or last["wind_speed"])
    assert ours["weather_age_hours"] == 1.0


@pytest.mark.parametrize(("missing", "age"), [(3, 4.0), (11, 12.0), (13, None)])
def test_weather_that_stops_is_stale_and_then_missing(
    history: World, missing: int, age: float | None
) -> None:
    until = (history.cutoff(DAY) - dt.timedelta(hours=missing)).isoformat()
    world = history.changed(
        "weather_observations", f"SELECT * FROM feed WHERE visible_from <= TIMESTAMPTZ '{until}'"
    )
    table = world.features(DAY)[DAY]
    ages = set(table["weather_age_hours"].to_pylist())
    expected = {None} if age is None or age >= 12 else {age}
    assert ages == expected
    assert (table["visib"].null_count == table.num_rows) is (expected == {None})
    assert table["carrier_late_rate"].null_count == 0


def test_without_any_history_there_are_features_of_the_schedule_alone(history: World) -> None:
    world = history.changed("flight_outcomes", "SELECT * FROM feed WHERE false")
    world = world.changed("weather_observations", "SELECT * FROM feed WHERE false")
    table = world.features(DAY)[DAY]
    empty = {n for n in table.column_names if table[n].null_count == table.num_rows}
    assert {"late_rate", "carrier_late_rate", "typical_seats", "temp", "precip_12h"} <= empty
    assert not {"local_hour", "distance", "origin_hour_departures"} & empty


def test_a_partition_without_a_schedule_has_no_rows(history: World) -> None:
    world = history.changed("flight_schedule", f"SELECT * FROM feed WHERE partition_key <> '{DAY}'")
    tables = world.features(DAY, NEXT)
    assert tables[DAY].num_rows == 0 and tables[NEXT].num_rows > 800


def test_hours_and_weekdays_are_new_yorks(history: World, before: pa.Table) -> None:
    assert set(before["weekday"].to_pylist()) == {7.0}, "9 June 2013 was a Sunday"
    evening = [r for r in before.to_pylist() if r["event_time"].date() == dt.date(2013, 6, 10)]
    assert evening and {r["local_hour"] for r in evening} <= {20.0, 21.0, 22.0, 23.0}
