"""Real servers on loopback that tests share: Redis, and S3 and DynamoDB over HTTP."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def redis_port() -> Iterator[int]:
    """The port of a redis-server of our own."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("NOT TESTED: redis-server is not installed (Debian and Ubuntu: apt install redis-server)")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for_redis(port)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for_redis(port: int) -> None:
    import redis

    with contextlib.closing(redis.Redis(port=port)) as client:
        for _ in range(400):
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.05)
    raise AssertionError("redis-server did not answer within 20 seconds")


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """The address of moto's server, which speaks S3 and DynamoDB."""
    # Importing moto costs .5 CPU-seconds, which only these tests should pay.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that moto takes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
