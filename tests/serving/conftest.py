"""Real stores for the serving tests: LMDB files, a redis-server, and a DynamoDB server over HTTP."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import DecisionConfig
from ml_platform.serving.cache import ServingCache, open_cache
from ml_platform.serving.generations import Generation, Segment
from ml_platform.serving.records import Scoring, encode_table, segment_id
from ml_platform.storage.lake import digest_of

MODEL = "parcels/late"
AS_OF = datetime(2024, 5, 1, 2, tzinfo=UTC)
WORDS = DecisionConfig(threshold=0.5, positive="will be late", negative="will be on time")
Publish = Callable[..., Generation]


@pytest.fixture
def lmdb_url(tmp_path: Path) -> str:
    return f"lmdb://{tmp_path / 'serving.lmdb'}"


@pytest.fixture
def redis_url(redis_port: int) -> str:
    return f"redis://127.0.0.1:{redis_port}/0?prefix=test-{uuid4().hex}"


@pytest.fixture
def dynamodb_url(aws_endpoint: str, aws: None) -> str:
    return f"dynamodb://test-{uuid4().hex}?region=eu-central-1&endpoint={aws_endpoint}&create=true"


@pytest.fixture(params=["lmdb", "redis", "dynamodb"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def cache(url: str) -> Iterator[ServingCache]:
    opened = open_cache(url)
    yield opened
    opened.close()


@pytest.fixture
def lmdb_cache(lmdb_url: str) -> Iterator[ServingCache]:
    opened = open_cache(lmdb_url)
    yield opened
    opened.close()


def predictions(day: str, parcels: Sequence[str] = ("1", "2", "3"), chance: float = 0.25) -> pa.Table:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    count = len(parcels)
    return pa.table(
        {
            "partition_key": [day] * count,
            "depot": ["K7"] * count,
            "parcel": list(parcels),
            "event_time": pa.array([start + timedelta(hours=15)] * count, pa.timestamp("us", tz="UTC")),
            "cutoff": pa.array([start + timedelta(hours=2)] * count, pa.timestamp("us", tz="UTC")),
            "probability": [min(1.0, chance + 0.25 * i) for i in range(count)],
        }
    )


def scoring(version: int = 1, as_of: datetime = AS_OF) -> Scoring:
    return Scoring(MODEL, version, digest_of(b"model %d" % version), as_of, Binary(), WORDS)


def write_day(cache: ServingCache, table: pa.Table, by: Scoring | None = None) -> Segment:
    """Write a day's predictions aside, as a scoring step does."""
    by = by or scoring()
    day = table["partition_key"][0].as_py()
    items = encode_table(table, ["depot", "parcel"], by)
    name = segment_id(digest_of(repr(table.to_pydict()).encode()), by)
    rows = cache.write_segment(name, items)
    cache.verify_segment(name, rows, items[:2])
    return Segment(partition_key=day, segment_id=name, rows=rows)


def publish_days(cache: ServingCache, *days: str, chance: float = 0.25, version: int = 1) -> Generation:
    """Write and publish a generation of these days alone."""
    by = scoring(version)
    segments = [write_day(cache, predictions(day, chance=chance), by) for day in days]
    generation = Generation.of(MODEL, by.model_digest, segments, AS_OF)
    cache.publish(MODEL, generation)
    return generation
