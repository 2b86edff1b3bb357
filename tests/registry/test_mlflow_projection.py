"""MLflow shows what the ledger decided, and may lag behind or be down."""

from pathlib import Path

import pytest
from library import MODEL, Library
from mlflow import MlflowClient

from ml_platform.datasets import versions
from ml_platform.errors import StoreError
from ml_platform.lifecycle import pointers
from ml_platform.registry.mlflow_projection import CHAMPION, Tracking, TrainingRun, registered_name


@pytest.fixture
def client(served: Library) -> MlflowClient:
    uri = served.platform.tracking.uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_a_training_shows_parameters_metrics_and_plots(served: Library, client: MlflowClient) -> None:
    head = pointers.current(served.platform, served.target, "candidate_model")
    assert head is not None
    run = client.get_run(head.details["run_id"])
    dataset = versions.versions(served.platform.ledger, MODEL)[0]
    assert run.info.status == "FINISHED" and run.data.params["seed"] == "7"
    assert any(name.startswith("lightgbm.") for name in run.data.params)
    assert {"cross_fitted_log_loss", "gate_auc", "gate_log_loss"} <= set(run.data.metrics)
    assert run.data.tags["dataset_version"] == dataset.version and run.data.tags["digest"] == head.digest
    assert len(run.data.tags["features_code"]) == 64
    plots = {f.path for f in client.list_artifacts(head.details["run_id"], "plots")}
    assert {"plots/importance.png", "plots/roc.png", "plots/reliability.png"} <= plots
    kept = {f.path for f in client.list_artifacts(head.details["run_id"])}
    assert {"model_card.md", "model"} <= kept


def test_the_alias_follows_and_may_be_projected_again(served: Library, client: MlflowClient) -> None:
    tracking = served.platform.tracking
    first = tracking.champion_digest(MODEL)
    assert first is not None and tracking.project_champion(MODEL, first, None) is False
    assert tracking.project_champion(MODEL, "a" * 64, None) is True
    assert tracking.champion_digest(MODEL) == "a" * 64
    assert tracking.project_champion(MODEL, first, None) is True
    found = client.get_model_version_by_alias(registered_name(MODEL), CHAMPION)
    assert found.tags["digest"] == first
    assert len(client.search_model_versions(f"name='{registered_name(MODEL)}'")) == 2, "no version twice"


def test_a_model_without_a_champion_has_no_alias(served: Library) -> None:
    assert served.platform.tracking.champion_digest("parcels/unknown") is None


def test_a_database_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tracking = Tracking(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", tmp_path / "artifacts")
    with pytest.raises(StoreError, match="ML_PLATFORM_MLFLOW_URI"):
        tracking.champion_digest(MODEL)
    with pytest.raises(StoreError):
        tracking.log(MODEL, TrainingRun("r", {}, {}, {}, {}))
    with pytest.raises(StoreError):
        tracking.add("run", {}, {})


@pytest.mark.timeout(60)
def test_a_server_that_is_down_holds_nobody_up_for_minutes(tmp_path: Path) -> None:
    tracking = Tracking("http://127.0.0.1:9", tmp_path)
    with pytest.raises(StoreError, match="MLflow cannot be used"):
        tracking.project_champion(MODEL, "a" * 64, None)
