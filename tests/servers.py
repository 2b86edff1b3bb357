"""Real servers on loopback that tests share: Redis, Postgres, S3 and DynamoDB over HTTP, and an inbox."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An HTTP server that keeps what is posted to it: its address without a scheme, and what came."""
    received: list[dict[str, Any]] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Keep) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()


@pytest.fixture
def inbox(
    listener: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """What comes to the address that all alerts go to."""
    address, received = listener
    monkeypatch.setenv("ML_PLATFORM_ALERT_URLS", f"json://{address}/")
    return received


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


def postgres_binaries() -> Path | None:
    """Where Postgres's programs are; Debian keeps them off PATH."""
    found = [str(f) for f in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    initdb = found[-1] if found else shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a Postgres of our own, without the database's name."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("NOT TESTED: Postgres is not installed (Debian and Ubuntu: apt install postgresql)")
    # Postgres refuses to run as root.
    owner: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
    who = owner if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="ml-platform-postgres-"))
    if who:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    try:
        make = [
            binaries / "initdb",
            "-D",
            folder / "data",
            "-A",
            "trust",
            "-U",
            "test",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **who)
        options = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
        settings = [part for option in options for part in ("-c", option)]
        command = [binaries / "postgres", "-D", folder / "data", *settings]
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **who)
        try:
            _wait_for_postgres(f"postgresql://test@127.0.0.1:{port}/postgres")
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """An empty database, as the ledger's address."""
    import psycopg

    name = f"ledger_{uuid4().hex}"
    with psycopg.connect(f"postgresql://test@{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://test@{postgres_server}/{name}"


def _wait_for_postgres(address: str) -> None:
    import psycopg

    for _ in range(400):
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address):
            return
        time.sleep(0.05)
    raise AssertionError("Postgres did not answer within 20 seconds")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger on each database that is supported."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


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
