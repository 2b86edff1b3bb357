"""The logistic pipeline is read only as what it is."""

import pytest
from sklearn.pipeline import Pipeline

from ml_platform.errors import IntegrityError
from ml_platform.modeling import skops_format
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.linear import Linear
from ml_platform.modeling.train import TrainedModel


def test_the_pipeline_of_other_features_is_refused(logistic: TrainedModel) -> None:
    fewer = Encoder((("weight", "numeric"),), {})
    with pytest.raises(IntegrityError, match="no pipeline of the bundle's features"):
        Linear.load(logistic.model.fitted.to_bytes(), fewer, logistic.model.task)


def test_an_allowed_type_that_is_no_pipeline_is_refused(logistic: TrainedModel) -> None:
    assert isinstance(logistic.model.fitted, Linear)
    part = logistic.model.fitted.pipeline["model"]
    assert not isinstance(part, Pipeline)
    with pytest.raises(IntegrityError, match="no pipeline"):
        Linear.load(skops_format.dumps(part), logistic.model.encoder, logistic.model.task)
