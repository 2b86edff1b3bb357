"""MLflow shows what the ledger decided: runs, registered versions, and the alias ``champion``.

MLflow is a projection. Aliases keep no history and are no transaction, so the ledger is the truth and
:func:`project_champion` may be repeated at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

from ml_platform.errors import StoreError

CHAMPION = "champion"
# A server that is down must not hold up a promotion: MLflow's own seven retries take four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
# MLflow tells of every table that it makes.
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
_BATCH = 90


@dataclass(frozen=True)
class TrainingRun:
    """What MLflow keeps of one training.

    Attributes:
        name: Name of the run.
        parameters: Values as text.
        metrics: Numbers by name.
        tags: Versions and digests by name.
        files: File bytes by path inside the run's artifacts.
    """

    name: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, bytes]


class Tracking:
    """MLflow's client for one tracking address.

    Args:
        uri: ``sqlite:///…`` or the address of a server.
        artifacts: Folder of the artifacts where the address is a database.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri, self.artifacts = uri, artifacts

    def log(self, model_key: str, run: TrainingRun) -> str:
        """Keep a training run; returns its id."""
        with self._client() as client:
            experiment = self._experiment(client, model_key)
            created = client.create_run(experiment, run_name=run.name)
            run_id = str(created.info.run_id)
            now = get_current_time_millis()
            client.log_batch(
                run_id,
                metrics=[Metric(k, v, now, 0) for k, v in run.metrics.items()],
                params=[Param(k, v[:5000]) for k, v in list(run.parameters.items())[:_BATCH]],
                tags=[RunTag(k, v) for k, v in run.tags.items()],
            )
            self._log_files(client, run_id, run.files)
            client.set_terminated(run_id)
            return run_id

    def add(self, run_id: str, metrics: Mapping[str, float], files: Mapping[str, bytes]) -> None:
        """Add metrics and files to a run, for example the evaluation's."""
        with self._client() as client:
            now = get_current_time_millis()
            client.log_batch(run_id, metrics=[Metric(k, v, now, 0) for k, v in metrics.items()])
            self._log_files(client, run_id, files)

    def path_of(self, run_id: str) -> str:
        """A run's place in MLflow's UI, after the address of the UI."""
        with self._client() as client:
            experiment = client.get_run(run_id).info.experiment_id
        return f"/#/experiments/{experiment}/runs/{run_id}"

    def project_champion(self, model_key: str, digest: str, run_id: str | None) -> bool:
        """Point the alias ``champion`` at the version with this digest, registering it if needed.

        Returns:
            Whether something had to be changed.
        """
        name = registered_name(model_key)
        with self._client() as client:
            version = self._version(client, name, digest)
            if version is None:
                version = self._register(client, name, digest, run_id)
            if self._alias(client, name) == version:
                return False
            client.set_registered_model_alias(name, CHAMPION, version)
            return True

    def champion_digest(self, model_key: str) -> str | None:
        """The digest that MLflow's alias points at."""
        with self._client() as client:
            try:
                found = client.get_model_version_by_alias(registered_name(model_key), CHAMPION)
            except MlflowException:
                return None
            return str(found.tags.get("digest", "")) or None

    def _experiment(self, client: MlflowClient, model_key: str) -> str:
        found = client.get_experiment_by_name(model_key)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.uri.startswith("sqlite:"):
            location = (self.artifacts / model_key).resolve().as_uri()
        return str(client.create_experiment(model_key, artifact_location=location))

    def _log_files(self, client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            client.log_artifacts(run_id, folder)

    def _version(self, client: MlflowClient, name: str, digest: str) -> str | None:
        found = client.search_model_versions(f"name='{name}' and tags.digest='{digest}'")
        return str(found[0].version) if found else None

    def _register(self, client: MlflowClient, name: str, digest: str, run_id: str | None) -> str:
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name, description="Projection of the ml_platform ledger.")
        source = f"{client.get_run(run_id).info.artifact_uri}/model" if run_id else f"ledger:{digest}"
        created = client.create_model_version(name, source=source, run_id=run_id, tags={"digest": digest})
        return str(created.version)

    def _alias(self, client: MlflowClient, name: str) -> str | None:
        try:
            return str(client.get_model_version_by_alias(name, CHAMPION).version)
        except MlflowException:
            return None

    @contextlib.contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        try:
            with self._migrated():
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                client.search_experiments(max_results=1)
            yield client
        except (MlflowException, OSError) as error:
            raise StoreError(
                f"MLflow cannot be used: {str(error).splitlines()[0]}",
                where=self.uri.split("@")[-1],
                fix="check ML_PLATFORM_MLFLOW_URI and its database; then run `ml-platform doctor`",
            ) from error

    @contextlib.contextmanager
    def _migrated(self) -> Iterator[None]:
        """One process at a time: two that create MLflow's tables at once break each other."""
        if not self.uri.startswith("sqlite:///"):
            yield
            return
        path = Path(self.uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            yield


def registered_name(model_key: str) -> str:
    """MLflow's name of a model; it allows no slash."""
    return model_key.replace("/", ".")
