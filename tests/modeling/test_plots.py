"""Pictures are PNGs that show what they are given."""

import io

import matplotlib.image
import numpy as np
import pytest

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import GateConfig, SliceConfig
from ml_platform.modeling import plots
from ml_platform.modeling.evaluate import Evaluation, evaluate
from ml_platform.modeling.gates import Gate, assess

from .parcels import parcels

SLICES = (SliceConfig(column="depot"),)
TABLE = parcels(days=8)
TRUTH = TABLE["truth"].to_numpy()


def _size(data: bytes) -> tuple[int, int]:
    height, width = matplotlib.image.imread(io.BytesIO(data), format="png").shape[:2]
    return width, height


@pytest.fixture(scope="module")
def evaluations() -> dict[str, Evaluation]:
    scores = {"candidate": TRUTH, "baseline": np.full(TRUTH.size, 0.3)}
    return {n: evaluate(TABLE, s, kind=Binary(), label="late", slices=SLICES) for n, s in scores.items()}


def test_each_picture_is_a_png_that_depends_on_the_data_only(evaluations: dict[str, Evaluation]) -> None:
    assert min(_size(plots.reliability(evaluations))) > 400
    both = plots.roc(evaluations)
    assert min(_size(both)) > 400
    assert both == plots.roc(evaluations)
    assert both != plots.roc({"candidate": evaluations["candidate"]})


def test_importance_grows_with_its_features() -> None:
    few = _size(plots.importance({"a": 0.7, "b": 0.3}))
    many = _size(plots.importance({f"f{i}": 1 / 30 for i in range(30)}))
    more = _size(plots.importance({f"f{i}": 1 / 90 for i in range(90)}))
    assert few[1] < many[1] == more[1]


def test_slices_show_the_gates_segments(evaluations: dict[str, Evaluation]) -> None:
    settings = GateConfig(slices=SLICES, slice_minimum_rows=50)
    found = assess(
        evaluations["candidate"],
        settings,
        baseline=evaluations["baseline"],
        champion=None,
        kind=Binary(),
        constant=(0.3,),
    )
    drawn = plots.slices(found.gates[-1])
    empty = plots.slices(Gate("slices", "UNKNOWN", None, "<=", None, "there is no evaluation"))
    assert _size(drawn)[1] > _size(empty)[1] > 100


def test_one_class_has_an_empty_roc() -> None:
    single = evaluate(TABLE.assign(late=False), TRUTH, kind=Binary(), label="late")
    assert _size(plots.roc({"candidate": single}))[0] > 400
