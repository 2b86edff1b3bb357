"""Metrics are what they are called."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from ml_platform.errors import ConfigError, IntegrityError, NotReadyError
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import SliceConfig
from ml_platform.modeling.evaluate import Evaluation, evaluate

from .parcels import parcels

SLICES = (SliceConfig(column="depot"), SliceConfig(column="weight", bands=(2, 6)))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return parcels(days=14, rows=300, seed=2)


@pytest.fixture(scope="module")
def evaluation(table: pd.DataFrame) -> Evaluation:
    return evaluate(table, table["truth"].to_numpy(), kind=Binary(), label="late", slices=SLICES)


def test_metrics_of_four_rows_by_hand() -> None:
    table = pd.DataFrame({"partition_key": ["a", "a", "b", "b"], "late": [0, 1, 0, 1]})
    found = evaluate(table, np.array([0.2, 0.6, 0.4, 0.4]), kind=Binary(), label="late")
    assert found.quality == pytest.approx(0.875)
    assert found.loss == pytest.approx(-np.mean(np.log([0.8, 0.6, 0.6, 0.4])))
    assert found.values["brier"] == pytest.approx((0.04 + 0.16 + 0.16 + 0.36) / 4)
    assert found.bias.value == pytest.approx(-0.1)
    assert [(d.partition_key, d.rows, d.outcomes[0]) for d in found.days] == [("a", 2, 0.5), ("b", 2, 0.5)]
    assert (found.bias.low, found.bias.high) == (None, None)


def test_the_whole_agrees_with_its_days_and_segments(table: pd.DataFrame, evaluation: Evaluation) -> None:
    assert evaluation.loss == pytest.approx(log_loss(table["late"], table["truth"]))
    weighted = sum(d.rows * d.loss for d in evaluation.days) / evaluation.rows
    assert weighted == pytest.approx(evaluation.loss)
    for column in ("depot", "weight"):
        segments = [s for s in evaluation.segments if s.column == column]
        assert sum(s.rows for s in segments) == evaluation.rows
        assert sum(s.rows * s.loss for s in segments) / evaluation.rows == pytest.approx(evaluation.loss)


def test_a_segment_is_that_of_its_rows(table: pd.DataFrame, evaluation: Evaluation) -> None:
    east = table[table["depot"] == "east"]
    found = next(s for s in evaluation.segments if s.value == "east")
    assert found.loss == pytest.approx(log_loss(east["late"], east["truth"]))
    share = sum(d.rows * d.outcomes[0] for d in found.days) / found.rows
    assert share == pytest.approx(east["late"].mean())
    assert sum(d.rows for d in found.days) == len(east)


def test_the_truth_is_calibrated_and_a_shift_is_not(table: pd.DataFrame, evaluation: Evaluation) -> None:
    shifted = evaluate(table, np.clip(table["truth"] + 0.15, 0, 1).to_numpy(), kind=Binary(), label="late")
    assert evaluation.calibration_error < 0.04
    assert shifted.calibration_error > 0.1
    assert shifted.bias.low is not None
    assert shifted.bias.low > 0.1
    assert sum(b.rows for b in evaluation.channels[0].bins) == evaluation.rows


def test_scores_that_are_no_probabilities_are_counted(table: pd.DataFrame) -> None:
    scores = table["truth"].to_numpy().copy()
    scores[:3] = [np.nan, 1.2, -0.1]
    found = evaluate(table, scores, kind=Binary(), label="late")
    assert (found.unscored, found.rows) == (3, len(table) - 3)


def test_no_valid_score_at_all_is_an_error(table: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="has a valid score of a binary model"):
        evaluate(table, np.full(len(table), np.nan), kind=Binary(), label="late")


def test_another_number_of_scores_is_an_error(table: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match=r"4200 rows have scores of shape \(7,\)"):
        evaluate(table, np.full(7, 0.5), kind=Binary(), label="late")


def test_a_null_label_is_an_error(table: pd.DataFrame) -> None:
    unknown = table.astype({"late": "object"})
    unknown.loc[0, "late"] = None
    with pytest.raises(NotReadyError):
        evaluate(unknown, table["truth"].to_numpy(), kind=Binary(), label="late")


def test_one_class_has_no_auc(table: pd.DataFrame) -> None:
    found = evaluate(table.assign(late=0), table["truth"].to_numpy(), kind=Binary(), label="late")
    assert found.quality is None and found.channels[0].auc is None
    assert found.channels[0].roc == ()
    assert "auc" not in found.metrics()


def test_equal_scores_share_a_bin(table: pd.DataFrame) -> None:
    found = evaluate(table, np.full(len(table), 0.25), kind=Binary(), label="late")
    assert len(found.channels[0].bins) == 1
    assert found.quality == pytest.approx(0.5)


def test_json_brings_it_back(evaluation: Evaluation) -> None:
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]"])
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="no evaluation"):
        Evaluation.from_json(data)


def test_another_schema_is_refused(evaluation: Evaluation) -> None:
    data = evaluation.to_json().replace(b'"schema_version":2', b'"schema_version":9')
    with pytest.raises(IntegrityError, match="schema is 9"):
        Evaluation.from_json(data)


def test_the_rows_digest_is_of_the_rows(table: pd.DataFrame, evaluation: Evaluation) -> None:
    same = evaluate(
        table.sample(frac=1, random_state=1), np.full(len(table), 0.3), kind=Binary(), label="late"
    )
    other = evaluate(table.iloc[1:], table["truth"].to_numpy()[1:], kind=Binary(), label="late")
    assert same.rows_digest == evaluation.rows_digest != other.rows_digest
