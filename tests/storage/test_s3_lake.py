"""The S3 lake over HTTP, against a real S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ml_platform.errors import IntegrityError, NotFoundError, StoreError
from ml_platform.storage.lake import S3Lake, digest_of, open_lake


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def lake(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Lake:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="lake")
    opened = open_lake("s3://lake/some/prefix", tmp_path / "cache")
    assert isinstance(opened, S3Lake)
    return opened


def test_objects_go_to_the_bucket_and_come_back_without_the_cache(lake: S3Lake, tmp_path: Path) -> None:
    digests = lake.put_many([b"one", b"two"])
    other = open_lake("s3://lake/some/prefix", tmp_path / "another-cache")
    assert [other.get(d) for d in digests] == [b"one", b"two"]
    assert [p.read_bytes() for p in other.paths(digests)] == [b"one", b"two"]
    assert set(digests) <= set(other.digests())


def test_a_spoilt_cache_copy_is_fetched_again(lake: S3Lake) -> None:
    digest = lake.put(b"right")
    file = lake.cache.path(digest)
    file.chmod(0o644)
    file.write_bytes(b"wrong")
    assert lake.get(digest) == b"right"


def test_spoilt_bytes_in_the_bucket_are_found_out(lake: S3Lake) -> None:
    digest = digest_of(b"never uploaded")
    lake.client.put_object(Bucket="lake", Key=lake._key(digest), Body=b"something else")
    with pytest.raises(IntegrityError):
        lake.get(digest)


def test_a_missing_object_is_not_found(lake: S3Lake) -> None:
    assert not lake.exists("1" * 64)
    with pytest.raises(NotFoundError):
        lake.get("1" * 64)


def test_a_missing_bucket_is_a_store_error(lake: S3Lake, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        open_lake("s3://no-such-bucket/x", tmp_path / "c").put(b"x")


def test_a_server_that_is_down_is_a_store_error(
    lake: S3Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match="cannot be"):
        open_lake("s3://lake/x", tmp_path / "c").put(b"x")
