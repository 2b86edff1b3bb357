"""Every kind of model goes through all stages, on the same feeds, features and labels."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from library import FOLDER, NAME, SERVED, Library, open_library, train_first

from ml_platform.datasets import versions
from ml_platform.lifecycle import evaluation, monitors, scoring, training, training_data
from ml_platform.lifecycle.guard.diagnosing import Diagnosed, diagnose_now
from ml_platform.lifecycle.guard.effects import reckon
from ml_platform.lifecycle.guard.retraining import guard_facts
from ml_platform.lifecycle.reading import client
from ml_platform.modeling import bundle
from ml_platform.modeling.train import train
from ml_platform.registry.promotions import champion
from ml_platform.serving.answers import PredictionAnswer, answer
from ml_platform.storage.parquet import read_table

MODELS = ("late_return", "days_late", "return_band")
LAST = "2020-10-05"


@dataclass
class Lived:
    """A model after some weeks of serving."""

    library: Library
    training: training.TrainingReport
    evaluation: evaluation.EvaluationReport
    answer: PredictionAnswer
    diagnosed: Diagnosed


def _of(library: Library, model: str) -> Library:
    return Library(library.platform, library.platform.target(f"{NAME}/{model}"))


def _with_more_models(folder: Path) -> Path:
    """The library's folder with all of its models."""
    shutil.copytree(FOLDER / NAME, folder / NAME)
    file = folder / NAME / "use_case.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    more = yaml.safe_load((folder / NAME / "more_models.yaml").read_text(encoding="utf-8"))
    config["models"] += more["models"]
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lived]]:
    """All three models trained, promoted, served for six weeks, watched and diagnosed."""
    root = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ML_PLATFORM_USE_CASES", str(_with_more_models(root / "use_cases")))
        library = open_library(root / "home")
        train_first(library)
        yield _lived(library)
        library.close()


def _lived(library: Library) -> dict[str, Lived]:
    each = {m: _of(library, m) for m in MODELS}
    trained, judged, answers, diagnosed = {}, {}, {}, {}
    for name, own in each.items():
        training_data.build(own.platform, own.target, own.now)
        trained[name] = training.train_candidate(own.platform, own.target, own.now)
        judged[name] = evaluation.evaluate_candidate(own.platform, own.target, own.now)
        assert own.promote().outcome == "promoted", [g for g in judged[name].gates if g["state"] != "PASS"]
    for week in library.weeks(SERVED[0], LAST):
        library.platform.clock(library.use_case).set(library.use_case.cutoff(week))
        library.deliver_all([week])
        for own in each.values():
            own.score(week)
    for name, own in each.items():
        served = own.serve()
        found = client(own.platform).get(own.target.key, served.sample[0])
        answers[name] = answer(found, own.now)
        diagnosed[name] = diagnose_now(own.platform, own.target, own.now)
    return {m: Lived(each[m], trained[m], judged[m], answers[m], diagnosed[m]) for m in MODELS}


@pytest.fixture(params=MODELS)
def one(request: pytest.FixtureRequest, lived: dict[str, Lived]) -> Lived:
    return lived[request.param]


def test_features_and_labels_are_built_once_for_all_models(lived: dict[str, Lived]) -> None:
    platform = lived["late_return"].library.platform
    heads = platform.ledger.heads(f"{NAME}/labels")
    table = read_table(platform.lake.get(next(iter(heads.values())).digest))
    assert {"late", "days_late", "return_band"} <= set(table.column_names)
    parts = {}
    for model in MODELS:
        dataset = versions.find(platform.ledger, lived[model].training.dataset_version)
        manifest = versions.manifest_of(platform.lake, dataset)
        parts[model] = [(p.features, p.labels) for p in manifest.partitions]
    assert parts["late_return"] == parts["days_late"] == parts["return_band"]


def test_the_same_version_and_seed_give_the_same_digest(one: Lived) -> None:
    platform, target = one.library.platform, one.library.target
    dataset = versions.find(platform.ledger, one.training.dataset_version)
    manifest = versions.manifest_of(platform.lake, dataset)
    again = train(
        versions.load(platform.lake, manifest, "train"),
        target.model,
        model_key=target.key,
        dataset_version=dataset.version,
        code_versions={"features": manifest.feature_version, "labels": manifest.label_version},
        keys=manifest.key,
    )
    assert bundle.digest(bundle.to_bytes(again.model)) == one.training.digest


def test_gates_and_metrics_are_those_of_the_kind(lived: dict[str, Lived]) -> None:
    gates = {m: {g["name"] for g in lived[m].evaluation.gates} for m in MODELS}
    common = {"base_rate", "bias", "baseline", "slices"}
    assert gates["late_return"] == gates["return_band"] == common | {"auc"}
    assert gates["days_late"] == common | {"r2"}
    metrics = lived["days_late"].evaluation.metrics
    assert {"r2", "rmse", "mae", "bias", "squared_error"} <= set(metrics) and metrics["r2"] > 0.1
    metrics = lived["return_band"].evaluation.metrics
    assert {"auc", "accuracy", "log_loss", "bias_very_late"} <= set(metrics) and metrics["auc"] > 0.55


