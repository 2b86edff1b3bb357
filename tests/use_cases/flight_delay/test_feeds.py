"""What the six feeds say, against the files they come from."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest

from ml_platform.config import UseCase
from ml_platform.errors import FeedError
from ml_platform.ingestion.reader import read_feed
from ml_platform.use_cases.flight_delay.airports import FORGOTTEN
from ml_platform.use_cases.flight_delay.source import data_folder

from .conftest import Read, rewrite

KEY = "partition_key, carrier, flight, origin"


@pytest.fixture(scope="module")
def db(read: Read) -> duckdb.DuckDBPyConnection:
    """The year as relations ``schedule``, ``outcomes`` and ``weather``, and the file itself as ``file``."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, feed in (
        ("schedule", "flight_schedule"),
        ("outcomes", "flight_outcomes"),
        ("weather", "weather_observations"),
    ):
        connection.register(name, read(feed))
    options = pa_csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    packed = pa.input_stream(_unzipped())
    connection.register("file", pa_csv.read_csv(packed, convert_options=options))
    return connection


def _unzipped() -> pa.Buffer:
    import zipfile

    with zipfile.ZipFile(data_folder({}) / "flights.csv.zip") as archive:
        return pa.py_buffer(archive.read("flights.csv"))


def one(db: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...]:
    (found,) = db.execute(sql).fetchall()
    return tuple(found)


def test_every_flight_is_scheduled_and_has_one_outcome(db: duckdb.DuckDBPyConnection) -> None:
    for relation in ("schedule", "outcomes"):
        assert one(db, f"SELECT count(*), count(DISTINCT ({KEY})) FROM {relation}") == (336_776, 336_776)
    assert one(db, f"SELECT count(*) FROM schedule JOIN outcomes USING ({KEY})") == (336_776,)
    without_origin = one(db, "SELECT count(DISTINCT (partition_key, carrier, flight)) FROM schedule")
    assert without_origin == (336_776 - 24,)


def test_the_schedule_tells_nothing_that_happened_later(db: duckdb.DuckDBPyConnection) -> None:
    columns = {c[0] for c in db.execute("DESCRIBE schedule").fetchall()}
    assert columns == {
        "partition_key",
        "known_at",
        "carrier",
        "flight",
        "origin",
        "dest",
        "distance",
        "scheduled_departure",
        "scheduled_arrival",
        "sched_dep_local",
    }


def test_the_schedule_is_known_at_three_in_the_afternoon_before(db: duckdb.DuckDBPyConnection) -> None:
    known = db.execute("SELECT DISTINCT partition_key, known_at FROM schedule").fetchall()
    assert len(known) == 365
    for key, instant in known:
        local = instant.astimezone(ZoneInfo("America/New_York"))
        eve = dt.date.fromisoformat(key) - dt.timedelta(days=1)
        assert (local.date(), local.time()) == (eve, dt.time(15))


def test_a_partition_is_a_new_york_date_and_everything_inside_is_utc(db: duckdb.DuckDBPyConnection) -> None:
    other_date = "strftime(scheduled_departure, '%Y-%m-%d') <> partition_key"
    (share,) = one(db, f"SELECT avg(CAST({other_date} AS INTEGER)) FROM schedule")
    assert share == pytest.approx(0.11, abs=0.01)
    local = "strftime(timezone('America/New_York', scheduled_departure), '%Y-%m-%dT%H:%M')"
    assert one(db, f"SELECT count(*) FROM schedule WHERE {local} <> sched_dep_local") == (0,)
    assert one(db, "SELECT count(*) FROM schedule WHERE sched_dep_local[:10] <> partition_key") == (0,)


def test_departures_are_in_the_hour_that_the_file_says_in_utc(db: duckdb.DuckDBPyConnection) -> None:
    hours = "SELECT date_trunc('hour', scheduled_departure) AS hour, count(*) AS n FROM schedule GROUP BY 1"
    said = "SELECT time_hour AS hour, count(*) AS n FROM file GROUP BY 1"
    assert one(db, f"SELECT count(*) FROM ({hours} EXCEPT {said})") == (0,)
    assert one(db, f"SELECT count(*) FROM ({said} EXCEPT {hours})") == (0,)


