from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.evidence import (
    CONTRACT_SCHEMA,
    FEED_DAY_SCHEMA,
    MODEL_SCHEMA,
    REFERENCE_SCORE_SCHEMA,
    conform,
    label_schema,
    prediction_schema,
)

NOW = datetime(2024, 3, 1, tzinfo=UTC)
FEATURES = [FeatureConfig(name="weight"), FeatureConfig(name="depot", kind="categorical")]


def reference_scores(**columns: list[object]) -> pa.Table:
    base: dict[str, list[object]] = {
        "partition_key": ["2024-03-01"],
        "entity_key": ["2024-03-01/7"],
        "probability": [0.25],
        "label": [1],
        "source": ["gate"],
    }
    return pa.table({**base, **columns})


@pytest.mark.parametrize(
    "schema",
    [
        FEED_DAY_SCHEMA,
        CONTRACT_SCHEMA,
        MODEL_SCHEMA,
        REFERENCE_SCORE_SCHEMA,
        prediction_schema(FEATURES, Binary().served()),
        label_schema({"delivered_at": pa.timestamp("us", tz="UTC")}),
    ],
    ids=lambda schema: schema.metadata[b"schema"].decode(),
)
def test_every_schema_names_itself_and_its_version(schema: pa.Schema) -> None:
    assert schema.metadata[b"schema_version"] == b"1"
    assert schema.metadata[b"schema"]


def test_predictions_keep_the_features_as_served() -> None:
    schema = prediction_schema(FEATURES, Binary().served())
    assert schema.field("weight").type == pa.float64()
    assert schema.field("depot").type == pa.string()
    wanted = {"cutoff", "feature_code_version", "model_version", "cache_generation", "arm", "role"}
    assert wanted <= set(schema.names)


def test_a_feature_with_a_name_of_the_prediction_is_refused() -> None:
    with pytest.raises(ConfigError, match="role"):
        prediction_schema([FeatureConfig(name="role")], Binary().served())
    with pytest.raises(ConfigError, match="revision"):
        label_schema({"revision": pa.int64()})


def test_a_table_takes_the_schema_and_survives_a_round_trip() -> None:
    table = conform(reference_scores(extra=["dropped"]), REFERENCE_SCORE_SCHEMA)
    assert table.schema.equals(REFERENCE_SCORE_SCHEMA, check_metadata=True)
    assert table.column("label").to_pylist() == [1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"probability": [None]}, "probability are null"),
        ({"label": [1000]}, "label is int64, not int8"),
        ({"source": [NOW]}, None),
    ],
)
def test_what_does_not_fit_is_refused(columns: dict[str, list[object]], message: str | None) -> None:
    table = reference_scores(**columns)
    if message is None:
        assert conform(table, REFERENCE_SCORE_SCHEMA).column("source").type == pa.string()
        return
    with pytest.raises(IntegrityError, match=message):
        conform(table, REFERENCE_SCORE_SCHEMA)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(IntegrityError, match=r"reference scores: the column\(s\) source"):
        conform(reference_scores().drop_columns("source"), REFERENCE_SCORE_SCHEMA)
