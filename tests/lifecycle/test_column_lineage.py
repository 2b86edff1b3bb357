"""A use case's column lineage is true: a change of a source reaches the columns that name it, no others."""

import duckdb
import pytest
from library import FIRST_WEEK, NAME, Library, open_library

from ml_platform.features.dbt import compiled_views
from ml_platform.features.engine import build_view
from ml_platform.features.lineage import Source, through
from ml_platform.lifecycle.column_lineage import column_lineage
from ml_platform.lifecycle.views import open_warehouse

FEATURES = f"{NAME}_features"
WEEK = "2020-06-01"


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """An installation in which the feeds have been accepted up to a week; nothing is trained."""
    library = open_library(tmp_path_factory.mktemp("delivered") / "home")
    library.deliver_all(library.weeks(FIRST_WEEK, WEEK))
    return library


def test_its_columns_are_those_that_duckdb_returns(delivered: Library) -> None:
    compiled, found = compiled_views(delivered.use_case), column_lineage(delivered.use_case)
    with open_warehouse(delivered.platform, delivered.use_case, [WEEK], delivered.now) as connection:
        for view in (compiled.features, compiled.labels):
            assert list(found[view.name].columns) == build_view(connection, compiled, view).column_names


@pytest.mark.parametrize(
    ("column", "value"),
    [("branches.staff", "staff + 7"), ("returns.returned_at", "due_at"), ("loans.pages", "9")],
)
def test_what_it_does_not_name_does_not_change(delivered: Library, column: str, value: str) -> None:
    feed, _, name = column.partition(".")
    named = through(column_lineage(delivered.use_case), FEATURES).columns
    compiled = compiled_views(delivered.use_case)
    with open_warehouse(delivered.platform, delivered.use_case, [WEEK], delivered.now) as connection:
        before = build_view(connection, compiled, compiled.features)
        _replace(connection, feed, f"{value} AS {name}")
        after = build_view(connection, compiled, compiled.features)
    order = [("branch", "ascending"), ("loan_no", "ascending")]
    before, after = before.sort_by(order), after.sort_by(order)
    changed = {c for c in before.column_names if not before[c].equals(after[c])}
    assert changed == {c for c, from_ in named.items() if Source(f"feed_{feed}", name) in from_} != set()


def _replace(connection: duckdb.DuckDBPyConnection, feed: str, change: str) -> None:
    views = "SELECT sql FROM duckdb_views() WHERE view_name = ?"
    text = connection.execute(views, [f"feed_{feed}"]).fetchall()[0][0]
    source = str(text).partition(" AS ")[2].rstrip(";")
    connection.execute(f'CREATE OR REPLACE VIEW "feed_{feed}" AS SELECT * REPLACE ({change}) FROM ({source})')