def test_arrivals_are_at_the_local_time_that_the_file_says(db: duckdb.DuckDBPyConnection, read: Read) -> None:
    """The file gives the local time of arrival, which no feed reads: it checks zones and midnights."""
    db.register("airports", read("airports"))
    sql = """
    SELECT f.month, f.day, f.arr_time, hour(l) * 100 + minute(l) AS ours
    FROM file f
    JOIN outcomes o ON o.carrier = f.carrier AND o.flight = f.flight AND o.origin = f.origin
        AND o.partition_key = strftime(make_date(f.year, f.month, f.day), '%Y-%m-%d')
    JOIN airports a ON a.faa = f.dest,
    LATERAL (SELECT timezone(a.tzone, o.arrived_at) AS l)
    WHERE o.arrived_at IS NOT NULL
    """
    (compared,) = one(db, f"SELECT count(*) FROM ({sql})")
    assert compared == 327_346
    differing = db.execute(f"SELECT * FROM ({sql}) WHERE arr_time % 2400 <> ours").fetchall()
    # The file's own slip: on 10 March no clock in Florida showed 02:03.
    assert differing == [(3, 9, 203, 303)]


def test_cancelled_diverted_and_flown(db: duckdb.DuckDBPyConnection) -> None:
    counts = (
        "count(*) FILTER (cancelled), count(*) FILTER (diverted), count(*) FILTER (cancelled AND diverted)"
    )
    assert one(db, f"SELECT {counts} FROM outcomes") == (8_255, 1_175, 0)
    untold = "arrived_at IS NULL AND arr_delay IS NULL AND air_time IS NULL"
    assert one(db, f"SELECT count(*) FROM outcomes WHERE (cancelled OR diverted) <> ({untold})") == (0,)
    assert one(db, "SELECT count(*) FROM outcomes WHERE cancelled <> (departed_at IS NULL)") == (0,)
    tailless = "SELECT count(*), count(*) FILTER (NOT cancelled) FROM outcomes WHERE tailnum IS NULL"
    assert one(db, tailless) == (2_512, 0)
    assert one(db, "SELECT count(*) FROM outcomes WHERE arrived_at <= departed_at") == (0,)


def test_nothing_is_reported_before_it_happened(db: duckdb.DuckDBPyConnection) -> None:
    assert one(db, "SELECT count(*) FROM outcomes WHERE known_at <= arrived_at") == (0,)
    early = f"SELECT count(*) FROM outcomes JOIN schedule s USING ({KEY}) WHERE outcomes.known_at <= "
    assert one(db, early + "s.scheduled_departure") == (0,)
    assert one(db, early + "s.scheduled_arrival + INTERVAL 6 HOUR AND diverted") == (0,)
    assert one(db, early + "s.scheduled_departure + INTERVAL 6 HOUR AND cancelled") == (0,)


def test_the_four_forgotten_airports_keep_atlantic_time(read: Read, db: duckdb.DuckDBPyConnection) -> None:
    airports = read("airports")
    added = airports.filter(pc.equal(airports["source"], "feed code"))
    assert set(added["faa"].to_pylist()) == set(FORGOTTEN)
    assert set(added["tzone"].to_pylist()) == {"America/Puerto_Rico"}
    codes = ", ".join(f"'{code}'" for code in FORGOTTEN)
    arrivals = f"SELECT count(scheduled_arrival), count(*) FROM schedule WHERE dest IN ({codes})"
    assert one(db, arrivals) == (7_602, 7_602)


def test_weather_is_known_when_its_hour_is_over(db: duckdb.DuckDBPyConnection) -> None:
    assert one(db, "SELECT count(*) FROM weather WHERE known_at <> observed_at + INTERVAL 1 HOUR") == (0,)
    local = "strftime(timezone('America/New_York', observed_at), '%Y-%m-%d')"
    assert one(db, f"SELECT count(*), count(*) FILTER ({local} <> partition_key) FROM weather") == (26_115, 0)
    assert one(db, "SELECT count(DISTINCT (origin, observed_at)) FROM weather") == (26_115,)


def test_weather_on_the_days_of_23_and_25_hours(db: duckdb.DuckDBPyConnection) -> None:
    hours = dict(
        db.execute("SELECT partition_key, count(*) FROM weather WHERE origin = 'JFK' GROUP BY 1").fetchall()
    )
    assert hours["2013-03-10"] == 23
    # One of the 25 hours is missing; the hour that the clocks show twice is there twice.
    assert hours["2013-11-03"] == 24
    assert max(hours.values()) == 24


