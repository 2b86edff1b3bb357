"""Whether a use case that can be loaded can also be run, as far as that shows without reading any data.

Its views are built over feeds without rows: what DuckDB refuses then, and a column that is not there then, it
refuses with rows, too. What depends on values is left to a look at the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from ml_platform.config import UseCase
from ml_platform.errors import ConfigError
from ml_platform.features.dbt import compiled_views
from ml_platform.features.engine import FeedFiles, build_view, history_schema, warehouse
from ml_platform.lifecycle.feed_contracts import arrow_schema, contract_of
from ml_platform.lifecycle.views import cutoffs
from ml_platform.model_config import ModelConfig
from ml_platform.remarks import Remark

_BY_TEXT = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
"""What DuckDB refuses by the text of the SQL and the types of the columns, whatever the rows hold."""
_BY_ROWS = re.compile(r"\bpivot(_wider|_longer)?\b", re.IGNORECASE)
"""Makes columns out of values: without rows there are none of them."""


def require_runnable(use_case: UseCase, models: Sequence[str]) -> None:
    """Stop before any work where it would be in vain.

    Args:
        use_case: One that can be loaded.
        models: Names of the models to run; what is wrong with another one stops none of them.

    Raises:
        ConfigError: Something must be mended, told in the words of ``ml-platform use-case check``.
    """
    wrong = [r for r in dry_remarks(use_case, models) if r.level == "error"]
    if len(wrong) == 1:
        raise ConfigError(wrong[0].what, where=wrong[0].where, fix=wrong[0].fix)
    if wrong:
        errors = [ConfigError(r.what, where=r.where, fix=r.fix) for r in wrong]
        told = "\n".join(f"{i}. {error}" for i, error in enumerate(errors, 1))
        raise ConfigError(
            f"{len(wrong)} things must be mended before it can run:\n{told}",
            where=str(use_case.folder),
            fix="mend each as it says",
        )


def dry_remarks(use_case: UseCase, models: Sequence[str] | None = None) -> list[Remark]:
    """What is wrong with training settings and SQL without a look at the data.

    Args:
        use_case: One that can be loaded.
        models: Names of the models to look at; all when None.
    """
    looked_at = [m for m in use_case.config.models if models is None or m.name in models]
    found = [r for m in looked_at for r in training_remarks(use_case, m)]
    try:
        features, labels = _without_rows(use_case)
    except ConfigError as error:
        if isinstance(error.__cause__, _BY_TEXT):
            found.append(Remark("error", error.what, error.where or str(use_case.dbt_dir), error.fix))
        return found
    for model in looked_at:
        if features is not None:
            found += feature_remarks(use_case, model, features)
        if labels is not None:
            found += label_column_remarks(use_case, model, labels)
    return found


def training_remarks(use_case: UseCase, model: ModelConfig) -> Iterator[Remark]:
    """What would stop the training after minutes of building features."""
    where, training = f"{use_case.folder / 'use_case.yaml'}: model {model.name}", model.training
    if training.parameters:
        # Estimators cost a second of import; the platform's own parameters are right.
        from ml_platform.modeling.estimators import resolve_parameters
        from ml_platform.modeling.task import Task

        try:
            resolve_parameters(training.estimator, training.parameters, Task.of(model))
        except ConfigError as error:
            yield Remark("error", error.what, f"{where}, {error.where}", error.fix)
    if training.estimator == training.baseline:
        what = f"the baseline is {training.baseline} too: the gate against it compares a model with itself"
        yield Remark(
            "warning", what, f"{where}, training.baseline", "take another, or leave the baseline out"
        )


def feature_remarks(use_case: UseCase, model: ModelConfig, features: pa.Schema) -> Iterator[Remark]:
    """Features that the view lacks or has in another type than the settings say."""
    where = f"{use_case.folder / 'use_case.yaml'}: model {model.name}"
    for feature in model.features:
        if feature.name not in features.names:
            fix = f"select it in the SQL of {use_case.config.views.features}, or take it out"
            yield Remark("error", f"feature {feature.name} is not in the features view", where, fix)
            continue
        kind = features.field(feature.name).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if feature.kind == "numeric" and not number:
            fix = "cast it to double in SQL, or say kind: categorical"
            yield Remark("error", f"feature {feature.name} is {kind}, not numeric", where, fix)


def label_column_remarks(use_case: UseCase, model: ModelConfig, labels: pa.Schema) -> Iterator[Remark]:
    """Columns of a model's label that the view lacks."""
    view = use_case.dbt_dir / "models" / f"{use_case.config.views.labels}.sql"
    column, instant = model.label.column, model.label.known_at
    if column not in labels.names:
        yield Remark("error", f"the labels view has no column {column}", f"{view}: {column}", "select it")
    if instant not in labels.names:
        fix = "select the instant from which the label is known, or name its column in label.known_at"
        yield Remark("error", f"the labels view has no column {instant}", f"{view}: {instant}", fix)


def _without_rows(use_case: UseCase) -> tuple[pa.Schema | None, pa.Schema | None]:
    """The columns of features and labels; None of a view whose columns depend on rows.

    Raises:
        ConfigError: DuckDB refuses the SQL.
    """
    views = compiled_views(use_case)
    names = use_case.config.views.feeds or tuple(f.name for f in use_case.config.feeds)
    feeds = [FeedFiles(n, (), history_schema(arrow_schema(contract_of(use_case, n)))) for n in names]
    asked = cutoffs(use_case, [use_case.scheme.first_key])
    with warehouse(feeds, asked, asked[0].cutoff) as connection:
        return (
            None
            if _BY_ROWS.search(views.entities.sql + views.features.sql)
            else build_view(connection, views, views.features).schema,
            None
            if _BY_ROWS.search(views.entities.sql + views.labels.sql)
            else build_view(connection, views, views.labels).schema,
        )
