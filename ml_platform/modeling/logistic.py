"""A scikit-learn pipeline: imputation with missing indicators, scaling, one-hot, logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ml_platform.errors import IntegrityError
from ml_platform.modeling import skops_format
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.frames import Floats, Ints
from ml_platform.modeling.parameters import Parameter, Value

LOGISTIC_PARAMETERS: Mapping[str, Parameter] = {
    "C": Parameter(1.0, 1e-6, 1e6, (0.001, 10.0), log=True),
    "max_iter": Parameter(500, 1, 100_000),
    "tol": Parameter(1e-4, 1e-12, 1.0),
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
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
    }
)
"""All that a bundle may hold. The list is here and never in the artefact."""

_NUMERIC, _CATEGORICAL = "numeric", "categorical"


@dataclass(frozen=True)
class Logistic:
    """A fitted pipeline.

    Attributes:
        pipeline: Steps ``encode`` (a ColumnTransformer) and ``model`` (a LogisticRegression).
    """

    pipeline: Pipeline

    @classmethod
    def fit(
        cls,
        matrix: Floats,
        labels: Floats,
        encoder: Encoder,
        parameters: Mapping[str, Value],
        seed: int,
        weights: Floats | None = None,
    ) -> Logistic:
        """Fit the pipeline to encoded features; see :func:`ml_platform.modeling.estimators.fit`."""
        encode = _transformer(encoder)
        design = sparse.csr_array(encode.fit_transform(matrix))
        model = LogisticRegression(random_state=seed, **parameters).fit(design, labels, sample_weight=weights)
        return cls(Pipeline([("encode", encode), ("model", model)]))

    @classmethod
    def load(cls, payload: bytes, encoder: Encoder) -> Logistic:
        """Read the skops archive.

        Raises:
            IntegrityError: It is damaged, holds a type that is not allowed, or has other features.
        """
        pipeline = skops_format.loads(payload, ALLOWED_TYPES)
        if not isinstance(pipeline, Pipeline) or pipeline.n_features_in_ != len(encoder.features):
            raise IntegrityError(
                "this is no pipeline of the bundle's features",
                where="model.skops of the bundle",
                fix="roll back to an earlier model, or train again",
            )
        return cls(pipeline)

    def predict(self, matrix: Floats) -> Floats:
        """Probability of a positive (rows,)."""
        model = self.pipeline["model"]
        odds = self._design(matrix) @ model.coef_[0] + model.intercept_[0]
        return np.asarray(special.expit(odds), dtype=np.float64)

    def contributions(self, matrix: Floats) -> Floats:
        """Coefficient times value, in log-odds (rows, features + 1); the last column is the intercept.

        Numeric features are scaled, so theirs are relative to the mean training row.
        """
        encode, model = self.pipeline["encode"], self.pipeline["model"]
        sources = _sources(encode)
        spread = sparse.csr_array(
            (model.coef_[0], (np.arange(sources.size), sources)), shape=(sources.size, matrix.shape[1])
        )
        terms = (self._design(matrix) @ spread).toarray()
        return np.column_stack([terms, np.full(len(matrix), model.intercept_[0])])

    def to_bytes(self) -> bytes:
        """A skops archive without times or memory addresses."""
        return skops_format.dumps(self.pipeline)

    def _design(self, matrix: Floats) -> sparse.csr_array:
        """The design matrix, always sparse: its products are summed in one order on any machine."""
        return sparse.csr_array(self.pipeline["encode"].transform(matrix))


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
