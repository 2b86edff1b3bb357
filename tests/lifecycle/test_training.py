"""Training reads only a named version, and the same version, code and seed give the same model."""

import pytest
from library import FIRST_WEEK, SERVED, Library, open_library, second, spoil

from ml_platform.cli.summary import print_summary
from ml_platform.datasets import versions
from ml_platform.errors import IntegrityError, NotReadyError
from ml_platform.lifecycle import pointers, training_data
from ml_platform.lifecycle.training import recipe_of, train_candidate
from ml_platform.modeling import bundle
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table


def candidate(library: Library) -> str:
    head = pointers.current(library.platform, library.target, "candidate_model")
    assert head is not None
    return head.digest


def forget(library: Library, digest: str) -> None:
    library.platform.lake.path(digest).unlink()


def test_the_same_training_again_is_recognised(trained: Library) -> None:
    objects = set(trained.platform.lake.digests())
    report = train_candidate(trained.platform, trained.target, trained.now)
    assert report.reused and report.digest == candidate(trained)
    assert set(trained.platform.lake.digests()) == objects


def test_training_twice_gives_the_same_digest_even_where_mlflow_is_down(trained: Library) -> None:
    before = candidate(trained)
    forget(trained, before)
    (trained.platform.home / "a file").touch()
    no_mlflow = f"sqlite:///{trained.platform.home / 'a file' / 'mlflow.db'}"
    run = open_library(trained.platform.home, ML_PLATFORM_MLFLOW_URI=no_mlflow)
    report = train_candidate(run.platform, run.target, run.now)
    assert not report.reused and report.digest == before
    assert report.run_id is None and "MLflow has no run" in report.warning
    assert trained.platform.lake.exists(before)


def test_candidate_and_baseline_are_kept_with_scores_of_rows_they_did_not_see(trained: Library) -> None:
    head = pointers.current(trained.platform, trained.target, "candidate_model")
    assert head is not None
    for digest in (head.digest, head.details["baseline"]):
        row = promotions.model(trained.platform.ledger, digest)
        model = bundle.from_bytes(trained.platform.lake.get(digest), digest)
        scores = read_table(trained.platform.lake.get(row.scores_digest or ""))
        assert scores.num_rows == 18 * 90 and row.estimator == model.estimator
        assert model.provenance.dataset_version == row.dataset_version == head.details["dataset_version"]
    assert head.details["candidate_estimator"] == "lightgbm"
    assert head.details["baseline_estimator"] == "logistic"


def test_another_seed_is_another_recipe_but_another_serving_setting_is_not(trained: Library) -> None:
    dataset = versions.versions(trained.platform.ledger)[0]
    recipe = recipe_of(trained.target, dataset.version)
    assert recipe_of(second(trained), dataset.version) != recipe
    assert recipe_of(trained.model(serving={"segments": 2}), dataset.version) == recipe


def test_another_seed_gives_another_model(challenged: Library) -> None:
    champion = promotions.champion(challenged.platform.ledger, challenged.target.key)
    assert champion is not None and champion.model_digest != candidate(challenged)


def test_a_spoilt_object_of_the_dataset_stops_training_and_keeps_the_last_candidate(trained: Library) -> None:
    before = candidate(trained)
    dataset = versions.versions(trained.platform.ledger)[0]
    manifest = versions.manifest_of(trained.platform.lake, dataset)
    spoil(trained, manifest.of("train")[3].features)
    with pytest.raises(IntegrityError, match="other bytes"):
        train_candidate(trained.platform, second(trained), trained.now)
    assert candidate(trained) == before


def test_without_a_version_there_is_nothing_to_train_on(fresh: Library) -> None:
    with pytest.raises(NotReadyError, match="materialise training_dataset"):
        train_candidate(fresh.platform, fresh.target, fresh.now)


def test_a_feature_of_one_value_trains_and_is_told(
    fresh: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    weeks = fresh.weeks(FIRST_WEEK, SERVED[0])
    fresh.deliver("loans", weeks, edits={w: {"pages": dict.fromkeys(range(90), 300)} for w in weeks})
    for feed in fresh.use_case.config.feeds:
        if feed.name != "loans":
            fresh.deliver(feed.name, weeks)
    fresh.build("features", weeks)
    fresh.build("labels", weeks[:-1])
    training_data.build(fresh.platform, fresh.target, fresh.now)
    report = train_candidate(fresh.platform, fresh.target, fresh.now)
    assert report.constant == ("pages",) and report.shown()["features_of_one_value"] == "pages"
    assert train_candidate(fresh.platform, fresh.target, fresh.now).constant == ("pages",), "also when reused"
    print_summary(fresh.platform, fresh.use_case, [fresh.target.model.name], [], 0.0)
    assert "pages had one value in all rows" in " ".join(capsys.readouterr().out.split())
