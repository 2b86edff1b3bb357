"""A trained model: all that scoring needs, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml_platform.kinds.base import Kind
from ml_platform.model_config import EstimatorName
from ml_platform.modeling.calibration import Calibrator
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.estimators import Fitted
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.intervals import Interval
from ml_platform.modeling.parameters import Value
from ml_platform.modeling.task import Task
from ml_platform.statistics.frames import Table


@dataclass(frozen=True)
class Provenance:
    """What a model was made of.

    Attributes:
        dataset_version: The dataset version it was trained on.
        code_versions: Versions of feature code, label code and whatever else the caller names.
        seed: Seed of everything random.
        partitions: Training partitions: first, last.
        partition_count: How many there are.
        rows: Training rows.
        library_versions: Libraries that fit and store models, with their versions.
    """

    dataset_version: str
    code_versions: Mapping[str, str]
    seed: int
    partitions: tuple[str, str]
    partition_count: int
    rows: int
    library_versions: Mapping[str, str]


@dataclass(frozen=True)
class Model:
    """A trained, calibrated model.

    Attributes:
        model_key: ``<use_case>/<model>``.
        estimator: Kind of estimator.
        label: The label column it predicts.
        parameters: The estimator's parameters, tuned ones included.
        encoder: How features become its matrix.
        fitted: The estimator.
        task: Kind of target and objective.
        calibrator: Map from its scores to calibrated ones.
        constant: Mean training outcome of each channel: what a model without features would say.
        importance: By feature its share of all movement of the score; the shares add up to 1.
        provenance: What it was made of.
        interval: Where a number probably lies; None for classes.
    """

    model_key: str
    estimator: EstimatorName
    label: str
    parameters: Mapping[str, Value]
    encoder: Encoder
    fitted: Fitted
    task: Task
    calibrator: Calibrator
    constant: tuple[float, ...]
    importance: Mapping[str, float]
    provenance: Provenance
    interval: Interval | None = None

    @property
    def kind(self) -> Kind:
        """Kind of target."""
        return self.task.kind

    def predict(self, table: Table) -> Floats:
        """Calibrated scores.

        Args:
            table: Has the features' columns; others are ignored, unseen categories count as unknown.

        Returns:
            Probabilities or numbers (rows,), of several classes (rows, classes), in the order of the rows.

        Raises:
            ConfigError: A feature column is missing or has the wrong type.
        """
        matrix = self.encoder.encode(table)
        if not len(matrix):
            return self.kind.scores({n: np.empty(0) for n in self.kind.names()})
        return self.calibrator.apply(self.fitted.predict(matrix))

    def contributions(self, table: Table) -> Floats:
        """What each feature adds to the score before link (log-odds of classes) and calibration.

        Returns:
            (rows, features + 1) in the order of ``encoder.names``; the last column is what is left, and
            a row adds up to the log-odds. Of several classes (rows, classes, features + 1).
        """
        return self.fitted.contributions(self.encoder.encode(table))
