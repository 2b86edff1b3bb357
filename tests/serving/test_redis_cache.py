"""Redis: what only it has."""

import threading

import pytest
import redis
from servers import free_port

from ml_platform.errors import StoreError
from ml_platform.serving.cache import SegmentGoneError, open_cache
from ml_platform.serving.generations import Generation, Segment
from ml_platform.serving.redis_cache import PASSWORD_VARIABLE, USER_VARIABLE, RedisCache

from .conftest import AS_OF, MODEL, predictions, publish_days, write_day

ONE, TWO = "2024-05-01", "2024-05-02"


@pytest.fixture
def raw(redis_port: int) -> redis.Redis:
    return redis.Redis(port=redis_port)


def prefix_of(redis_url: str) -> str:
    """The server is shared: a test looks only at what it wrote itself."""
    return redis_url.partition("prefix=")[2]


def test_a_server_that_is_down_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="check that Redis runs there"):
        open_cache(f"redis://127.0.0.1:{free_port()}/0").current(MODEL)


def test_the_password_comes_from_the_environment(
    redis_url: str, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.execute_command("ACL", "SETUSER", "reader", "on", ">open-sesame", "~*", "+@all")
    monkeypatch.setenv(USER_VARIABLE, "reader")
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-one")
    with pytest.raises(StoreError) as caught:
        open_cache(redis_url).current(MODEL)
    assert "wrong-one" not in str(caught.value)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open-sesame")
    assert open_cache(redis_url).current(MODEL) is None


def test_a_segment_that_the_server_evicted_is_missing_not_empty(redis_url: str, raw: redis.Redis) -> None:
    cache = open_cache(redis_url)
    generation = publish_days(cache, ONE)
    for name in raw.scan_iter(f"{prefix_of(redis_url)}*{generation.segments[0].segment_id}"):
        raw.delete(name)
    with pytest.raises(SegmentGoneError):
        cache.get(MODEL, f"{ONE}/K7/1")


def test_what_a_kill_left_aside_expires_and_is_swept(redis_url: str, raw: redis.Redis) -> None:
    cache = open_cache(redis_url)

    def killed():  # type: ignore[no-untyped-def]
        yield from ((str(n), b"x") for n in range(1500))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write_segment("s", killed())
    (aside,) = raw.scan_iter(f"{prefix_of(redis_url)}*:writing:s:*")
    assert 0 < raw.ttl(aside) <= 3600
    assert cache.sweep() == 1
    assert not list(raw.scan_iter(f"{prefix_of(redis_url)}*:writing:s:*"))


def test_a_whole_segment_does_not_expire(redis_url: str, raw: redis.Redis) -> None:
    cache = open_cache(redis_url)
    segment = write_day(cache, predictions(ONE))
    (name,) = raw.scan_iter(f"{prefix_of(redis_url)}*{segment.segment_id}")
    assert raw.ttl(name) == -1


def test_pruning_and_publishing_at_once_never_leave_a_generation_without_its_segments(redis_url: str) -> None:
    """One thread goes back and forth between two generations, the other prunes all but the published."""
    cache, pruner = open_cache(redis_url), open_cache(redis_url)
    stop = threading.Event()

    def prune() -> None:
        while not stop.is_set():
            pruner.prune(MODEL, [])

    thread = threading.Thread(target=prune)
    thread.start()
    refused = 0
    try:
        for turn in range(150):
            rows = cache.write_segment(f"s{turn % 2}", [(f"{ONE}/1", b"x")])
            segment = Segment(partition_key=ONE, segment_id=f"s{turn % 2}", rows=rows)
            try:
                cache.publish(MODEL, Generation.of(MODEL, "m", [segment], AS_OF))
            except SegmentGoneError:
                refused += 1
            assert cache.get(MODEL, "1") is not None
    finally:
        stop.set()
        thread.join()
    assert refused < 150, "nothing was ever published"


def test_two_installations_share_a_database_by_prefix(redis_port: int) -> None:
    url = f"redis://127.0.0.1:{redis_port}/0?prefix="
    first, second = open_cache(url + "test-a"), open_cache(url + "test-b")
    publish_days(first, ONE)
    assert second.current(MODEL) is None
    assert isinstance(first, RedisCache)
