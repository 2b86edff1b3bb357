"""LightGBM with small trees, kept as its native text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np

from ml_platform.errors import IntegrityError
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.parameters import Parameter, Value

THREADS = 1
"""Sums of floats depend on how they are split, and threads that wait for each other crawl on a busy
machine (measured: 2 threads took 3 to 8 times as long as 1). Folds run side by side instead."""

BOOSTING_PARAMETERS: Mapping[str, Parameter] = {
    "n_estimators": Parameter(160, 1, 10_000, (60, 400)),
    "learning_rate": Parameter(0.08, 1e-4, 1.0, (0.02, 0.15), log=True),
    "num_leaves": Parameter(8, 2, 1024, (4, 32), log=True),
    "max_depth": Parameter(-1, -1, 64),
    "min_child_samples": Parameter(40, 1, 1_000_000, (10, 300), log=True),
    "subsample": Parameter(1.0, 0.05, 1.0, (0.5, 1.0)),
    "colsample_bytree": Parameter(0.8, 0.05, 1.0, (0.4, 1.0)),
    "reg_lambda": Parameter(1.0, 0.0, 1e6, (0.1, 50.0), log=True),
    "reg_alpha": Parameter(0.0, 0.0, 1e6),
    "min_split_gain": Parameter(0.0, 0.0, 1e6),
    "max_bin": Parameter(255, 2, 65_535),
    "min_data_per_group": Parameter(100, 1, 1_000_000),
    "cat_smooth": Parameter(10.0, 0.0, 1e6),
    "cat_l2": Parameter(10.0, 0.0, 1e6),
}

_FIXED: Mapping[str, Value] = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": THREADS,
    "subsample_freq": 1,
    "verbosity": -1,
}
_HEAD, _TAIL = "tree\n", "end of parameters"


@dataclass(frozen=True)
class Boosting:
    """A fitted LightGBM model.

    Attributes:
        text: Its native text; the booster is always read back from it, so what scores is what is stored.
    """

    text: str

    @classmethod
    def fit(
        cls,
        matrix: Floats,
        labels: Floats,
        encoder: Encoder,
        parameters: Mapping[str, Value],
        seed: int,
        weights: Floats | None = None,
    ) -> Boosting:
        """Fit trees to encoded features; see :func:`ml_platform.modeling.estimators.fit`."""
        settings = {**parameters, **_FIXED, "seed": seed}
        rounds = int(settings.pop("n_estimators"))
        data = lgb.Dataset(
            matrix,
            labels,
            weight=weights,
            feature_name=encoder.names,
            categorical_feature=encoder.columns("categorical"),
            params=settings,
        )
        return cls(lgb.train(settings, data, num_boost_round=rounds).model_to_string())

    @classmethod
    def load(cls, payload: bytes, encoder: Encoder) -> Boosting:
        """Read the native text.

        Raises:
            IntegrityError: It is not LightGBM's text, or not of a model of these features.
        """
        try:
            text = payload.decode("utf-8")
            # LightGBM's parser trusts its input, so a text that is cut short must not reach it.
            if not text.startswith(_HEAD) or _TAIL not in text:
                raise ValueError("it does not begin and end as a model's text does")
            model = cls(text)
            names = model.booster.feature_name()
        except (ValueError, lgb.basic.LightGBMError) as error:
            raise IntegrityError(
                f"this is no LightGBM model: {error}",
                where="model.txt of the bundle",
                fix="roll back to an earlier model, or train again",
            ) from error
        if names != encoder.names:
            raise IntegrityError(
                "the trees are of other features than the bundle says",
                where="model.txt of the bundle",
                fix="roll back to an earlier model, or train again",
            )
        return model

    @cached_property
    def booster(self) -> lgb.Booster:
        """The booster, read from the text."""
        return lgb.Booster(model_str=self.text)

    def predict(self, matrix: Floats) -> Floats:
        """Probability of a positive (rows,)."""
        return np.asarray(self.booster.predict(matrix, num_threads=THREADS), dtype=np.float64)

    def contributions(self, matrix: Floats) -> Floats:
        """SHAP values in log-odds (rows, features + 1); the last column is the mean prediction."""
        values = self.booster.predict(matrix, pred_contrib=True, num_threads=THREADS)
        return np.asarray(values, dtype=np.float64)

    def to_bytes(self) -> bytes:
        """The native text in UTF-8."""
        return self.text.encode("utf-8")
