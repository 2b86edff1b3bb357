"""What a feature looked like in training."""

import numpy as np
import pytest

from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.summaries import summarise


def test_numbers_and_categories_are_summed_up() -> None:
    encoder = Encoder((("weight", "numeric"), ("depot", "categorical")), {"depot": ("east", "west")})
    weight, depot = summarise(encoder, np.array([[1.0, 1], [3.0, 2], [np.nan, 2], [5.0, 0]]))
    assert (weight.missing, weight.mean, weight.quantiles[0], weight.quantiles[-1]) == (0.25, 3.0, 1.0, 5.0)
    assert (depot.missing, depot.shares) == (0.25, {"east": 0.25, "west": 0.5})


def test_a_feature_without_values_has_no_mean() -> None:
    (empty,) = summarise(Encoder((("weight", "numeric"),), {}), np.full((3, 1), np.nan))
    assert empty.missing == pytest.approx(1.0)
    assert empty.mean is None
    assert empty.quantiles == ()


def test_a_feature_of_one_value_is_constant_unless_some_rows_lack_it() -> None:
    encoder = Encoder(
        (("one", "numeric"), ("gaps", "numeric"), ("two", "numeric"), ("word", "categorical")),
        {"word": ("a", "b")},
    )
    matrix = np.array([[3.0, 3.0, 3.0, 1], [3.0, np.nan, 4.0, 1]])
    assert [f.name for f in summarise(encoder, matrix) if f.constant] == ["one", "word"]
