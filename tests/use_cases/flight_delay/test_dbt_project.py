"""The dbt project: its own tests pass on real days, fail on spoilt ones, and its SQL names no day."""

import json
import re
from typing import Any

import pytest

from ml_platform.config import UseCase
from ml_platform.features.dbt import CompiledViews, compile_project

from .world import World

DAYS = ("2013-06-08", "2013-06-09")


@pytest.fixture(scope="module")
def manifest(use_case: UseCase) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(compile_project(use_case.dbt_dir).read_text())
    return parsed


@pytest.fixture(scope="module")
def dbt_tests(manifest: dict[str, Any]) -> dict[str, str]:
    """The compiled SQL of dbt's tests of this use case, by name: a row that it returns is a failure."""
    nodes = [n for n in manifest["nodes"].values() if n["resource_type"] == "test"]
    return {n["name"]: n["compiled_code"] for n in nodes}


def failures(world: World, tests: dict[str, str], *spoil: str) -> set[str]:
    with world.built(*DAYS) as connection:
        for statement in spoil:
            connection.execute(statement).fetchall()
        return {name for name, sql in tests.items() if connection.execute(sql).fetchall()}


def test_dbts_own_tests_pass_on_real_days(history: World, dbt_tests: dict[str, str]) -> None:
    assert len(dbt_tests) > 15
    assert failures(history, dbt_tests) == set()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            "INSERT INTO flight_delay_features SELECT * FROM flight_delay_features LIMIT 1",
            "features_one_row_per_flight",
        ),
        ("DELETE FROM flight_delay_labels WHERE carrier = 'UA'", "labels_of_every_flight"),
        ("UPDATE flight_delay_features SET flight_late_rate = 1.5", "features_in_range"),
        ("UPDATE flight_delay_entities SET cutoff = event_time + INTERVAL 1 HOUR", "cutoff_before_departure"),
        ("UPDATE flight_delay_entities SET carrier = NULL", "not_null_flight_delay_entities_carrier"),
        ("UPDATE flight_delay_entities SET dest = 'QQQ'", "dest_is_an_airport"),
        ("UPDATE flight_delay_labels SET late = 2", "late_is_0_or_1"),
    ],
)
def test_dbts_own_tests_find_what_is_wrong(
    history: World, dbt_tests: dict[str, str], spoil: str, expected: str
) -> None:
    assert expected in failures(history, dbt_tests, spoil)


def test_checks_have_names_for_people_and_say_what_they_ask(manifest: dict[str, Any]) -> None:
    nodes = [n for n in manifest["nodes"].values() if n["resource_type"] == "test"]
    assert all(len(n["name"]) < 60 and not re.search(r"_[0-9a-f]{32}$|__", n["name"]) for n in nodes)
    assert all(n["description"] for n in nodes if not n["name"].startswith("not_null_"))


def test_the_sql_names_no_path_date_or_variable(manifest: dict[str, Any]) -> None:
    models = [
        n for n in manifest["nodes"].values() if n["name"].startswith("flight_delay_") and "raw_code" in n
    ]
    models = [n for n in models if n["resource_type"] == "model"]
    assert len(models) == 3
    for node in models:
        text = node["raw_code"]
        assert not re.search(r"\b(19|20)\d\d-\d\d|read_parquet|read_csv|\bvar\(|env_var|now\(|current_", text)


def test_every_column_is_described(manifest: dict[str, Any], views: CompiledViews, history: World) -> None:
    with history.built(*DAYS) as connection:
        for view in (views.entities, views.features, views.labels):
            columns = [r[0] for r in connection.execute(f'DESCRIBE "{view.name}"').fetchall()]
            assert list(view.columns) == columns
            assert all(view.columns.values())