def test_weather_ends_a_day_early_and_has_gaps(db: duckdb.DuckDBPyConnection) -> None:
    span = "date_diff('hour', min(observed_at), max(observed_at)) + 1 - count(*)"
    gaps = dict(db.execute(f"SELECT origin, {span} FROM weather GROUP BY 1").fetchall())
    assert gaps == {"EWR": 27, "JFK": 24, "LGA": 24}
    assert one(db, "SELECT max(partition_key) FROM weather") == ("2013-12-30",)


def test_reference_feeds_are_known_before_the_first_flight(read: Read) -> None:
    for feed in ("planes", "airports", "airlines"):
        table = read(feed)
        assert set(table["partition_key"].to_pylist()) == {"static"}
        assert pc.max(table["known_at"]).as_py() < dt.datetime(2013, 1, 1, tzinfo=dt.UTC)


def test_the_platform_gets_what_had_landed_by_an_evening(use_case: UseCase) -> None:
    as_of = use_case.cutoff("2013-06-09")
    partitions = [use_case.scheme.partition(k) for k in ("2013-06-07", "2013-06-08", "2013-06-09")]
    landed = {
        feed: read_feed(use_case, use_case.feed(feed), partitions, as_of)["partition_key"].value_counts()
        for feed in ("flight_schedule", "flight_outcomes", "weather_observations")
    }
    rows = {feed: {r["values"]: r["counts"] for r in table.to_pylist()} for feed, table in landed.items()}
    assert "2013-06-09" in rows["flight_schedule"]
    assert rows["weather_observations"] == {"2013-06-07": 72, "2013-06-08": 66}
    assert "2013-06-09" not in rows["flight_outcomes"]
    assert 0 < rows["flight_outcomes"]["2013-06-08"] < rows["flight_outcomes"]["2013-06-07"] < 1000


def test_a_day_that_the_file_does_not_have_is_empty(few_files: Path, read: Read) -> None:
    table = read("flight_schedule", "2013-06-09", "2013-06-09", path=str(few_files))
    assert table.num_rows == 0 and "scheduled_departure" in table.column_names


def test_an_unknown_column_of_the_flights_file_is_never_part_of_the_plan(few_files: Path, read: Read) -> None:
    rewrite(few_files / "flights.csv", lambda rows: [{**r, "gate_agent": "x"} for r in rows])
    assert "gate_agent" not in read("flight_schedule", path=str(few_files)).column_names
    assert "gate_agent" in read("flight_outcomes", path=str(few_files)).column_names


def test_a_row_without_a_date_is_refused_with_its_number(few_files: Path, read: Read) -> None:
    def spoil(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        rows[4] |= {"month": "2", "day": "30"}
        rows[7] |= {"day": "NA"}
        return rows

    rewrite(few_files / "flights.csv", spoil)
    with pytest.raises(FeedError, match="2 row") as caught:
        read("flight_schedule", path=str(few_files))
    assert "row 5 after the header" in caught.value.where


def test_rows_with_missing_keys_or_times_reach_the_contract(few_files: Path, read: Read) -> None:
    """They are the contract's to judge: the reader neither fails nor drops them."""

    def spoil(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        rows[0] |= {"carrier": "NA"}
        rows[1] |= {"flight": "NA"}
        rows[2] |= {"sched_dep_time": "2575"}
        rows[3] |= {"dest": "QQQ"}
        rows.append(dict(rows[5]))
        return rows

    rewrite(few_files / "flights.csv", spoil)
    schedule, outcomes = (read(f, path=str(few_files)) for f in ("flight_schedule", "flight_outcomes"))
    assert schedule.num_rows == outcomes.num_rows == 101
    assert schedule["carrier"].null_count == schedule["flight"].null_count == 1
    assert schedule["scheduled_departure"].null_count == 1 and schedule["scheduled_arrival"].null_count == 2
    assert outcomes["known_at"].null_count == 0


def test_weather_without_an_hour_is_refused(few_files: Path, read: Read) -> None:
    rewrite(few_files / "weather.csv", lambda rows: [{**r, "time_hour": "NA"} for r in rows[:2]] + rows[2:])
    with pytest.raises(FeedError, match="2 row"):
        read("weather_observations", path=str(few_files))


def test_an_unknown_setting_is_refused(read: Read) -> None:
    with pytest.raises(FeedError, match="pahts") as caught:
        read("planes", pahts="/elsewhere")
    assert "path" in caught.value.fix
