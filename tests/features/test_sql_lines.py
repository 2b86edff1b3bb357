"""An error of SQL names the line that was written, and none where that is not certain."""

import duckdb
import pytest

from ml_platform.features.sql_lines import said, source_line

PLAIN = """select
    a,
    {{ column('b') }},
    c
from {{ ref('t') }}"""
COMPILED = """select
    a,
    "b",
    c
from "w"."t"
"""
LOOP = """{% set names = ['x',
  'y'] %}
select
    {% for n in names %}
    sum({{ n }}) as {{ n }},
    {% endfor %}
    count(*) as n
from {{ source('s', 't') }}
where z"""
UNROLLED = "\n".join(
    [
        "",
        "select",
        "    ",
        "    sum(x) as x,",
        "    ",
        "    sum(y) as y,",
        "    ",
        "    count(*) as n",
        'from "w"."t"',
        "where z",
    ]
)


@pytest.mark.parametrize("line", [1, 2, 3, 4, 5])
def test_lines_are_the_same_where_jinja_changes_none(line: int) -> None:
    assert source_line(PLAIN, COMPILED, line) == line


@pytest.mark.parametrize(
    ("compiled", "written"),
    [(10, 9), (9, 8), (8, 7), (2, None), (4, None), (6, 5), (0, None), (11, None)],
)
def test_after_a_loop_lines_are_counted_from_the_end_and_none_is_guessed(
    compiled: int, written: int | None
) -> None:
    assert source_line(LOOP, UNROLLED, compiled) == written


def test_duckdb_is_quoted_in_one_line_with_its_guess() -> None:
    with pytest.raises(duckdb.Error) as caught:
        duckdb.connect().execute("create table x as\nselect 1,\n b from (select 2 as c) as t")
    what, line = said(caught.value)
    assert line == 3
    assert what == 'Binder Error: Referenced column "b" not found in FROM clause!; Candidate bindings: "c"'
    assert said(ValueError("first\n\nsecond")) == ("first", None)
