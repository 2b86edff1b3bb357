"""A trained model: all that scoring needs, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml_platform.modeling.calibration import Calibrator
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.estimators import EstimatorName, Fitted
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.parameters import Value
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
    """A trained, calibrated model of a binary target.

    Attributes:
        model_key: ``<use_case>/<model>``.
        estimator: Kind of estimator.
        label: The label column it predicts.
        parameters: The estimator's parameters, tuned ones included.
        encoder: How features become its matrix.
        fitted: The estimator.
        calibrator: Map from its scores to probabilities.
        base_rate: Share of positives in training.
        importance: By feature its share of all movement of the log-odds; the shares add up to 1.
        provenance: What it was made of.
    """

    model_key: str
    estimator: EstimatorName
    label: str
    parameters: Mapping[str, Value]
    encoder: Encoder
    fitted: Fitted
    calibrator: Calibrator
    base_rate: float
    importance: Mapping[str, float]
    provenance: Provenance

    def predict(self, table: Table) -> Floats:
        """Calibrated probability of a positive.

        Args:
            table: Has the features' columns; others are ignored, unseen categories count as unknown.

        Returns:
            Probabilities (rows,), in the order of the rows.

        Raises:
            ConfigError: A feature column is missing or has the wrong type.
        """
        matrix = self.encoder.encode(table)
        if not len(matrix):
            return np.empty(0)
        return self.calibrator.apply(self.fitted.predict(matrix))

    def contributions(self, table: Table) -> Floats:
        """What each feature adds to the log-odds before calibration.

        Returns:
            (rows, features + 1) in the order of ``encoder.names``; the last column is what is left, and
            a row adds up to the log-odds.
        """
        return self.fitted.contributions(self.encoder.encode(table))
