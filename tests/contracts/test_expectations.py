"""What the validator adds to Great Expectations changes no answer."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from great_expectations.datasource.fluent.interfaces import Batch
from great_expectations.expectations import expectation as gx_expectation

from ml_platform.contracts import expectations
from ml_platform.contracts.model import Expectation

FRAME = pd.DataFrame({"fare": [1.0, 250.0, np.nan, 7.5, -3.0], "kind": ["a", "b", "c", "b", "a"]})
ASKED = {
    "range": Expectation(
        "expect_column_values_to_be_between", {"column": "fare", "min_value": 0, "max_value": 99}
    ),
    "same range": Expectation("expect_column_values_to_be_between", {"column": "fare", "min_value": 0}),
    "known": Expectation("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["a", "b"]}),
    "filled": Expectation("expect_column_values_to_not_be_null", {"column": "kind"}),
    "no column": Expectation("expect_column_values_to_not_be_null", {"column": "nothing"}),
}


def told(asked: Mapping[str, Expectation]) -> dict[str, tuple[bool, list[int], bool]]:
    found = expectations.validator().rows(FRAME, asked)
    return {name: (o.success, o.rows.tolist(), bool(o.error)) for name, o in found.items()}


def test_an_expectation_is_told_from_others_of_its_kind() -> None:
    assert told(ASKED) == {
        "range": (False, [1, 4], False),
        "same range": (False, [4], False),
        "known": (False, [2], False),
        "filled": (True, [], False),
        "no column": (False, [], True),
    }


def test_the_library_alone_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = told(ASKED)
    monkeypatch.setattr(gx_expectation.Expectation, "configuration", property(expectations._spell))

    assert told(ASKED) == ours


def test_a_validation_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Batch, "validate", fails)
        told(ASKED)

    assert not hasattr(expectations._OF_THREAD, "spelled")
    assert told({"range": ASKED["same range"]}) == {"range": (False, [4], False)}
