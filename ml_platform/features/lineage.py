"""Which columns a view's columns are made from, read from its compiled SQL by sqlglot.

A column comes from the columns that its value is computed from, through common table expressions and
subqueries: arguments, the partition and order of a window, conditions of ``case`` and ``filter``. What only
chooses rows (``where``, ``join … on``, ``group by``) is no source, so that a bare ``count(*)`` has none; the
keys of joins and groups are kept beside the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import MappingSchema, exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from ml_platform.features.dbt import CompiledViews, View
from ml_platform.features.join_keys import equal_columns, join_keys

_DIALECT = "duckdb"
_REGROUPING = ("group", "distinct", "having", "qualify")
"""Clauses after which a row of the result is no longer one of the relation's."""

_BEYOND_THE_ROW = (
    exp.AggFunc,
    exp.Window,
    exp.Query,
    exp.Rand,
    exp.CurrentDate,
    exp.CurrentTimestamp,
    exp.Anonymous,
)
"""What a value that follows from one row alone has not; nobody knows what an unknown function does."""


class _UnknownRelationError(SqlglotError):
    """A view reads a relation whose columns nobody knows."""


@dataclass(frozen=True, order=True)
class Source:
    """A column of a relation that a view reads: a feed's, the cutoffs', or another view's."""

    relation: str
    column: str


@dataclass(frozen=True)
class RowExpression:
    """A column that is computed from one row of one relation, whatever its other rows hold.

    Attributes:
        relation: The relation.
        columns: Its columns that the expression reads, sorted.
        sql: The expression in DuckDB's SQL, over a table with these columns.
        literals: Texts, numbers and truths that it names, as text.
        plain: Whether it is its only column, cast at most.
        choosing: Columns of the relation that occur elsewhere in the view, so that they may choose rows.
    """

    relation: str
    columns: tuple[str, ...]
    sql: str
    literals: tuple[str, ...]
    plain: bool
    choosing: frozenset[str]


@dataclass(frozen=True)
class ViewLineage:
    """The sources of a view's columns.

    Attributes:
        columns: Sources by column, in the view's order; sorted, and empty for a constant.
        problem: Why they are not known; ``None`` when they are.
        joined: By column, what the rows behind it are joined or grouped by: no sources of its value.
        equal: Pairs of columns that joins hold equal: one value under two names.
    """

    columns: Mapping[str, tuple[Source, ...]]
    problem: str | None = None
    joined: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    equal: tuple[tuple[Source, Source], ...] = ()


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
    found = lineage_of[view]
    joined = {c: tuple(sorted(set(_joined(lineage_of, view, c)))) for c in columns}
    # A key that another view makes of several columns is taken for each: rather too many than too few.
    equal = {
        (min(a, b), max(a, b))
        for each in lineage_of.values()
        if found.problem is None
        for left, right in each.equal
        for a in _first(lineage_of, [left])
        for b in _first(lineage_of, [right])
        if a != b
    }
    return ViewLineage(columns, found.problem, joined, tuple(sorted(equal)))


def _joined(lineage_of: Mapping[str, ViewLineage], view: str, column: str) -> Iterable[Source]:
    """Keys of a column in its own view, and in the views that it is made from."""
    yield from _first(lineage_of, lineage_of[view].joined.get(column, ()))
    for source in lineage_of[view].columns.get(column, ()):
        if source.relation in lineage_of:
            yield from _joined(lineage_of, source.relation, source.column)


def _first(lineage_of: Mapping[str, ViewLineage], sources: Iterable[Source]) -> Iterable[Source]:
    for source in sources:
        if source.relation in lineage_of:
            yield from _first(lineage_of, lineage_of[source.relation].columns[source.column])
        else:
            yield source


def relations_read(view: View) -> dict[str, int | None]:
    """The relations that a view reads itself, each with the first line of its compiled SQL that names it.

    Empty where sqlglot does not understand the SQL.
    """
    try:
        query = parse_one(view.sql, dialect=_DIALECT)
    except SqlglotError:
        return {}
    found: dict[str, int | None] = {}
    # Common table expressions have no schema before their name.
    for table in sorted((t for t in query.find_all(exp.Table) if t.db), key=_line):
        found.setdefault(table.name, _line(table) or None)
    return found


