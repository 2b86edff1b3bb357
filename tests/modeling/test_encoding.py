"""Categories keep their codes, and what is unknown has its own."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError
from ml_platform.model_config import FeatureConfig
from ml_platform.modeling.encoding import Encoder, as_text

FEATURES = (FeatureConfig(name="depot", kind="categorical"), FeatureConfig(name="weight"))


@pytest.fixture
def encoder() -> Encoder:
    return Encoder.fit(pa.table({"depot": ["west", "east", None], "weight": [1.0, 2.0, 3.0]}), FEATURES)


def test_categories_are_sorted_and_unknown_ones_share_code_zero(encoder: Encoder) -> None:
    table = pa.table({"depot": ["west", "moon", None, "east"], "weight": [1, 2, 3, 4]})
    assert encoder.vocabularies == {"depot": ("east", "west")}
    assert encoder.encode(table)[:, 0].tolist() == [2, 0, 0, 1]


def test_codes_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    table = pd.DataFrame({"depot": ["moon", "west"], "weight": [1.0, np.nan]})
    whole = encoder.encode(table)
    single = np.vstack([encoder.encode(table.iloc[[i]]) for i in range(2)])
    assert np.array_equal(whole, single, equal_nan=True)


def test_numbers_that_are_missing_or_infinite_are_nan(encoder: Encoder) -> None:
    table = pa.table({"depot": ["east"] * 3, "weight": [None, float("inf"), 2.5]})
    assert np.array_equal(encoder.encode(table)[:, 1], [np.nan, np.nan, 2.5], equal_nan=True)


def test_whole_numbers_are_one_category_as_integers_and_as_floats() -> None:
    integers = as_text(pa.chunked_array([[3, 10_000_000_000]]))
    floats = as_text(pa.chunked_array([[3.0, 1e10, None, float("nan"), 2.5]]))
    assert integers.to_pylist() == ["3", "10000000000"]
    assert floats.to_pylist() == ["3", "10000000000", None, None, "2.5"]


def test_text_in_a_numeric_feature_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match="numeric feature weight has type string"):
        encoder.encode(pa.table({"depot": ["east"], "weight": ["12"]}))


def test_a_missing_feature_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match="weight"):
        encoder.encode(pa.table({"depot": ["east"]}))
