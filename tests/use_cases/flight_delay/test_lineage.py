"""Column lineage through this use case's SQL, held against what a change of a source does to the features."""

import pytest

from ml_platform.config import UseCase
from ml_platform.features.dbt import CompiledViews
from ml_platform.features.lineage import Source, ViewLineage, through
from ml_platform.lifecycle.column_lineage import column_lineage

from .world import World, column_changes

DAY = "2013-06-09"


@pytest.fixture(scope="module")
def lineage(use_case: UseCase) -> dict[str, ViewLineage]:
    return column_lineage(use_case)


def sources(lineage: dict[str, ViewLineage], view: str, column: str) -> set[str]:
    found = through(lineage, f"flight_delay_{view}")
    assert found.problem is None
    return {f"{s.relation}.{s.column}" for s in found.columns[column]}


def test_features_name_the_columns_behind_their_macros_and_tables(lineage: dict[str, ViewLineage]) -> None:
    outcomes = {f"feed_flight_outcomes.{c}" for c in ("arr_delay", "cancelled", "diverted")}
    assert sources(lineage, "labels", "late") == outcomes
    assert sources(lineage, "features", "late_rate") == outcomes | {"cutoffs.cutoff"}
    assert outcomes < sources(lineage, "features", "flight_late_rate")
    assert "feed_planes.seats" in sources(lineage, "features", "typical_seats")
    assert sources(lineage, "features", "local_hour") == {"feed_flight_schedule.sched_dep_local"}
    assert sources(lineage, "features", "distance") == {"feed_flight_schedule.distance"}


def test_no_feature_reads_the_aircraft_that_flew(lineage: dict[str, ViewLineage]) -> None:
    features = through(lineage, "flight_delay_features").columns
    assert not [c for c, named in features.items() if any(s.column == "tailnum" for s in named)]


def test_every_column_is_there(lineage: dict[str, ViewLineage], history: World, views: CompiledViews) -> None:
    with history.built(DAY) as connection:
        for view in (views.entities, views.features, views.labels):
            columns = [r[0] for r in connection.execute(f'DESCRIBE "{view.name}"').fetchall()]
            assert list(lineage[view.name].columns) == columns


@pytest.mark.parametrize(
    ("feed", "column", "change"),
    [
        ("weather_observations", "temp", "temp + 1"),
        ("weather_observations", "wind_speed", "wind_speed + 100"),
        ("planes", "seats", "seats + 50"),
        ("flight_schedule", "distance", "distance + 1"),
        ("flight_outcomes", "arr_delay", "arr_delay + 30"),
    ],
)
def test_a_change_of_a_source_changes_only_what_names_it(
    lineage: dict[str, ViewLineage], history: World, feed: str, column: str, change: str
) -> None:
    before = history.features(DAY)[DAY]
    changed = history.changed(feed, f"SELECT * REPLACE ({change} AS {column}) FROM feed")
    features = through(lineage, "flight_delay_features").columns
    named = {c for c, found in features.items() if Source(f"feed_{feed}", column) in found}
    assert column_changes(before, changed.features(DAY)[DAY]) == named != set()
