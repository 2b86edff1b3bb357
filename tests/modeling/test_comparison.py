"""Two evaluations are compared only on the same rows."""

import numpy as np
import pytest

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import SliceConfig
from ml_platform.modeling.comparison import (
    CannotJudgeError,
    Missing,
    paired,
    segment_harm,
    whole,
)
from ml_platform.modeling.evaluate import evaluate

from .parcels import parcels

KIND = Binary()

TABLE = parcels(days=10, seed=6)
TRUTH = TABLE["truth"].to_numpy()
SLICES = (SliceConfig(column="depot"),)


def test_the_paired_difference_is_the_mean_of_days() -> None:
    one, other = (evaluate(TABLE, s, kind=Binary(), label="late") for s in (TRUTH, np.full(len(TABLE), 0.3)))
    labels = TABLE["late"].to_numpy(np.float64)
    rows = KIND.losses(labels, TRUTH) - KIND.losses(labels, np.full(len(TABLE), 0.3))
    assert paired(one, other, "it").value == pytest.approx(rows.mean())
    assert paired(one, other, "it").days == 10


def test_other_rows_cannot_be_compared() -> None:
    one = evaluate(TABLE, TRUTH, kind=Binary(), label="late")
    flipped = TABLE.assign(late=~TABLE["late"])
    fewer = evaluate(TABLE[120:], TRUTH[120:], kind=Binary(), label="late")
    for other in (fewer, evaluate(flipped, TRUTH, kind=Binary(), label="late")):
        with pytest.raises(CannotJudgeError, match="not evaluated on the same rows"):
            paired(one, other, "the champion")


def test_the_loss_of_a_constant_is_that_of_its_rows() -> None:
    labels = TABLE["late"].to_numpy(np.float64)
    said = KIND.losses(labels, np.full(labels.size, 0.2)).mean()
    assert KIND.constant_losses(np.array([[labels.mean()]]), (0.2,))[0] == pytest.approx(said)


def test_harm_of_a_segment_counts_each_row_once() -> None:
    model = evaluate(TABLE, TRUTH, kind=Binary(), label="late", slices=SLICES)
    reference = evaluate(TABLE, np.full(len(TABLE), 0.3), kind=Binary(), label="late", slices=SLICES)
    segment = model.segments[0]
    _, harm = segment_harm(segment, reference, KIND, (0.3,))
    assert harm.value == pytest.approx(segment.loss - reference.segments[0].loss)
    assert segment_harm(segment, None, KIND, (0.3,))[1].value == pytest.approx(harm.value)


def test_missing_evidence_says_why() -> None:
    with pytest.raises(CannotJudgeError, match="its bundle is damaged"):
        whole(Missing("its bundle is damaged"), "the champion")
    with pytest.raises(CannotJudgeError, match="no evaluation of the model"):
        whole(None, "the model")
