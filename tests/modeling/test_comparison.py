"""Two evaluations are compared only on the same rows."""

import numpy as np
import pytest

from ml_platform.config import SliceConfig
from ml_platform.modeling.comparison import (
    CannotJudgeError,
    Missing,
    constant_loss,
    paired,
    segment_harm,
    whole,
)
from ml_platform.modeling.evaluate import evaluate
from ml_platform.modeling.frames import log_losses

from .parcels import parcels

TABLE = parcels(days=10, seed=6)
TRUTH = TABLE["truth"].to_numpy()
SLICES = (SliceConfig(column="depot"),)


def test_the_paired_difference_is_the_mean_of_days() -> None:
    one, other = (evaluate(TABLE, s, label="late") for s in (TRUTH, np.full(len(TABLE), 0.3)))
    labels = TABLE["late"].to_numpy(np.float64)
    rows = log_losses(labels, TRUTH) - log_losses(labels, np.full(len(TABLE), 0.3))
    assert paired(one, other, "it").value == pytest.approx(rows.mean())
    assert paired(one, other, "it").days == 10


def test_other_rows_cannot_be_compared() -> None:
    one = evaluate(TABLE, TRUTH, label="late")
    flipped = TABLE.assign(late=~TABLE["late"])
    for other in (evaluate(TABLE[120:], TRUTH[120:], label="late"), evaluate(flipped, TRUTH, label="late")):
        with pytest.raises(CannotJudgeError, match="not evaluated on the same rows"):
            paired(one, other, "the champion")


def test_the_loss_of_a_constant_is_that_of_its_rows() -> None:
    labels = TABLE["late"].to_numpy(np.float64)
    said = log_losses(labels, np.full(labels.size, 0.2)).mean()
    assert constant_loss(np.array([labels.mean()]), 0.2)[0] == pytest.approx(said)


def test_harm_of_a_segment_counts_each_row_once() -> None:
    model = evaluate(TABLE, TRUTH, label="late", slices=SLICES)
    reference = evaluate(TABLE, np.full(len(TABLE), 0.3), label="late", slices=SLICES)
    segment = model.segments[0]
    _, harm = segment_harm(segment, reference, 0.3)
    assert harm.value == pytest.approx(segment.log_loss - reference.segments[0].log_loss)
    assert segment_harm(segment, None, 0.3)[1].value == pytest.approx(harm.value)


def test_missing_evidence_says_why() -> None:
    with pytest.raises(CannotJudgeError, match="its bundle is damaged"):
        whole(Missing("its bundle is damaged"), "the champion")
    with pytest.raises(CannotJudgeError, match="no evaluation of the model"):
        whole(None, "the model")
