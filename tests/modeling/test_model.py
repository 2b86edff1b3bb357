"""A model scores whatever it is given."""

import numpy as np
import pytest

from ml_platform.errors import ConfigError
from ml_platform.modeling.train import TrainedModel

from .parcels import parcels


def test_unseen_and_missing_categories_score_alike_and_in_bounds(either: TrainedModel) -> None:
    rows = parcels(days=1).head(10)
    unseen = either.model.predict(rows.assign(depot="moon"))
    missing = either.model.predict(rows.assign(depot=None))
    assert np.array_equal(unseen, missing)
    assert ((unseen > 0) & (unseen < 1)).all()
    assert not np.array_equal(unseen, either.model.predict(rows.assign(depot="west")))


def test_no_rows_have_no_scores(either: TrainedModel) -> None:
    assert either.model.predict(parcels(days=1).head(0)).shape == (0,)


def test_other_columns_are_ignored(either: TrainedModel) -> None:
    rows = parcels(days=1)
    bare = rows[["distance", "weight", "depot"]]
    assert np.array_equal(either.model.predict(rows), either.model.predict(bare))


def test_a_missing_feature_is_named(either: TrainedModel) -> None:
    with pytest.raises(ConfigError, match="distance"):
        either.model.predict(parcels(days=1).drop(columns="distance"))
