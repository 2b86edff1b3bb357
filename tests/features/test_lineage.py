"""Column lineage is read from the compiled SQL."""

from dataclasses import replace

import pytest

from ml_platform.features.dbt import CompiledViews, View
from ml_platform.features.lineage import Source, ViewLineage, direct, row_expression, through

PARCELS = "select c.partition_key, f.parcel, f.grams from cutoffs c join feed_parcels f using (partition_key)"
RELATIONS = {
    "cutoffs": ("partition_key", "cutoff"),
    "feed_parcels": ("partition_key", "parcel", "grams", "lost"),
}


def views(features: str, labels: str = "select parcel from parcels") -> CompiledViews:
    named = {"parcels": PARCELS, "features": features, "labels": labels}
    qualified = {
        n: sql.replace(" feed_parcels", ' "warehouse"."main"."feed_parcels"')
        .replace(" cutoffs", ' "warehouse"."main"."cutoffs"')
        .replace(" parcels", ' "warehouse"."main"."parcels"')
        for n, sql in named.items()
    }
    return CompiledViews(*(View(n, sql, {}, n) for n, sql in qualified.items()))


def sources(features: str) -> dict[str, set[str]]:
    found = through(direct(views(features), RELATIONS), "features")
    assert found.problem is None
    return {c: {f"{s.relation}.{s.column}" for s in named} for c, named in found.columns.items()}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select grams as x from parcels", {"feed_parcels.grams"}),
        ("select 2 * grams as y, y + 1 as x from parcels", {"feed_parcels.grams"}),
        ("select 1 as x from parcels", set()),
        ("select count(*) as x from parcels where grams > 3", set()),
        ("select count(*) over (partition by parcel) as x from parcels", {"feed_parcels.parcel"}),
        ("select sum(1) filter (lost) as x from feed_parcels", {"feed_parcels.lost"}),
        ("select case when lost then 1 end as x from feed_parcels", {"feed_parcels.lost"}),
        (
            "with a as (select * exclude (parcel) from parcels) select grams as x from a",
            {"feed_parcels.grams"},
        ),
        (
            "with a as (select grams as n from feed_parcels union all select lost from feed_parcels) "
            "select sum(n) as x from a group by all",
            {"feed_parcels.grams", "feed_parcels.lost"},
        ),
        (
            "select p.grams - c.cutoff as x from parcels p asof join cutoffs c on c.cutoff >= p.grams",
            {"feed_parcels.grams", "cutoffs.cutoff"},
        ),
        ("select (select max(lost) from feed_parcels) as x from parcels", {"feed_parcels.lost"}),
    ],
)
def test_sources_of_a_column(sql: str, expected: set[str]) -> None:
    assert sources(sql)["x"] == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select grams as x from parcels", set()),
        (
            "select f.lost as x from parcels p join feed_parcels f on f.parcel = p.parcel",
            {"feed_parcels.parcel"},
        ),
        ("select p.grams as x from parcels p left join feed_parcels f on f.parcel = p.parcel", set()),
        (
            "with r as (select parcel, count(*) as n from feed_parcels group by all) "
            "select r.n as x from parcels p join r using (parcel)",
            {"feed_parcels.parcel"},
        ),
        ("select sum(grams) as x from feed_parcels group by lost", {"feed_parcels.lost"}),
        ("select f.lost as x from parcels p join feed_parcels f on f.grams > p.grams", set()),
    ],
)
def test_keys_of_joins_and_groups_stand_beside_the_sources(sql: str, expected: set[str]) -> None:
    found = through(direct(views(sql), RELATIONS), "features")
    partitions = {"feed_parcels.partition_key", "cutoffs.partition_key"}
    assert {f"{s.relation}.{s.column}" for s in found.joined["x"]} - partitions == expected


def test_columns_that_a_join_holds_equal_are_one_value_under_two_names() -> None:
    relations = RELATIONS | {"feed_visits": ("who", "day")}
    pair = (Source("feed_parcels", "parcel"), Source("feed_visits", "who"))
    for column, equal in (("v.who", True), ("upper(v.who)", False)):
        sql = f"select v.day as x from parcels p join visits v on {column} = p.parcel"
        known = direct(views(sql.replace(" visits", ' "warehouse"."main"."feed_visits"')), relations)
        assert (pair in through(known, "features").equal) == equal


def test_a_view_shows_what_it_reads_itself_and_what_is_behind_it() -> None:
    found = direct(views("select grams as x from parcels"), RELATIONS)
    assert found["features"].columns == {"x": (Source("parcels", "grams"),)}
    assert through(found, "features").columns == {"x": (Source("feed_parcels", "grams"),)}


@pytest.mark.parametrize(
    "sql", ["select nothing as x from parcels", "select from where", "drop table parcels"]
)
def test_sql_that_is_not_understood_is_unknown_and_no_error(sql: str) -> None:
    found = direct(views(sql), RELATIONS)
    assert found["features"].columns == {} and found["features"].problem
    assert through(found, "features") == ViewLineage({}, found["features"].problem)
    assert found["labels"].problem is None


def test_a_view_on_top_of_one_that_is_not_understood_is_unknown_too() -> None:
    compiled = views("select parcel from parcels")
    found = direct(replace(compiled, entities=View("parcels", "select nothing from", {}, "v")), RELATIONS)
    assert all(view.problem for view in found.values()) and len(found) == 3


@pytest.mark.parametrize(
    ("sql", "columns", "expression", "plain"),
    [
        ("select cast(f.lost = 'yes' as integer) as x from feed_parcels f", ("lost",), "lost = 'yes'", False),
        ("select (cast(grams as double)) as x from feed_parcels", ("grams",), "DOUBLE", True),
        ("select grams > 2 and lost as x from feed_parcels", ("grams", "lost"), "AND", False),
        ("select case lost when 'a' then 'b' end as x from feed_parcels", ("lost",), "WHEN 'a'", False),
    ],
)
def test_a_column_that_follows_from_one_row(
    sql: str, columns: tuple[str, ...], expression: str, plain: bool
) -> None:
    found = row_expression(views(sql).features, RELATIONS, "x")
    assert found is not None and (found.relation, found.columns) == ("feed_parcels", columns)
    assert expression in found.sql.replace('"', "") and "f." not in found.sql and found.plain == plain


def test_it_names_its_literals_and_what_else_reads_its_columns() -> None:
    sql = "select lost = 'yes' or lost = 3 as x from feed_parcels where grams > 1"
    found = row_expression(views(sql).features, RELATIONS, "x")
    assert found is not None and found.literals == ("yes", "3") and found.choosing == {"grams"}


@pytest.mark.parametrize(
    "sql",
    [
        "select max(lost) as x from feed_parcels",
        "select max(lost) over () as x from feed_parcels",
        "select lost as x from feed_parcels group by lost",
        "select distinct lost as x from feed_parcels",
        "select (select max(lost) from feed_parcels) as x from feed_parcels",
        "select f.lost > c.cutoff as x from feed_parcels f join cutoffs c using (partition_key)",
        "with a as (select lost from feed_parcels) select lost as x from a",
        "select lost as x from feed_parcels union all select grams from feed_parcels",
        "select lost > random() as x from feed_parcels",
        "select somebodys(lost) as x from feed_parcels",
        "select 1 as x from feed_parcels",
        "select lost as y from feed_parcels",
        "select nothing as x from feed_parcels",
    ],
)
def test_everything_else_follows_from_no_row_alone(sql: str) -> None:
    assert row_expression(views(sql).features, RELATIONS, "x") is None
