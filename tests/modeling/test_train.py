"""Training is reproducible, and its out-of-sample scores are out of sample."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.modeling import bundle
from ml_platform.modeling.train import TrainedModel

from .parcels import parcels, settings, trained

ROOT = Path(__file__).parents[2]
IN_A_NEW_PROCESS = """
import sys
from modeling.parcels import parcels, trained
from ml_platform.modeling import bundle
for estimator in (None, "logistic"):
    print(bundle.digest(bundle.to_bytes(trained(parcels(), estimator=estimator).model)))
"""


def _digest(trained_model: TrainedModel) -> str:
    return bundle.digest(bundle.to_bytes(trained_model.model))


def test_another_process_gives_the_same_digests(boosting: TrainedModel, logistic: TrainedModel) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "1",
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [_digest(boosting), _digest(logistic)]


def test_the_order_of_rows_does_not_matter(either: TrainedModel) -> None:
    shuffled = parcels().sample(frac=1, random_state=4)
    again = trained(shuffled, estimator="logistic" if either.model.estimator == "logistic" else None)
    assert _digest(again) == _digest(either)


def test_data_seed_and_code_change_the_digest(boosting: TrainedModel) -> None:
    others = [trained(parcels(seed=1)), trained(parcels(), seed=8)]
    assert len({_digest(t) for t in [boosting, *others]}) == 3


def test_out_of_sample_scores_come_from_models_that_never_saw_the_day() -> None:
    table = parcels(days=16, rows=60)
    # Each day has its own number, and only that tells its rate: folds that split a day would know it.
    day = table.groupby("partition_key", sort=True).ngroup().to_numpy()
    rng = np.random.default_rng(1)
    table = table.assign(distance=rng.permutation(16)[day].astype(float), depot="one", weight=0.0)
    table["late"] = rng.random(len(table)) < np.where(rng.permutation(16)[day] % 2, 0.1, 0.9)
    model = trained(table, settings(calibration="none"))
    scores = model.out_of_sample.to_pandas()
    assert roc_auc_score(table["late"], model.model.predict(table)) > 0.85
    assert roc_auc_score(scores["label"], scores["score"]) < 0.65


def test_out_of_sample_scores_carry_partition_key_and_label(either: TrainedModel) -> None:
    scores = either.out_of_sample.to_pandas()
    table = parcels().sort_values(["partition_key", "parcel"])
    assert scores.columns.tolist() == ["partition_key", "parcel", "label", "score"]
    assert scores["parcel"].tolist() == table["parcel"].tolist()
    assert (scores["label"] == table["late"].to_numpy()).all()
    assert roc_auc_score(scores["label"], scores["score"]) > 0.68


def test_the_model_learns_what_matters(either: TrainedModel) -> None:
    shares = either.model.importance
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert shares["distance"] > shares["depot"] > shares["weight"]
    assert either.model.constant[0] == pytest.approx(parcels()["late"].mean())


def test_a_named_estimator_is_trained_with_the_platforms_defaults(logistic: TrainedModel) -> None:
    assert logistic.model.parameters == {"C": 1.0, "max_iter": 500, "tol": 1e-4}
    assert logistic.tuning is None


def test_tuning_keeps_a_persons_choice_and_is_not_worse() -> None:
    config = settings(tuning={"trials": 3, "seconds": 60}, estimator="lightgbm")
    report = trained(parcels(days=6), config).tuning
    assert report is not None
    assert len(report.trials) == 3
    assert {t.parameters["n_estimators"] for t in report.trials} == {30}
    assert min(t.loss for t in report.trials) <= report.trials[0].loss


def test_progress_is_told_and_rises() -> None:
    told: list[tuple[str, float]] = []
    trained(parcels(days=4), progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1] == ("lightgbm: done", 1.0)
    assert any("fold 4 of 4" in what for what, _ in told)


def test_a_null_label_is_an_error() -> None:
    table = parcels(days=3).astype({"late": "object"})
    table.loc[5, "late"] = None
    with pytest.raises(NotReadyError, match="1 of 360 labels are null"):
        trained(table)


def test_a_feature_without_any_value_is_an_error() -> None:
    table = parcels(days=3)
    table["weight"] = None
    with pytest.raises(NotReadyError, match="no value of weight in any of 360 training rows") as caught:
        trained(table.astype({"weight": "float64"}))
    assert "quarantine list" in caught.value.fix


def test_a_missing_feature_is_an_error() -> None:
    with pytest.raises(ConfigError, match="weight"):
        trained(parcels(days=3).drop(columns="weight"))


def test_one_class_is_an_error() -> None:
    with pytest.raises(NotReadyError, match="both classes"):
        trained(parcels(days=3).assign(late=0))


def test_what_training_saw_is_summed_up(boosting: TrainedModel) -> None:
    table: pd.DataFrame = parcels()
    summary = {f.name: f for f in boosting.features}
    assert summary["weight"].missing == pytest.approx(table["weight"].isna().mean())
    assert sum(summary["depot"].shares.values()) == pytest.approx(1)
