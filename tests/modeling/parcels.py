"""Made-up parcels: will one arrive late? Days share a shock, depots and weights matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ml_platform.model_config import ModelConfig
from ml_platform.modeling.train import TrainedModel, train

DEPOTS = ("east", "north", "south", "west")


def parcels(days: int = 20, rows: int = 120, seed: int = 0, shock: float = 0.3) -> pd.DataFrame:
    """``days`` x ``rows`` parcels with their true probability of being late in ``truth``."""
    rng = np.random.default_rng(seed)
    n = days * rows
    day = np.repeat(np.arange(days), rows)
    depot = rng.integers(0, len(DEPOTS), n)
    weight = rng.gamma(2.0, 2.0, n)
    distance = rng.normal(size=n)
    odds = -1 + 0.9 * distance + 0.5 * (depot - 1.5) + rng.normal(size=days)[day] * shock
    truth = 1 / (1 + np.exp(-odds))
    keys = pd.date_range("2021-03-01", periods=days).strftime("%Y-%m-%d").to_numpy()
    return pd.DataFrame(
        {
            "partition_key": keys[day],
            "parcel": [f"P{i:05d}" for i in range(n)],
            "depot": np.array(DEPOTS, dtype=object)[depot],
            "weight": np.where(rng.random(n) < 0.1, np.nan, weight),
            "distance": distance,
            "late": rng.random(n) < truth,
            "truth": truth,
        }
    )


def settings(**training: Any) -> ModelConfig:
    """A model of late parcels with few trees."""
    parameters = {"n_estimators": 30, "min_child_samples": 20}
    if training.get("estimator") == "logistic":
        parameters = {}
    return ModelConfig.model_validate(
        {
            "name": "late",
            "label": {"column": "late", "maturity_partitions": 3},
            "features": [
                {"name": "depot", "kind": "categorical"},
                {"name": "weight"},
                {"name": "distance"},
            ],
            "windows": {"train": 20, "gate": 10},
            "training": {"parameters": parameters, "folds": 4, **training},
        }
    )


def trained(table: pd.DataFrame, config: ModelConfig | None = None, **options: Any) -> TrainedModel:
    """A model trained on the table."""
    return train(
        table,
        config or settings(),
        model_key="parcels/late",
        dataset_version="v1",
        code_versions={"features": "f1", "labels": "l1"},
        keys=["parcel"],
        **options,
    )