def _line(table: exp.Table) -> int:
    """The line on which a table is named; 0 where sqlglot does not know."""
    return int(table.this.meta.get("line", 0))


def row_expression(view: View, relations: Mapping[str, Sequence[str]], column: str) -> RowExpression | None:
    """How a view computes a column from one row of one relation that it reads itself.

    Args:
        view: The compiled view.
        relations: Columns by relation, of all that the view reads.
        column: The view's column.

    Returns:
        None where other rows, several relations, a subquery or chance have a part in it, where the view
        groups its rows, and where sqlglot does not understand it.
    """
    try:
        query, _ = _qualified(view, relations)
        scope = build_scope(query)
    except (SqlglotError, ValueError):
        return None
    if scope is None or not isinstance(query, exp.Select) or any(query.args.get(k) for k in _REGROUPING):
        return None
    made = next((s.unalias() for s in query.selects if s.alias_or_name == column), None)
    if made is None or made.find(*_BEYOND_THE_ROW) is not None:
        return None
    read = list(made.find_all(exp.Column))
    aliases = {c.table for c in read}
    source = scope.sources.get(aliases.pop()) if len(aliases) == 1 else None
    if not isinstance(source, exp.Table):
        return None
    mine = {id(c) for c in read}
    choosing = frozenset(c.name for c in query.find_all(exp.Column) if id(c) not in mine)
    literals = [n.name for n in made.find_all(exp.Literal)]
    literals += [str(n.this).lower() for n in made.find_all(exp.Boolean)]
    inner = made
    while isinstance(inner, exp.Cast | exp.Paren):
        inner = inner.this
    bare = made.copy()
    for each in [bare] if isinstance(bare, exp.Column) else list(bare.find_all(exp.Column)):
        each.set("table", None)
    return RowExpression(
        relation=source.name,
        columns=tuple(sorted({c.name for c in read})),
        sql=bare.sql(dialect=_DIALECT),
        literals=tuple(dict.fromkeys(literals)),
        plain=isinstance(inner, exp.Column),
        choosing=choosing,
    )


def _of(view: View, relations: Mapping[str, Sequence[str]]) -> ViewLineage:
    try:
        query, schema = _qualified(view, relations)
        scope = build_scope(query)
        nodes = lineage(None, query, schema, dialect=_DIALECT, scope=scope, trim_selects=False)
        columns = {name: _sources(node) for name, node in nodes.items()}
        if scope is None:
            return ViewLineage(columns)
        return ViewLineage(
            columns,
            joined={name: tuple(sorted(Source(*k) for k in join_keys(scope, name))) for name in columns},
            equal=tuple(sorted((Source(*a), Source(*b)) for a, b in equal_columns(scope))),
        )
    except _UnknownRelationError as unknown:
        return ViewLineage({}, f"the columns of {unknown}, which it reads, are not known")
    except (SqlglotError, ValueError) as error:
        return ViewLineage({}, f"sqlglot does not understand the SQL: {str(error).splitlines()[0]}")


def _qualified(view: View, relations: Mapping[str, Sequence[str]]) -> tuple[exp.Expr, MappingSchema]:
    """The view's query with each column's relation named, once for all columns.

    Raises:
        SqlglotError: It is not understood, or reads a column or relation that is not known.
    """
    schema = MappingSchema(dialect=_DIALECT)
    query = parse_one(view.sql, dialect=_DIALECT)
    for table in query.find_all(exp.Table):
        # Common table expressions have no schema before their name.
        if table.db:
            if table.name not in relations:
                raise _UnknownRelationError(table.name)
            schema.add_table(table, dict.fromkeys(relations[table.name], "unknown"), dialect=_DIALECT)
    return qualify(query, schema=schema, dialect=_DIALECT), schema


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
