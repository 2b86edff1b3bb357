"""Training: encode, perhaps tune, cross-fit, calibrate, fit.

The cross-fitted scores of the training days are kept: no day is scored by a model that saw it, so they
are an honest reference for monitoring, which in-sample scores would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ml_platform.errors import NotReadyError
from ml_platform.model_config import EstimatorName, ModelConfig
from ml_platform.modeling.blocking import block_names
from ml_platform.modeling.calibration import CalibrationReport, calibrate
from ml_platform.modeling.encoding import Encoder
from ml_platform.modeling.estimators import Fitted, fit, parameters_of, resolve_parameters
from ml_platform.modeling.frames import (
    Bools,
    Floats,
    Ints,
    Strings,
    as_table,
    blocked_folds,
    codes_of,
    mean_by,
    partition_keys,
)
from ml_platform.modeling.intervals import Interval
from ml_platform.modeling.model import Model, Provenance
from ml_platform.modeling.parameters import Value
from ml_platform.modeling.summaries import FeatureSummary, summarise
from ml_platform.modeling.task import Task
from ml_platform.statistics.frames import PARTITION, Table

if TYPE_CHECKING:
    from ml_platform.modeling.tuning import Trial, TuningReport

LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy", "skops")
IMPORTANCE_ROWS = 2000
SIDE_BY_SIDE = 2
"""Folds fitted at once; each is fitted in one thread, so that their number changes no result."""
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is done."""


@dataclass(frozen=True)
class TrainedModel:
    """A model and how its training went.

    Attributes:
        model: The model.
        out_of_sample: ``partition_key``, the key columns, ``label`` (code) and ``score`` (one column for each
            class of several) of each training row, scored and calibrated by a model that never saw its fold.
        loss: Loss of those scores, the mean over partitions.
        calibration: Which calibrator was kept and why.
        tuning: What the search tried; None where there was none.
        features: A summary of each feature over the training rows.
    """

    model: Model
    out_of_sample: pa.Table
    loss: float
    calibration: CalibrationReport
    tuning: TuningReport | None
    features: tuple[FeatureSummary, ...]


@dataclass(frozen=True)
class _Examples:
    """Training rows, encoded."""

    task: Task
    table: pa.Table
    encoder: Encoder
    matrix: Floats
    labels: Floats
    partitions: Strings
    folds: Ints
    weights: Floats | None
    days: Ints = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "days", codes_of(self.partitions)[0])

    def daily_loss(self, scores: Floats) -> float:
        """Loss, the mean over partitions."""
        losses = self.task.kind.losses(self.labels, scores)
        return float(mean_by(self.days, losses, int(self.days.max()) + 1).mean())


def train(
    table: Table,
    config: ModelConfig,
    *,
    model_key: str,
    dataset_version: str,
    code_versions: Mapping[str, str],
    estimator: EstimatorName | None = None,
    seed: int | None = None,
    keys: Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    progress: Progress = lambda _, __: None,
) -> TrainedModel:
    """Train one model.

    Args:
        table: Training rows: ``partition_key``, features, label, and the key columns.
        config: The model's settings.
        model_key: ``<use_case>/<model>``.
        dataset_version: The dataset version that the rows are.
        code_versions: Versions of feature and label code, by a name of the caller's choice.
        estimator: None trains the configured estimator with its parameters and tuning; a name trains that
            one with the platform's defaults, as the baseline is.
        seed: Seed of everything random; the configured one when None.
        keys: Key columns; rows are sorted by partition and key, so that their order does not matter.
        weights: Weight of each row of a partition, by partition; the others count once.
        progress: Told what is being done.

    Raises:
        ConfigError: A column is missing or of the wrong type, or a parameter is wrong.
        NotReadyError: A label is null, or a feature in all rows; there is only one partition, or a class is
            missing in a fold's rest.
    """
    name = estimator or config.training.estimator
    task = Task.of(config)
    chosen_seed = config.training.seed if seed is None else seed
    examples = _prepare(table, config, keys, weights)
    overrides = {} if estimator else config.training.parameters
    parameters: Mapping[str, Value] = resolve_parameters(name, overrides, task)
    tuning = None
    if estimator is None and config.training.tuning.trials:
        tuning = _tune(name, examples, parameters, config, chosen_seed, progress)
        parameters = tuning.parameters
    count = int(examples.folds.max()) + 1

    def told(done: int) -> None:
        progress(f"{name}: fold {done} of {count}", 0.5 + 0.4 * done / count)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        crossing = _cross_fit(pool, name, examples, parameters, chosen_seed)
        # Behind the folds, so that the calibrators are fitted beside it.
        whole = pool.submit(_fit, name, examples, parameters, chosen_seed)
        raw = _gathered(crossing, examples, told)
        calibrator, scores, calibration = calibrate(
            task.kind,
            raw,
            examples.labels,
            examples.folds,
            examples.partitions,
            None if config.training.calibration == "auto" else (),
        )
        progress(f"{name}: final fit", 0.9)
        fitted = whole.result()
    model = Model(
        model_key=model_key,
        estimator=name,
        label=config.label.column,
        parameters=parameters,
        encoder=examples.encoder,
        fitted=fitted,
        task=task,
        calibrator=calibrator,
        constant=task.kind.constant(examples.labels),
        importance=_importance(fitted, examples),
        provenance=_provenance(examples, dataset_version, code_versions, chosen_seed),
        # Classes carry their uncertainty in their probabilities; a number needs to be told it.
        interval=None if task.kind.bounded else Interval.fit(examples.labels, scores),
    )
    progress(f"{name}: done", 1.0)
    return TrainedModel(
        model=model,
        out_of_sample=_out_of_sample(examples, keys, scores),
        loss=examples.daily_loss(scores),
        calibration=calibration,
        tuning=tuning,
        features=summarise(examples.encoder, examples.matrix),
    )


