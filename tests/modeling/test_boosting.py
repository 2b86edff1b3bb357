"""LightGBM's text is read only when it is whole and of the bundle's features."""

import pytest

from ml_platform.errors import IntegrityError
from ml_platform.modeling.boosting import Boosting
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.train import TrainedModel


@pytest.mark.parametrize(
    "damage", [lambda t: t[: len(t) // 3], lambda t: b"", lambda t: b"\xff" + t, lambda t: t[5:]]
)
def test_a_damaged_text_is_refused(boosting: TrainedModel, damage) -> None:  # type: ignore[no-untyped-def]
    payload = damage(boosting.model.fitted.to_bytes())
    with pytest.raises(IntegrityError, match="no LightGBM model"):
        Boosting.load(payload, boosting.model.encoder, boosting.model.task)


def test_trees_of_other_features_are_refused(boosting: TrainedModel) -> None:
    other = Encoder((("depot", "categorical"), ("height", "numeric"), ("distance", "numeric")), {"depot": ()})
    with pytest.raises(IntegrityError, match="other features"):
        Boosting.load(boosting.model.fitted.to_bytes(), other, boosting.model.task)
