"""LightGBM with small trees, kept as its native text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.model_config import KindName
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats
from ml_platform.modeling.parameters import Parameter, Value
from ml_platform.modeling.task import Objective, Task

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

TWEEDIE_PARAMETERS: Mapping[str, Parameter] = {"tweedie_variance_power": Parameter(1.5, 1.0, 1.999)}
"""Further parameters of the Tweedie objective: 1 is Poisson, 2 would be Gamma."""

_FIXED: Mapping[str, Value] = {
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": THREADS,
    "subsample_freq": 1,
    "verbosity": -1,
}
_REGRESSIONS: Mapping[Objective, str] = {
    "squared_error": "regression",
    "poisson": "poisson",
    "tweedie": "tweedie",
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
        weights: Floats | None,
        task: Task,
    ) -> Boosting:
        """Fit trees to encoded features; see :func:`ml_platform.modeling.estimators.fit`."""
        settings = {**parameters, **_OBJECTIVES[task.kind.name](task, labels), **_FIXED, "seed": seed}
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
    def load(cls, payload: bytes, encoder: Encoder, task: Task) -> Boosting:
        """Read the native text.

        Raises:
            IntegrityError: It is not LightGBM's text, or not of a model of these features or classes.
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
        outputs = model.booster.num_model_per_iteration()
        if names != encoder.names or outputs != len(task.kind.channels):
            raise IntegrityError(
                "the trees are of other features or classes than the bundle says",
                where="model.txt of the bundle",
                fix="roll back to an earlier model, or train again",
            )
        return model

    @cached_property
    def booster(self) -> lgb.Booster:
        """The booster, read from the text."""
        return lgb.Booster(model_str=self.text)

    def predict(self, matrix: Floats) -> Floats:
        """Scores before calibration: probabilities, or the expected number; see :class:`Fitted`."""
        return np.asarray(self.booster.predict(matrix, num_threads=THREADS), dtype=np.float64)

    def contributions(self, matrix: Floats) -> Floats:
        """SHAP values before the link; the last column is the mean prediction; see :class:`Fitted`."""
        values = self.booster.predict(matrix, pred_contrib=True, num_threads=THREADS)
        terms = np.asarray(values, dtype=np.float64)
        outputs = self.booster.num_model_per_iteration()
        return terms if outputs == 1 else terms.reshape(len(matrix), outputs, -1)

    def to_bytes(self) -> bytes:
        """The native text in UTF-8."""
        return self.text.encode("utf-8")


def _binary(_: Task, __: Floats) -> dict[str, Value]:
    return {"objective": "binary"}


def _regression(task: Task, labels: Floats) -> dict[str, Value]:
    if task.objective != "squared_error" and labels.min() < 0:
        raise ConfigError(
            f"the objective {task.objective} knows no negative label; the least is {labels.min():g}",
            where="training.objective",
            fix="use squared_error, or check the labels model",
        )
    return {"objective": _REGRESSIONS[task.objective]}


def _multiclass(task: Task, _: Floats) -> dict[str, Value]:
    return {"objective": "multiclass", "num_class": len(task.kind.classes)}


_OBJECTIVES: Mapping[KindName, Callable[[Task, Floats], dict[str, Value]]] = {
    "binary": _binary,
    "regression": _regression,
    "multiclass": _multiclass,
}
"""LightGBM's settings of what is fitted, by kind of target."""
