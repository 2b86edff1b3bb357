"""Numbers of any size read like numbers."""

import math

import pytest

from ml_platform.numbers import number, signed


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (103_912.3, "104,000"),
        (16_967.0, "16,967"),
        (123_456_789, "123,456,789"),
        (1_234.56, "1,230"),
        (99.96, "100"),
        (4.779, "4.78"),
        (0.5, "0.5"),
        (0.0511, "0.0511"),
        (-0.000_123_4, "-0.000123"),
        (1.234e-9, "1.23e-09"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "–"),
    ],
)
def test_no_number_is_written_in_powers_of_ten_or_with_digits_that_say_nothing(
    value: float | None, shown: str
) -> None:
    assert number(value) == shown


def test_more_digits_and_signs_are_shown_where_they_are_asked_for() -> None:
    assert number(103_912.3, 4) == "103,900"
    assert (signed(0.1), signed(-0.1), signed(2_000.0)) == ("+0.1", "-0.1", "+2,000")
    assert signed(-math.inf, missing="none yet") == "none yet"