def _require_told(table: pa.Table, config: ModelConfig) -> None:
    """A feature without a value would be learned as one that never counts, and then be served with values."""
    empty = [n for n in config.feature_names if table.num_rows and table[n].null_count == table.num_rows]
    if empty:
        raise NotReadyError(
            f"there is no value of {', '.join(empty)} in any of {table.num_rows:,} training rows",
            where="the training table",
            fix="see whether its feed was held back (`ml-platform quarantine list`), or its rows become "
            "known after the cutoffs (known_at); else take the feature out, or correct its SQL",
        )


def _prepare(
    table: Table, config: ModelConfig, keys: Sequence[str], weights: Mapping[str, float] | None
) -> _Examples:
    label, task = config.label.column, Task.of(config)
    needed = [PARTITION, *keys, *config.feature_names, label]
    arrow = as_table(table, needed, "the training table")
    _require_told(arrow, config)
    arrow = arrow.sort_by([(column, "ascending") for column in (PARTITION, *keys)])
    labels = task.kind.labels(arrow, label)
    encoder = Encoder.fit(arrow, config.features)
    partitions = partition_keys(arrow)
    folds = blocked_folds(block_names(arrow, config, keys), config.training.folds)
    by_row = np.array([weights.get(p, 1.0) for p in partitions]) if weights else None
    return _Examples(task, arrow, encoder, encoder.encode(arrow), labels, partitions, folds, by_row)


def _fit(
    name: EstimatorName,
    examples: _Examples,
    parameters: Mapping[str, Value],
    seed: int,
    chosen: Bools | slice = slice(None),
) -> Fitted:
    """The estimator fitted to all rows, or some."""
    return fit(
        name,
        examples.matrix[chosen],
        examples.labels[chosen],
        examples.encoder,
        parameters,
        seed,
        examples.weights[chosen] if examples.weights is not None else None,
        examples.task,
    )


def _cross_fit(
    pool: Executor, name: EstimatorName, examples: _Examples, parameters: Mapping[str, Value], seed: int
) -> list[Future[Floats]]:
    """Scores of each fold by an estimator fitted to the others, some folds side by side."""

    def score(inside: Bools) -> Floats:
        return _fit(name, examples, parameters, seed, ~inside).predict(examples.matrix[inside])

    return [pool.submit(score, examples.folds == fold) for fold in np.unique(examples.folds)]


def _gathered(
    crossing: Sequence[Future[Floats]], examples: _Examples, on_fold: Callable[[int], None] = lambda _: None
) -> Floats:
    """The folds' scores, in the order of the rows."""
    channels = len(examples.task.kind.channels)
    scores = np.empty(examples.labels.size if channels == 1 else (examples.labels.size, channels))
    for done, (fold, found) in enumerate(zip(np.unique(examples.folds), crossing, strict=True)):
        scores[examples.folds == fold] = found.result()
        on_fold(done + 1)
    return scores


def _tune(
    name: EstimatorName,
    examples: _Examples,
    parameters: Mapping[str, Value],
    config: ModelConfig,
    seed: int,
    progress: Progress,
) -> TuningReport:
    # Optuna takes a second to import, and most trainings do not search.
    from ml_platform.modeling.tuning import tune

    settings = config.training.tuning

    def loss(tried: Mapping[str, Value]) -> float:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            crossing = _cross_fit(pool, name, examples, tried, seed)
        return examples.daily_loss(_gathered(crossing, examples))

    def tell(trial: Trial) -> None:
        done = (trial.number + 1) / settings.trials
        progress(f"{name}: trial {trial.number + 1}, loss {trial.loss:.4f}", 0.5 * done)

    space = parameters_of(name, examples.task)
    fixed = frozenset(config.training.parameters)
    return tune(loss, parameters, space, settings, seed, fixed=fixed, on_trial=tell)


def _importance(fitted: Fitted, examples: _Examples) -> dict[str, float]:
    """By feature the mean absolute contribution about its mean, as a share, over evenly spaced rows.

    Of several classes the mean over them.
    """
    rows = np.unique(np.linspace(0, examples.labels.size - 1, IMPORTANCE_ROWS).astype(np.int64))
    terms = fitted.contributions(examples.matrix[rows])[..., :-1]
    moves = np.abs(terms - terms.mean(axis=0)).mean(axis=tuple(range(terms.ndim - 1)))
    shares = moves / moves.sum() if moves.sum() > 0 else moves
    return {n: round(float(s), 6) for n, s in zip(examples.encoder.names, shares, strict=True)}


def _provenance(
    examples: _Examples, dataset_version: str, code_versions: Mapping[str, str], seed: int
) -> Provenance:
    days = sorted(set(examples.partitions))
    return Provenance(
        dataset_version=dataset_version,
        code_versions=dict(code_versions),
        seed=seed,
        partitions=(days[0], days[-1]),
        partition_count=len(days),
        rows=int(examples.labels.size),
        library_versions={name: version(name) for name in LIBRARIES},
    )


def _out_of_sample(examples: _Examples, keys: Sequence[str], scores: Floats) -> pa.Table:
    table = examples.table.select([PARTITION, *keys])
    kind = examples.task.kind
    codes = examples.labels.astype(np.int8) if kind.bounded else examples.labels
    table = table.append_column("label", pa.array(codes))
    for name, values in kind.columns(scores, "score").items():
        table = table.append_column(name, pa.array(values))
    return table
