"""Which columns a view's columns are made from, read from its compiled SQL by sqlglot.

A column comes from the columns that its value is computed from, through common table expressions and
subqueries: arguments, the partition and order of a window, conditions of ``case`` and ``filter``. What only
chooses rows (``where``, ``join … on``, ``group by``) is no source, so that a bare ``count(*)`` has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import MappingSchema, exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from ml_platform.features.dbt import CompiledViews, View

_DIALECT = "duckdb"


@dataclass(frozen=True, order=True)
class Source:
    """A column of a relation that a view reads: a feed's, the cutoffs', or another view's."""

    relation: str
    column: str


@dataclass(frozen=True)
class ViewLineage:
    """The sources of a view's columns.

    Attributes:
        columns: Sources by column, in the view's order; sorted, and empty for a constant.
        problem: Why they are not known; ``None`` when they are.
    """

    columns: Mapping[str, tuple[Source, ...]]
    problem: str | None = None


def direct(views: CompiledViews, relations: Mapping[str, Sequence[str]]) -> dict[str, ViewLineage]:
    """Each view's columns from the relations that its SQL names.

    Args:
        views: The compiled views.
        relations: Columns by relation, of all that the views may read beside each other.

    Returns:
        Lineage by the view's name, entities first. A view that sqlglot does not understand has a ``problem``,
        and so has each that reads it.
    """
    known = {name: tuple(columns) for name, columns in relations.items()}
    found: dict[str, ViewLineage] = {}
    for view in (views.entities, views.features, views.labels):
        found[view.name] = _of(view, known)
        if found[view.name].problem is None:
            known[view.name] = tuple(found[view.name].columns)
    return found


def through(lineage_of: Mapping[str, ViewLineage], view: str) -> ViewLineage:
    """A view's columns from the first relations, through the other views that it reads."""
    columns = {
        column: tuple(sorted(set(_first(lineage_of, sources))))
        for column, sources in lineage_of[view].columns.items()
    }
    return ViewLineage(columns, lineage_of[view].problem)


def _first(lineage_of: Mapping[str, ViewLineage], sources: Iterable[Source]) -> Iterable[Source]:
    for source in sources:
        if source.relation in lineage_of:
            yield from _first(lineage_of, lineage_of[source.relation].columns[source.column])
        else:
            yield source


def _of(view: View, relations: Mapping[str, Sequence[str]]) -> ViewLineage:
    schema = MappingSchema(dialect=_DIALECT)
    try:
        query = parse_one(view.sql, dialect=_DIALECT)
        for table in query.find_all(exp.Table):
            # Common table expressions have no schema before their name.
            if table.db:
                if table.name not in relations:
                    return ViewLineage({}, f"the columns of {table.name}, which it reads, are not known")
                schema.add_table(table, dict.fromkeys(relations[table.name], "unknown"), dialect=_DIALECT)
        # Once for all columns; it fails on a column that no relation has.
        qualified = qualify(query, schema=schema, dialect=_DIALECT)
        scope = build_scope(qualified)
        nodes = lineage(None, qualified, schema, dialect=_DIALECT, scope=scope, trim_selects=False)
        return ViewLineage({name: _sources(node) for name, node in nodes.items()})
    except (SqlglotError, ValueError) as error:
        return ViewLineage({}, f"sqlglot does not understand the SQL: {str(error).splitlines()[0]}")


def _sources(node: Node) -> tuple[Source, ...]:
    found = set()
    for each in node.walk():
        if each.downstream:
            continue
        if isinstance(each.expression, exp.Table):
            found.add(Source(each.expression.name, exp.to_column(each.name, dialect=_DIALECT).name))
        elif isinstance(each.expression, exp.Placeholder | exp.Star):
            raise SqlglotError(f"column {each.name} belongs to no relation")
    return tuple(sorted(found))
