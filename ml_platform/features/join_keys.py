"""Which columns a view's rows are brought together by: equalities of joins and groups behind each column.

Such a column is no source of a value: it chose the rows that the value is computed from. Two columns that a
join holds equal are one value under two names, so that what is said of one holds for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

Key = tuple[str, str]
"""Relation and column."""


def join_keys(scope: Scope, column: str) -> set[Key]:
    """Columns of relations by which the rows behind a column are joined or grouped."""
    found: set[Key] = set()
    for select in _selects(scope):
        made = _projection(select, column)
        if made is None:
            continue
        aliases = {c.table for c in made.find_all(exp.Column)}
        # Without a column, as in count(*), a value hangs on every row of the query.
        for join in select.expression.args.get("joins") or ():
            if not aliases or join.alias_or_name in aliases:
                for pair in _equalities(join):
                    for side in pair:
                        found |= origins(select, side)
        if made.find(exp.AggFunc):
            for key in _groups(select):
                found |= origins(select, key)
        for read in made.find_all(exp.Column):
            source = select.sources.get(read.table)
            if isinstance(source, Scope):
                found |= join_keys(source, read.name)
    return found


def equal_columns(scope: Scope) -> set[tuple[Key, Key]]:
    """Pairs of columns of relations that joins hold equal, wherever in the query."""
    found = set()
    for each in scope.traverse():
        for join in each.expression.args.get("joins") or ():
            for left, right in _equalities(join):
                for a in origins(each, left, plain=True):
                    found |= {(min(a, b), max(a, b)) for b in origins(each, right, plain=True) if a != b}
    return found


def origins(scope: Scope, column: exp.Column, plain: bool = False) -> set[Key]:
    """The columns of relations that a column of a query is made from.

    Args:
        scope: The query.
        column: One of the columns that it reads.
        plain: Only where it is such a column under another name, cast at most.
    """
    source = scope.sources.get(column.table)
    if isinstance(source, exp.Table):
        return {(source.name, column.name)}
    found: set[Key] = set()
    for select in _selects(source) if isinstance(source, Scope) else ():
        made = _projection(select, column.name)
        inner = made
        while isinstance(inner, exp.Cast | exp.Paren):
            inner = inner.this
        if made is None or (plain and not isinstance(inner, exp.Column)):
            continue
        for read in made.find_all(exp.Column):
            found |= origins(select, read, plain)
    return found


def _selects(scope: Scope) -> Iterator[Scope]:
    """The queries of a union; else the query itself."""
    if scope.set_operation_scopes:
        for each in scope.set_operation_scopes:
            yield from _selects(each)
    elif isinstance(scope.expression, exp.Select):
        yield scope


def _projection(scope: Scope, name: str) -> exp.Expr | None:
    return next((s.unalias() for s in _values(scope) if s.alias_or_name == name), None)


def _values(scope: Scope) -> list[exp.Expr]:
    query = scope.expression
    return query.selects if isinstance(query, exp.Select) else []


def _equalities(join: exp.Join) -> Iterable[tuple[exp.Column, exp.Column]]:
    on = join.args.get("on")
    for equality in on.find_all(exp.EQ) if on is not None else ():
        if isinstance(equality.this, exp.Column) and isinstance(equality.expression, exp.Column):
            yield equality.this, equality.expression


def _groups(scope: Scope) -> list[exp.Column]:
    """Columns that a query groups by; with ``group by all``, those of its values without an aggregate."""
    group = scope.expression.args.get("group")
    if group is None:
        return []
    if group.expressions:
        return [c for e in group.expressions for c in e.find_all(exp.Column)]
    plain = (s for s in _values(scope) if not s.find(exp.AggFunc))
    return [c for s in plain for c in s.find_all(exp.Column)]
