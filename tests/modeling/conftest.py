"""One model of each kind, trained once."""

import pytest

from ml_platform.modeling.train import TrainedModel

from .parcels import parcels, trained


@pytest.fixture(scope="package")
def boosting() -> TrainedModel:
    return trained(parcels())


@pytest.fixture(scope="package")
def logistic() -> TrainedModel:
    return trained(parcels(), estimator="logistic")


@pytest.fixture(params=["boosting", "logistic"])
def either(request: pytest.FixtureRequest) -> TrainedModel:
    model: TrainedModel = request.getfixturevalue(request.param)
    return model
