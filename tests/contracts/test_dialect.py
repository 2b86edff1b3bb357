"""What a contract may name exists in the libraries that are meant to do it."""

import pytest
from great_expectations.expectations.registry import get_expectation_impl

from ml_platform.contracts.dialect import EXPECTATIONS


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_each_expectation_takes_the_arguments_we_allow(name: str) -> None:
    fields = get_expectation_impl(name).__fields__
    assert EXPECTATIONS[name].arguments <= set(fields)
    needed = {n for n, f in fields.items() if f.required}
    shape = EXPECTATIONS[name]
    assert needed <= {*shape.columns, *shape.required}


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_each_is_judged_by_rows_or_as_a_whole_as_we_say(name: str) -> None:
    bases = {b.__name__ for b in get_expectation_impl(name).__mro__}
    by_row = {"ColumnMapExpectation", "ColumnPairMapExpectation", "MulticolumnMapExpectation"}
    assert bool(bases & by_row) == EXPECTATIONS[name].by_row