def test_pictures_and_card_are_drawn(one: Lived) -> None:
    assert all(i.startswith(b"\x89PNG") for i in one.evaluation.images.values())
    assert "importance" in one.evaluation.images
    assert ("roc" in one.evaluation.images) is one.library.target.kind.bounded
    assert one.library.target.model.label.description in one.evaluation.card


def test_a_prediction_is_read_from_the_cache_in_words(lived: dict[str, Lived]) -> None:
    number, band = lived["days_late"].answer, lived["return_band"].answer
    assert number.kind == "regression" and number.prediction is not None
    assert number.low is not None and number.high is not None
    assert number.low < number.prediction < number.high
    assert number.decision in {"before it is due", "a little late", "rather late"}
    assert "days, in four cases of five between" in number.text
    assert band.kind == "multiclass" and band.probabilities is not None
    assert sum(band.probabilities.values()) == pytest.approx(1)
    assert band.probability == max(band.probabilities.values())
    assert band.decision.startswith("probably ") and f"{100 * band.probability:.1f} % probable" in band.text
    assert lived["late_return"].answer.kind == "binary"


def test_what_is_served_is_what_the_champion_says(one: Lived) -> None:
    platform, target = one.library.platform, one.library.target
    served = scoring.predictions(platform, target, [LAST])
    promotion = champion(platform.ledger, target.key)
    assert served is not None and promotion is not None
    model = scoring.load_champion(platform, promotion.model_digest)
    assert np.array_equal(target.kind.scores(served), model.predict(served))


def test_the_interval_of_a_number_holds_for_four_rows_in_five(lived: dict[str, Lived]) -> None:
    library = lived["days_late"].library
    served = scoring.predictions(library.platform, library.target, SERVED)
    labels = monitors._labels(library.platform, library.target, SERVED, library.now)
    assert served is not None
    rows = served.join(
        labels.select(["partition_key", "branch", "loan_no", "days_late"]),
        keys=["partition_key", "branch", "loan_no"],
    )
    low, high, truth = (rows[c].to_numpy() for c in ("prediction_low", "prediction_high", "days_late"))
    assert 0.7 < ((low <= truth) & (truth <= high)).mean() < 0.9


def test_monitors_speak_of_every_kind(one: Lived) -> None:
    library, kind = one.library, one.library.target.kind
    view = monitors.performance(library.platform, library.target, library.now)
    assert view.report.mature == SERVED
    assert view.chart.startswith(b"\x89PNG")
    realised = view.report.metric(kind.loss)
    assert realised.value is not None and realised.reference is not None
    assert abs(realised.value / realised.reference - 1) < 0.4
    assert len(view.report.biases) == len(kind.channels)
    drifted = monitors.drifting(library.platform, library.target, library.now)
    assert [c.name for c in drifted.report.columns][-len(kind.channels) :] == kind.names()
    assert drifted.report.column(kind.names()[0]).state != "UNKNOWN"
    arrival = monitors.label_arrival(library.platform, library.target, library.now).report
    assert arrival.state == "PASS" and arrival.law.classes == kind.paces


def test_every_question_of_the_diagnosis_has_an_answer(one: Lived) -> None:
    steps = {s.name: s for s in one.diagnosed.diagnosis.steps}
    unknown = {n: s.reason for n, s in steps.items() if s.state == "UNKNOWN"}
    assert set(unknown) <= {"season"}, "a year ago there was no library"
    assert steps["contract"].state == steps["skew"].state == steps["label_definition"].state == "PASS"
    assert one.diagnosed.diagnosis.verdict.name == "wait_for_labels", "few weeks are mature"


def test_what_actions_were_worth_can_be_asked(one: Lived) -> None:
    assert reckon(one.library.platform, one.library.target, one.library.now).effects == ()


def test_what_a_retraining_could_save_is_in_units_of_the_kind(lived: dict[str, Lived]) -> None:
    """A unit of loss is worth the same whatever the label's unit is: days, or hours, late."""
    one = lived["days_late"]
    diagnosis = one.diagnosed.diagnosis
    (step,) = [s for s in diagnosis.steps if s.name == "harm"]
    assert step.headline is not None
    scale = step.headline.facts["loss_scale"]
    assert scale == pytest.approx(
        one.evaluation.metrics["squared_error"] / (1 - one.evaluation.metrics["r2"]), rel=0.5
    )

    def saved(rise: float) -> float | None:
        assert step.headline is not None
        harm = replace(step, headline=replace(step.headline, estimate=rise))
        steps = tuple(harm if s.name == "harm" else s for s in diagnosis.steps)
        facts = guard_facts(
            one.library.platform, one.library.target, replace(diagnosis, steps=steps), one.library.now
        )
        return facts.value.loss_reduction

    usual = one.library.target.model.retraining.value.usual_gain
    assert saved(0.5 * scale) == pytest.approx(0.5)
    assert saved(usual * scale / 2) == usual
