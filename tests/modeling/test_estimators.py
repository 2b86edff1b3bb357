"""Both kinds of models keep the same promises."""

import numpy as np
import pytest

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import EstimatorName
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.estimators import ESTIMATORS, fit, resolve_parameters
from ml_platform.modeling.frames import log_odds
from ml_platform.modeling.task import Task
from ml_platform.modeling.train import TrainedModel

from .parcels import parcels, settings

TASK = Task(Binary())


def test_contributions_add_up_to_the_log_odds(either: TrainedModel) -> None:
    model, rows = either.model, parcels(days=2, seed=5)
    odds = log_odds(model.fitted.predict(model.encoder.encode(rows)))
    terms = model.contributions(rows)
    assert terms.shape == (240, 4)
    np.testing.assert_allclose(terms.sum(axis=1), odds, atol=1e-9)


def test_one_row_scores_as_it_does_among_others(either: TrainedModel) -> None:
    model, rows = either.model, parcels(days=2, seed=5)
    single = np.concatenate([model.predict(rows.iloc[[i]]) for i in range(20)])
    assert np.array_equal(single, model.predict(rows)[:20])


def test_an_estimator_read_back_from_its_bytes_scores_and_stores_the_same(either: TrainedModel) -> None:
    model = either.model
    matrix = model.encoder.encode(parcels(days=2, seed=5))
    again = ESTIMATORS[model.estimator].load(model.fitted.to_bytes(), model.encoder, model.task)
    assert np.array_equal(again.predict(matrix), model.fitted.predict(matrix))
    assert again.to_bytes() == model.fitted.to_bytes()


@pytest.mark.parametrize("kind", ["lightgbm", "logistic"])
def test_features_of_one_kind_are_enough(kind: EstimatorName) -> None:
    table, config = parcels(days=4), settings()
    for chosen in (config.features[:1], config.features[1:]):
        encoder = Encoder.fit(table, chosen)
        matrix, labels = encoder.encode(table), table["late"].to_numpy(np.float64)
        fitted = fit(kind, matrix, labels, encoder, resolve_parameters(kind, {}, TASK), 1, None, TASK)
        assert fitted.predict(matrix)[labels == 1].mean() > fitted.predict(matrix)[labels == 0].mean()
        assert fitted.contributions(matrix).shape == (480, len(chosen) + 1)


@pytest.mark.parametrize("kind", ["lightgbm", "logistic"])
def test_a_feature_without_any_value_does_no_harm(kind: EstimatorName) -> None:
    table = parcels(days=4).assign(weight=np.nan)
    encoder = Encoder.fit(table, settings().features)
    matrix, labels = encoder.encode(table), table["late"].to_numpy(np.float64)
    fitted = fit(kind, matrix, labels, encoder, resolve_parameters(kind, {}, TASK), 1, None, TASK)
    assert np.isfinite(fitted.predict(matrix)).all()


def test_an_unknown_parameter_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no parameter device(.|\n)*num_leaves"):
        resolve_parameters("lightgbm", {"device": "gpu"}, TASK)


def test_own_parameters_lie_on_top_of_the_defaults() -> None:
    assert resolve_parameters("logistic", {"C": 2}, TASK) == {"C": 2.0, "max_iter": 500, "tol": 1e-4}


def test_one_class_cannot_be_learned() -> None:
    table = parcels(days=2).assign(late=False)
    encoder = Encoder.fit(table, settings().features)
    with pytest.raises(NotReadyError, match="both classes are needed"):
        fit("logistic", encoder.encode(table), np.zeros(240), encoder, {}, 1, None, TASK)
