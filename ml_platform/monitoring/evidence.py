"""The evidence that a later diagnosis needs, as schemas, and its builder per feed and day.

Stored evidence beats statistics for breaks of data, skew, changed label definitions and immaturity;
so it is stored from the first prediction on. Each schema carries its name and version as metadata,
and :func:`conform` holds a table to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.model_config import FeatureConfig

SCHEMA_VERSION = 1
INSTANT = pa.timestamp("us", tz="UTC")

_PREDICTION = (
    ("partition_key", pa.string(), False),
    ("entity_key", pa.string(), False),
    ("event_time", INSTANT, False),
    ("cutoff", INSTANT, False),
)
_PREDICTED = (
    ("decision", pa.string(), False),
    ("model_version", pa.string(), False),
    ("model_digest", pa.string(), False),
    ("feature_code_version", pa.string(), False),
    ("cache_generation", pa.string(), True),
    ("arm", pa.string(), False),
    ("role", pa.string(), False),
    ("scoring_revision", pa.int32(), False),
)
_LABEL = (
    ("partition_key", pa.string(), False),
    ("entity_key", pa.string(), False),
    ("event_time", INSTANT, False),
    ("label", pa.int8(), True),
    ("label_code_version", pa.string(), False),
    ("label_known_at", INSTANT, True),
    ("revision", pa.int32(), False),
)
_FEED_DAY = (
    ("feed", pa.string(), False),
    ("partition_key", pa.string(), False),
    ("column", pa.string(), False),
    ("kind", pa.string(), False),
    ("rows", pa.int64(), False),
    ("nulls", pa.int64(), False),
    ("null_rate", pa.float64(), False),
    ("distinct", pa.int64(), False),
    ("minimum", pa.float64(), True),
    ("maximum", pa.float64(), True),
    ("mean", pa.float64(), True),
    ("standard_deviation", pa.float64(), True),
    ("histogram_bins", pa.list_(pa.int32()), False),
    ("histogram_counts", pa.list_(pa.int64()), False),
    ("values", pa.list_(pa.string()), False),
    ("value_counts", pa.list_(pa.int64()), False),
    ("lattice_step", pa.float64(), True),
)
_CONTRACT = (
    ("feed", pa.string(), False),
    ("partition_key", pa.string(), False),
    ("rule", pa.string(), False),
    ("segment", pa.string(), True),
    ("contract_version", pa.string(), False),
    ("rows", pa.int64(), False),
    ("breaches", pa.int64(), False),
    ("measured", pa.float64(), True),
    ("limit", pa.string(), True),
    ("action", pa.string(), False),
    ("state", pa.string(), False),
)
_REFERENCE_SCORE = (
    ("partition_key", pa.string(), False),
    ("entity_key", pa.string(), False),
    ("probability", pa.float64(), False),
    ("label", pa.int8(), False),
    ("source", pa.string(), False),
)
_MODEL = (
    ("model_key", pa.string(), False),
    ("model_version", pa.string(), False),
    ("model_digest", pa.string(), False),
    ("dataset_version", pa.string(), False),
    ("feature_code_version", pa.string(), False),
    ("label_code_version", pa.string(), False),
    ("training_partitions", pa.list_(pa.string()), False),
    ("gate_partitions", pa.list_(pa.string()), False),
    ("training_base_rate", pa.float64(), False),
    ("reference_scores", pa.string(), False),
    ("as_of", INSTANT, False),
)


def _schema(name: str, fields: Iterable[tuple[str, pa.DataType, bool]]) -> pa.Schema:
    return pa.schema(
        [pa.field(n, kind, nullable=nullable) for n, kind, nullable in fields],
        metadata={"schema": name, "schema_version": str(SCHEMA_VERSION)},
    )


FEED_DAY_SCHEMA = _schema("feed_day_evidence", _FEED_DAY)
"""Per feed, partition and column; see :func:`ml_platform.monitoring.feed_day.feed_evidence`."""
CONTRACT_SCHEMA = _schema("contract_evidence", _CONTRACT)
"""Per feed, partition and rule, overall (``segment`` null) and per segment."""
REFERENCE_SCORE_SCHEMA = _schema("reference_scores", _REFERENCE_SCORE)
"""Frozen out-of-sample scores of a model; ``source`` is ``gate`` or ``cross_fitted``."""
MODEL_SCHEMA = _schema("model_evidence", _MODEL)
"""Per model: what it was trained on; ``reference_scores`` is the digest of that object."""


def prediction_schema(
    features: Sequence[FeatureConfig], scores: Sequence[tuple[str, pa.DataType, bool]]
) -> pa.Schema:
    """Schema of prediction evidence: the prediction, then the features as they were served.

    Args:
        features: The model's inputs.
        scores: Its score columns; see :meth:`ml_platform.kinds.base.Kind.served`.

    Raises:
        ConfigError: A feature has the name of one of the prediction's own columns.
    """
    kinds = {"numeric": pa.float64(), "categorical": pa.string()}
    served = [(f.name, kinds[f.kind], True) for f in features]
    return _extended("prediction_evidence", (*_PREDICTION, *scores, *_PREDICTED), served)


def label_schema(outcomes: Mapping[str, pa.DataType]) -> pa.Schema:
    """Schema of label evidence: the derived label, then the raw outcomes it was derived from.

    Raises:
        ConfigError: An outcome has the name of one of the label's own columns.
    """
    return _extended("label_evidence", _LABEL, [(n, kind, True) for n, kind in outcomes.items()])


def _extended(
    name: str,
    fixed: tuple[tuple[str, pa.DataType, bool], ...],
    added: list[tuple[str, pa.DataType, bool]],
) -> pa.Schema:
    taken = {field[0] for field in fixed}
    clash = [field[0] for field in added if field[0] in taken]
    if clash:
        raise ConfigError(
            f"column name(s) that {name.replace('_', ' ')} keeps for itself: {', '.join(clash)}",
            where="use_case.yaml",
            fix="rename them in the dbt model and in the use case",
        )
    return _schema(name, [*fixed, *added])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns, types and metadata; other columns are dropped.

    Raises:
        IntegrityError: A column is missing, cannot be cast without loss, or has a null where the
            schema forbids it.
    """
    name = (schema.metadata or {}).get(b"schema", b"evidence").decode()
    missing = [n for n in schema.names if n not in table.column_names]
    if missing:
        raise _misfit(name, f"the column(s) {', '.join(missing)} are missing")
    columns = [_column(table, field, name) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(table: pa.Table, field: pa.Field, name: str) -> pa.ChunkedArray:
    column = table.column(field.name)
    if column.null_count and not field.nullable:
        raise _misfit(name, f"{column.null_count} value(s) of {field.name} are null")
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _misfit(name, f"{field.name} is {column.type}, not {field.type}: {error}") from error


def _misfit(name: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"{name.replace('_', ' ')}: {what}",
        where=f"schema {name}, version {SCHEMA_VERSION}",
        fix="compare the table with the schema in ml_platform.monitoring.evidence",
    )
