"""The card says what the evaluation says."""

from dataclasses import replace

import pytest

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import GateConfig, SliceConfig
from ml_platform.modeling.card import CardText, model_card
from ml_platform.modeling.comparison import Missing
from ml_platform.modeling.evaluate import evaluate
from ml_platform.modeling.gates import assess
from ml_platform.modeling.train import TrainedModel

from .parcels import parcels

TEXT = CardText(
    "Late parcels", "Will it be late?", "Later | than promised.", "depots", {"depot": "Where from."}
)
SLICES = (SliceConfig(column="depot"),)


@pytest.fixture(scope="module")
def card(boosting: TrainedModel) -> str:
    table = parcels(days=8, seed=3)
    evaluation = evaluate(table, boosting.model.predict(table), kind=Binary(), label="late", slices=SLICES)
    settings = GateConfig(slices=SLICES, slice_minimum_rows=50, minimum_auc=0.99)
    found = assess(
        evaluation, settings, baseline=None, champion=None, kind=Binary(), constant=boosting.model.constant
    )
    return model_card(boosting.model, "ab" * 32, TEXT, evaluation, found)


def test_it_tells_windows_metrics_gates_slices_and_versions(card: str) -> None:
    assert "| training | 2021-03-01 | 2021-03-20 | 20 | 2,400 |" in card
    assert "| gate | 2021-03-01 | 2021-03-08 | 8 | 960 |" in card
    assert "| auc | FAIL |" in card
    assert "It may not be promoted" in card
    assert "depot = east" in card
    assert "`v1`" in card
    assert "ab" * 32 in card


def test_what_did_not_pass_stands_among_the_limits(card: str) -> None:
    limits = card.split("## Limits")[1].split("## Versions", maxsplit=1)[0]
    assert "Not passed: auc: FAIL" in limits


def test_features_come_with_their_descriptions_the_strongest_first(card: str) -> None:
    rows = card.split("## Features")[1].split("## Limits", maxsplit=1)[0]
    assert rows.index("`distance`") < rows.index("`weight`")
    assert "Where from." in rows


def test_a_bar_in_a_cell_does_not_break_the_table(card: str, boosting: TrainedModel) -> None:
    text = replace(TEXT, features={"depot": "east | west"})
    assert "east \\| west" in model_card(boosting.model, "ab" * 32, text, None, None)


def test_without_an_evaluation_it_says_so(boosting: TrainedModel) -> None:
    found = assess(
        Missing("killed"), GateConfig(), baseline=None, champion=None, kind=Binary(), constant=(0.3,)
    )
    card = model_card(boosting.model, "ab" * 32, TEXT, None, found)
    assert "Not evaluated yet, so it cannot be promoted." in card
    assert "| bias | UNKNOWN |" in card
    assert "Not judged yet" in model_card(boosting.model, "ab" * 32, TEXT, None, None)
