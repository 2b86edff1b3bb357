"""Rows fall into the segments that a slice names."""

import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError
from ml_platform.model_config import SliceConfig
from ml_platform.modeling.segments import segment_codes


def _segments(values: list[object], **config: object) -> list[str]:
    table = pa.table({"x": values})
    names, codes = segment_codes(table, SliceConfig.model_validate({"column": "x", **config}))
    return [names[c] for c in codes]


def test_each_value_is_a_segment_and_so_is_a_missing_one() -> None:
    assert _segments(["b", None, "a", "b"]) == ["b", "(missing)", "a", "b"]
    assert _segments([3, None, 1]) == ["3", "(missing)", "1"]


def test_a_band_holds_its_lower_edge() -> None:
    found = _segments([5.9, 6.0, 11.9, 12.0, 30.0, None], bands=[12, 6])
    assert found == ["<6", "6 to <12", "6 to <12", "≥12", "≥12", "(missing)"]


def test_bands_on_text_are_an_error() -> None:
    with pytest.raises(ConfigError, match="holds no numbers"):
        _segments(["a"], bands=[1])


def test_too_many_values_ask_for_bands() -> None:
    with pytest.raises(ConfigError, match="600 values"):
        _segments([float(i) + 0.5 for i in range(600)])
