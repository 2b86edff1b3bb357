"""What every kind of target promises, and what each says of labels, scores and decisions."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.kinds.base import Floats, Kind
from ml_platform.kinds.binary import Binary
from ml_platform.kinds.multiclass import Multiclass
from ml_platform.kinds.names import NAMES, served_columns
from ml_platform.kinds.of import KINDS, kind_named
from ml_platform.kinds.ranking import area_under_curve, concordance
from ml_platform.kinds.regression import Regression
from ml_platform.model_config import DecisionConfig, KindName, ModelConfig
from ml_platform.monitoring.arrival_law import BINARY

CLASSES = ("small", "medium", "large")
SIZES = Multiclass(CLASSES)
RNG = np.random.default_rng(3)


def example(kind: Kind, rows: int = 400) -> tuple[Floats, Floats]:
    """Codes and imperfect scores."""
    if kind.name == "binary":
        scores = RNG.random(rows)
        return (RNG.random(rows) < scores).astype(float), scores
    if kind.name == "regression":
        labels = RNG.gamma(2.0, 10.0, rows)
        return labels, labels * 0.5 + RNG.normal(10, 5, rows)
    scores = RNG.dirichlet([2.0, 1.0, 1.0], rows)
    return np.array([RNG.choice(3, p=p) for p in scores], dtype=float), scores


@pytest.fixture(params=["binary", "regression", "multiclass"])
def kind(request: pytest.FixtureRequest) -> Kind:
    name: KindName = request.param
    return kind_named(name, CLASSES if name == "multiclass" else ())


def test_scores_written_as_columns_are_read_back(kind: Kind) -> None:
    _, scores = example(kind)
    for stem in (None, "candidate"):
        columns = kind.columns(scores, stem)
        assert list(columns) == kind.names(stem)
        assert np.array_equal(kind.scores(pa.table(columns), stem), scores)
        assert np.array_equal(kind.scores(pd.DataFrame(columns), stem), scores)


def test_the_loss_of_a_constant_follows_from_the_moments(kind: Kind) -> None:
    labels, scores = example(kind)
    constant = kind.constant(labels)
    said = np.tile(constant, (labels.size, 1)) if kind.classes else np.full(labels.size, constant[0])
    by_hand = kind.losses(labels, said).mean()
    moments = kind.moments(labels).mean(axis=0, keepdims=True)
    assert kind.constant_losses(moments, constant)[0] == pytest.approx(by_hand)
    assert by_hand > kind.losses(labels, scores).mean() or kind.name == "regression"


def test_no_constant_has_a_lower_loss_than_the_best_one(kind: Kind) -> None:
    labels, _ = example(kind)
    moments = kind.moments(labels).mean(axis=0, keepdims=True)
    best = np.array(kind.constant(labels))
    other = best * 0.9 + 0.1 * (1 / len(best) if kind.bounded else best.mean() * 2)
    assert kind.constant_losses(moments, best) < kind.constant_losses(moments, other)


def test_a_score_that_is_not_a_number_is_not_valid(kind: Kind) -> None:
    _, scores = example(kind)
    scores[0] = np.nan
    assert kind.valid(scores).tolist() == [False] + [True] * (len(scores) - 1)


def test_served_columns_have_the_declared_types(kind: Kind) -> None:
    _, scores = example(kind)
    served = kind.serve(scores, None)
    assert {n: v.type for n, v in served.items()} == {n: t for n, t, _ in kind.served()}
    assert all(not served[n].null_count for n, _, nullable in kind.served() if not nullable)
    assert set(kind.names()) <= set(served)


def test_every_decision_has_words(kind: Kind) -> None:
    _, scores = example(kind)
    words = kind.decide(scores, DecisionConfig())
    assert len(words) == len(scores) and all(words)


def test_labels_as_codes_are_labels_again(kind: Kind) -> None:
    labels, _ = example(kind)
    table = kind.encoded(pa.table({"y": labels}), "y")
    assert np.array_equal(kind.labels(table, "y"), labels)


def test_a_null_label_is_an_error_that_names_the_first_partition(kind: Kind) -> None:
    labels, _ = example(kind, 6)
    values = pa.array(labels, mask=np.array([False, True] * 3))
    table = pa.table({"partition_key": list("cbacba"), "y": values})
    with pytest.raises(NotReadyError, match="3 of 6 labels are null, the first in partition a"):
        kind.labels(table, "y")
    assert np.isnan(kind.encode(table["y"], "y")).tolist() == [False, True] * 3


@pytest.mark.parametrize("values", [[0, 2], [0.5, 1.0], ["yes", "no"]])
def test_a_label_that_is_not_binary_is_an_error(values: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"0 n?or 1|0 or 1"):
        Binary().labels(pa.table({"late": values}), "late")


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0]])
def test_binary_labels_may_be_booleans_or_numbers(values: list[object]) -> None:
    assert Binary().labels(pa.table({"late": values}), "late").tolist() == [1.0, 0.0]


def test_a_number_is_finite() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="NaN or infinite"):
            Regression().labels(pa.table({"days": [1.0, value]}), "days")
    with pytest.raises(ConfigError, match="not a number"):
        Regression().labels(pa.table({"days": ["1"]}), "days")


def test_a_class_is_its_name_or_its_position() -> None:
    names = pa.array(["large", "small"])
    for column in (names, names.dictionary_encode(), pa.array([2, 0])):
        assert SIZES.labels(pa.table({"size": column}), "size").tolist() == [2.0, 0.0]


@pytest.mark.parametrize(("values", "named"), [(["huge"], "'huge' is none of small"), ([3], "no position")])
def test_an_unknown_class_is_an_error(values: list[object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SIZES.labels(pa.table({"size": values}), "size")


def test_what_lacks_a_class_or_does_not_vary_cannot_be_learned() -> None:
    assert "both classes" in Binary().lacking(np.zeros(9))
    assert "one value" in Regression().lacking(np.full(9, 4.0))
    assert "none of class large" in SIZES.lacking(np.array([0.0, 1.0, 1.0]))
    assert SIZES.lacking(np.array([0.0, 1.0, 2.0])) == ""


def test_metrics_are_those_of_scikit_learn() -> None:
    labels, scores = example(Regression())
    assert Regression().losses(labels, scores).mean() == pytest.approx(
        metrics.mean_squared_error(labels, scores)
    )
    assert Regression().terms(labels, scores)["mae"].mean() == pytest.approx(
        metrics.mean_absolute_error(labels, scores)
    )
    assert Regression().pooled(labels, scores)["r2"] == pytest.approx(metrics.r2_score(labels, scores))
    labels, scores = example(SIZES)
    assert SIZES.losses(labels, scores).mean() == pytest.approx(metrics.log_loss(labels, scores))
    assert SIZES.pooled(labels, scores)["auc"] == pytest.approx(
        metrics.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    )
    assert SIZES.terms(labels, scores)["accuracy"].mean() == pytest.approx(
        metrics.accuracy_score(labels, scores.argmax(axis=1))
    )
    labels, scores = example(Binary())
    assert Binary().losses(labels, scores).mean() == pytest.approx(metrics.log_loss(labels, scores))


def test_limits_of_a_number_do_not_depend_on_its_unit() -> None:
    labels, scores = example(Regression())
    kind, minutes = Regression(), 60.0
    for scale, power in ((kind.loss_scale, 2), (kind.label_scale, 1)):
        assert scale(labels * minutes) == pytest.approx(scale(labels) * minutes**power)
    relative = kind.losses(labels, scores).mean() / kind.loss_scale(labels)
    assert relative == pytest.approx(1 - metrics.r2_score(labels, scores))
    assert Binary().loss_scale(labels) == SIZES.label_scale(labels) == 1.0


def test_numbers_are_told_in_bands_or_with_their_unit() -> None:
    bands = DecisionConfig(bands=(7, 14), words=("soon", "later", "late"))
    assert Regression().decide(np.array([6.9, 7.0, 20.0]), bands) == ["soon", "later", "late"]
    assert Regression().decide(np.array([1234.4]), DecisionConfig(unit="EUR")) == ["about 1,234 EUR"]


def test_classes_are_told_in_their_words() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    assert SIZES.decide(scores, DecisionConfig()) == ["medium", "small"]
    assert SIZES.decide(scores, DecisionConfig(words=("s", "m", "l"))) == ["m", "s"]
    row = {n: v[0].as_py() for n, v in SIZES.serve(scores, None).items()}
    facts = SIZES.facts(row, DecisionConfig())
    assert (facts["predicted_class"], facts["probability"]) == ("medium", 0.5)
    assert sum(facts["probabilities"].values()) == pytest.approx(1)


def test_probabilities_of_classes_must_add_up() -> None:
    assert SIZES.valid(np.array([[0.2, 0.5, 0.3], [0.5, 0.5, 0.5], [1.1, -0.1, 0.0]])).tolist() == [
        True,
        False,
        False,
    ]


def test_labels_of_each_class_may_arrive_at_a_pace_of_their_own() -> None:
    assert Binary().paces == BINARY
    assert SIZES.paces == CLASSES
    assert len(Regression().paces) == 1


def test_concordance_is_the_auc_of_zeros_and_ones_and_ranks_numbers() -> None:
    labels, scores = example(Binary())
    assert concordance(labels, scores) == area_under_curve(labels == 1, scores)
    # As a number the same labels take the other path.
    assert concordance(labels * 3, scores) == pytest.approx(concordance(labels, scores))
    assert concordance(np.array([1.0, 2.0, 5.0]), np.array([10.0, 20.0, 30.0])) == 1.0
    assert concordance(np.array([1.0, 2.0, 5.0]), np.array([3.0, 2.0, 1.0])) == 0.0
    assert concordance(np.array([1.0, 2.0]), np.array([7.0, 7.0])) == 0.5
    assert concordance(np.ones(4), np.arange(4.0)) is None


def test_names_known_without_computing_are_those_of_what_computes(kind: Kind) -> None:
    names = NAMES[kind.name]
    assert (names.loss, names.quality, names.bounded) == (kind.loss, kind.quality, kind.bounded)
    model = ModelConfig.model_validate(
        {
            "name": "m",
            "kind": kind.name,
            "label": {"maturity_partitions": 1, "classes": kind.classes},
            "features": [{"name": "x"}],
            "windows": {"train": 2, "gate": 2},
        }
    )
    assert served_columns(model) == {n: str(t) for n, t, _ in kind.served()}


def test_every_kind_is_named_after_itself() -> None:
    assert {name: k.name for name, k in KINDS.items()} == {n: n for n in KINDS}
