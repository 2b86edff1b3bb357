"""The same lifecycle with its lake on S3, its ledger on Postgres, and DynamoDB or Redis as serving cache."""

from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from library import MODEL, NEXT_WEEK, SERVED, Library, open_library, serve_first, train_first
from servers import postgres_binaries

from ml_platform.datasets import versions
from ml_platform.errors import StoreError
from ml_platform.lifecycle import doctor, promotion
from ml_platform.lifecycle.caching import as_generation, committed_generation
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.reading import client
from ml_platform.registry import promotions
from ml_platform.serving.generations import Generation
from ml_platform.serving.records import PredictionRecord
from ml_platform.storage.lake import S3Lake


def generation(library: Library) -> Generation:
    row = committed_generation(library.platform, MODEL)
    assert row is not None
    return as_generation(row)


def read(library: Library, week: str) -> PredictionRecord:
    segment = generation(library).by_partition[week].segment_id
    key = library.platform.cache.neighbours(segment, week, 1)[0]
    return client(library.platform).get(MODEL, key).record


@pytest.fixture
def redis_cache(redis_port: int) -> str:
    return f"redis://127.0.0.1:{redis_port}/0?prefix=test-{uuid4().hex}"


@pytest.fixture
def ledger_at_scale(request: pytest.FixtureRequest) -> dict[str, str]:
    """A ledger on Postgres; where there is none the ledger's own tests say so, and S3 is tested still."""
    if postgres_binaries() is None:
        return {}
    return {"ML_PLATFORM_LEDGER_URL": request.getfixturevalue("postgres_url")}


def test_the_whole_lifecycle_on_s3_dynamodb_and_postgres_gives_the_same_as_on_a_disk(
    served: Library,
    aws_endpoint: str,
    aws: None,
    ledger_at_scale: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"AWS_ENDPOINT_URL": aws_endpoint, "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    bucket = f"lake-{uuid4().hex}"
    place = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)  # type: ignore[arg-type]
    home = tmp_path / "remote"
    home.mkdir()
    (home / "mlflow.db").write_bytes((served.platform.home / "mlflow.db").read_bytes())
    remote = open_library(
        home,
        ML_PLATFORM_LAKE=f"s3://{bucket}/platform",
        ML_PLATFORM_CACHE=f"dynamodb://{bucket}?region=eu-central-1&endpoint={aws_endpoint}&create=true",
        **ledger_at_scale,
    )
    assert isinstance(remote.platform.lake, S3Lake)
    train_first(remote)
    serve_first(remote)
    there, here = (
        [d.version for d in versions.versions(lib.platform.ledger, MODEL)] for lib in (remote, served)
    )
    assert there == here, "the same dataset version in a fresh home"
    first, ours = (promotions.require_champion(lib.platform.ledger, MODEL) for lib in (remote, served))
    assert first.model_digest == ours.model_digest, "and the same model"
    assert generation(remote) == generation(served)
    assert read(remote, SERVED[1]) == read(served, SERVED[1])
    stored = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="platform/objects/")
    assert stored["KeyCount"] > 150
    assert {f.state for f in doctor.examine(remote.platform)} == {"ok"}


def test_redis_serves_rolls_back_and_is_mended(
    succeeded_home: Path, redis_cache: str, unchecked: None, tmp_path: Path
) -> None:
    library = open_library(copy_home(succeeded_home, tmp_path / "home"), ML_PLATFORM_CACHE=redis_cache)
    findings = [f for f in doctor.examine(library.platform) if f.state == "repaired"]
    assert len(findings) == 1 and "3 segment(s) written" in findings[0].what
    assert read(library, NEXT_WEEK).model_version == 2
    report = promotion.roll_back(library.platform, library.target, "ada", "complaints")
    assert report.generation is not None and library.platform.cache.current(MODEL) == report.generation.id
    assert read(library, NEXT_WEEK).model_version == 1
    assert not library.serve().new


def test_a_bucket_that_is_not_there_lands_nothing(
    aws_endpoint: str, aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    library = open_library(tmp_path, ML_PLATFORM_LAKE="s3://no-such-bucket/platform")
    with pytest.raises(StoreError, match="cannot be written"):
        library.deliver("loans", ["2020-01-06"])
    assert library.platform.ledger.heads("feed/loans/landed") == {}
