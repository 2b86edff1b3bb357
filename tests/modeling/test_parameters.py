"""A parameter has a type and a range."""

import pytest

from ml_platform.errors import ConfigError
from ml_platform.modeling.parameters import Parameter


def test_a_whole_number_may_be_written_as_a_float() -> None:
    value = Parameter(8, 2, 64).check("leaves", 16.0)
    assert value == 16
    assert isinstance(value, int)


@pytest.mark.parametrize("value", [1, 65, 8.5, "many", True, float("nan")])
def test_anything_else_is_refused_with_the_range(value: object) -> None:
    with pytest.raises(ConfigError, match="a whole number from 2 to 64"):
        Parameter(8, 2, 64).check("leaves", value)  # type: ignore[arg-type]
