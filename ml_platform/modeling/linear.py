"""A scikit-learn pipeline: imputation with missing indicators, scaling, one-hot, and a linear model.

Logistic regression for classes (multinomial for several). Ridge regression for numbers: it minimises the very
loss that the gates compare, takes labels of either sign, and has one optimum; a Poisson regression would be
judged by a loss that it does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ml_platform.errors import IntegrityError
from ml_platform.modeling import skops_format
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats, Ints
from ml_platform.modeling.parameters import Parameter, Value
from ml_platform.modeling.task import Task

LOGISTIC_PARAMETERS: Mapping[str, Parameter] = {
    "C": Parameter(1.0, 1e-6, 1e6, (0.001, 10.0), log=True),
    "max_iter": Parameter(500, 1, 100_000),
    "tol": Parameter(1e-4, 1e-12, 1.0),
}

RIDGE_PARAMETERS: Mapping[str, Parameter] = {
    "alpha": Parameter(1.0, 0.0, 1e9, (0.01, 1000.0), log=True),
    "max_iter": Parameter(1000, 1, 100_000),
    "tol": Parameter(1e-6, 1e-12, 1.0),
}

ALLOWED_TYPES = frozenset(
    {
        "builtins.dict",
        "builtins.list",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "numpy.dtype",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
    }
)
"""All that a bundle may hold. The list is here and never in the artefact."""

_NUMERIC, _CATEGORICAL = "numeric", "categorical"


@dataclass(frozen=True)
class Linear:
    """A fitted pipeline.

    Attributes:
        pipeline: Steps ``encode`` (a ColumnTransformer) and ``model`` (a LogisticRegression or Ridge).
    """

    pipeline: Pipeline

    @classmethod
    def fit_logistic(
        cls,
        matrix: Floats,
        labels: Floats,
        encoder: Encoder,
        parameters: Mapping[str, Value],
        seed: int,
        weights: Floats | None,
        task: Task,
    ) -> Linear:
        """Fit a (multinomial) logistic regression; see :func:`ml_platform.modeling.estimators.fit`."""
        model = LogisticRegression(random_state=seed, **parameters)
        return cls._fit(model, matrix, labels, encoder, weights)

    @classmethod
    def fit_ridge(
        cls,
        matrix: Floats,
        labels: Floats,
        encoder: Encoder,
        parameters: Mapping[str, Value],
        seed: int,
        weights: Floats | None,
        task: Task,
    ) -> Linear:
        """Fit a ridge regression; see :func:`ml_platform.modeling.estimators.fit`."""
        # Conjugate gradients keep the design sparse, and draw no random numbers.
        return cls._fit(Ridge(solver="sparse_cg", **parameters), matrix, labels, encoder, weights)

    @classmethod
    def _fit(
        cls,
        model: LogisticRegression | Ridge,
        matrix: Floats,
        labels: Floats,
        encoder: Encoder,
        weights: Floats | None,
    ) -> Linear:
        encode = _transformer(encoder)
        design = sparse.csr_array(encode.fit_transform(matrix))
        # Ridge's conjugate gradients know only the older sparse matrices.
        design = design if isinstance(model, LogisticRegression) else sparse.csr_matrix(design)
        model.fit(design, labels, sample_weight=weights)
        return cls(Pipeline([("encode", encode), ("model", model)]))

    @classmethod
    def load(cls, payload: bytes, encoder: Encoder, task: Task) -> Linear:
        """Read the skops archive.

        Raises:
            IntegrityError: It is damaged, holds a type that is not allowed, or has other features or classes.
        """
        pipeline = skops_format.loads(payload, ALLOWED_TYPES)
        if not isinstance(pipeline, Pipeline) or pipeline.n_features_in_ != len(encoder.features):
            raise _other("features")
        model = cls(pipeline)
        if len(model._coefficients) != len(task.kind.channels):
            raise _other("classes")
        return model

    @property
    def _coefficients(self) -> Floats:
        """(outputs, columns of the design)."""
        return np.atleast_2d(np.asarray(self.pipeline["model"].coef_, dtype=np.float64))

    @property
    def _intercepts(self) -> Floats:
        """(outputs,)."""
        return np.atleast_1d(np.asarray(self.pipeline["model"].intercept_, dtype=np.float64))

    def predict(self, matrix: Floats) -> Floats:
        """Scores before calibration: probabilities, or the expected number; see :class:`Fitted`."""
        # One column at a time, as a product with a vector: the order of its sums is that of one class.
        design = self._design(matrix)
        linear = [design @ c + i for c, i in zip(self._coefficients, self._intercepts, strict=True)]
        if isinstance(self.pipeline["model"], Ridge):
            return np.asarray(linear[0], dtype=np.float64)
        if len(linear) == 1:
            return np.asarray(special.expit(linear[0]), dtype=np.float64)
        return np.asarray(special.softmax(np.column_stack(linear), axis=1), dtype=np.float64)

    def contributions(self, matrix: Floats) -> Floats:
        """Coefficient times value, before the link; the last column is the intercept; see :class:`Fitted`.

        Numeric features are scaled, so theirs are relative to the mean training row.
        """
        sources, design = _sources(self.pipeline["encode"]), self._design(matrix)
        found = []
        for coefficients, intercept in zip(self._coefficients, self._intercepts, strict=True):
            place = (np.arange(sources.size), sources)
            spread = sparse.csr_array((coefficients, place), shape=(sources.size, matrix.shape[1]))
            terms = (design @ spread).toarray()
            found.append(np.column_stack([terms, np.full(len(matrix), intercept)]))
        return found[0] if len(found) == 1 else np.stack(found, axis=1)

    def to_bytes(self) -> bytes:
        """A skops archive without times or memory addresses."""
        return skops_format.dumps(self.pipeline)

    def _design(self, matrix: Floats) -> sparse.csr_array:
        """The design matrix, always sparse: its products are summed in one order on any machine."""
        return sparse.csr_array(self.pipeline["encode"].transform(matrix))


def _other(what: str) -> IntegrityError:
    return IntegrityError(
        f"this is no pipeline of the bundle's {what}",
        where="model.skops of the bundle",
        fix="roll back to an earlier model, or train again",
    )


def _transformer(encoder: Encoder) -> ColumnTransformer:
    numeric, categorical = encoder.columns("numeric"), encoder.columns("categorical")
    steps = []
    if numeric:
        impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        steps.append((_NUMERIC, Pipeline([("impute", impute), ("scale", StandardScaler())]), numeric))
    if categorical:
        sizes = [len(encoder.vocabularies[encoder.names[c]]) for c in categorical]
        codes = [np.arange(size + 1, dtype=np.float64) for size in sizes]
        steps.append((_CATEGORICAL, OneHotEncoder(categories=codes, handle_unknown="ignore"), categorical))
    return ColumnTransformer(steps, sparse_threshold=1.0)


def _sources(encode: ColumnTransformer) -> Ints:
    """The feature from which each column of the design matrix is made."""
    sources: list[int] = []
    for name, fitted, columns in encode.transformers_:
        if name == _NUMERIC:
            indicators = fitted["impute"].indicator_.features_
            sources += [*columns, *(columns[i] for i in indicators)]
        elif name == _CATEGORICAL:
            for column, codes in zip(columns, fitted.categories_, strict=True):
                sources += [column] * len(codes)
    return np.asarray(sources, dtype=np.int64)
