"""DynamoDB: what only it has."""

import boto3
import pytest
from servers import free_port

from ml_platform.errors import ConfigError, StoreError
from ml_platform.serving.cache import SegmentGoneError, open_cache
from ml_platform.serving.dynamodb_cache import DynamoDbCache
from ml_platform.serving.generations import Generation, Segment

from .conftest import AS_OF, MODEL, predictions, publish_days, write_day

ONE, TWO = "2024-05-01", "2024-05-02"


def test_a_missing_table_is_a_store_error_unless_it_may_be_made(dynamodb_url: str) -> None:
    with pytest.raises(StoreError, match="create=true"):
        open_cache(dynamodb_url.replace("&create=true", "")).current(MODEL)
    assert open_cache(dynamodb_url).current(MODEL) is None
    assert open_cache(dynamodb_url.replace("&create=true", "")).current(MODEL) is None


def test_a_service_that_is_down_is_a_store_error(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"dynamodb://table?region=eu-central-1&endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(StoreError, match="endpoint"):
        open_cache(url).current(MODEL)


def test_region_and_endpoint_may_come_from_the_environment(
    dynamodb_url: str, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dynamodb_url.partition("?")[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    cache = open_cache(f"{table}?create=true")
    assert publish_days(cache, ONE) == open_cache(dynamodb_url).published(MODEL)


def test_more_segments_than_a_transaction_holds_are_refused(dynamodb_url: str) -> None:
    segments = [Segment(partition_key=f"{n:03}", segment_id=f"s{n}", rows=0) for n in range(98)]
    with pytest.raises(ConfigError, match="at most 97"):
        open_cache(dynamodb_url).publish(MODEL, Generation.of(MODEL, "m", segments, AS_OF))


def test_a_segment_published_after_pruning_had_read_it_is_kept(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prune has decided what to drop when another process rolls back to just that."""
    cache = open_cache(dynamodb_url)
    assert isinstance(cache, DynamoDbCache)
    old = publish_days(cache, ONE)
    publish_days(cache, TWO)
    other, decide = open_cache(dynamodb_url), cache._generations

    def decide_and_be_overtaken() -> dict[str, list[Generation]]:
        stored = decide()
        other.publish(MODEL, old)
        return stored

    monkeypatch.setattr(cache, "_generations", decide_and_be_overtaken)
    assert cache.prune(MODEL, []).segments == ()
    assert cache.published(MODEL) == old
    assert cache.get(MODEL, f"{ONE}/K7/1") is not None


def test_reads_go_in_batches_that_the_service_accepts(dynamodb_url: str) -> None:
    cache = open_cache(dynamodb_url)
    keys = [f"{ONE}/{n:03}" for n in range(130)]
    cache.write_segment("s", [(key, key.encode()) for key in keys])
    # The service refuses more than a hundred keys, and one key twice.
    asked = [("s", key) for key in [*keys, *keys]]
    assert cache.read(asked) == [key.encode() for key in [*keys, *keys]]


def test_the_table_is_billed_per_request(dynamodb_url: str, aws_endpoint: str) -> None:
    publish_days(open_cache(dynamodb_url), ONE)
    client = boto3.client("dynamodb", region_name="eu-central-1", endpoint_url=aws_endpoint)
    table = dynamodb_url.removeprefix("dynamodb://").partition("?")[0]
    described = client.describe_table(TableName=table)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_segment_dropped_after_publishing_had_seen_it_stops_the_publication(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publication has checked its segments when another process drops one."""
    cache = open_cache(dynamodb_url)
    before = publish_days(cache, ONE)
    aside = write_day(cache, predictions(TWO))
    other, check = open_cache(dynamodb_url), cache._require

    def check_and_be_overtaken(segments: tuple[Segment, ...]) -> None:
        check(segments)
        other.sweep()

    monkeypatch.setattr(cache, "_require", check_and_be_overtaken)
    with pytest.raises(SegmentGoneError, match="0 of 3 rows"):
        cache.publish(MODEL, Generation.of(MODEL, "m", [aside], AS_OF))
    assert cache.published(MODEL) == before
