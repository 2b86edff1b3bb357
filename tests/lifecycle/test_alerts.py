"""Alerts go to the addresses of the environment, else to the log, and never tell an address."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from ml_platform.lifecycle.alerts import URLS_VARIABLE, Alert, send

ALERT = Alert("score_day failed", "partition 2020-09-07")


@pytest.fixture
def listener() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server that keeps what is posted to it."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, received
    server.shutdown()


def test_without_an_address_an_alert_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told = send(ALERT, {})
    assert told == [f"alert logged (no {URLS_VARIABLE} is set): score_day failed"]
    assert "score_day failed: partition 2020-09-07" in caplog.text


def test_an_alert_reaches_each_address_that_answers(listener: tuple[int, list[dict[str, str]]]) -> None:
    port, received = listener
    told = send(ALERT, {URLS_VARIABLE: f"nonsense://x json://token:secret@127.0.0.1:{port}/hook"})
    assert [m["title"] for m in received] == ["score_day failed"]
    assert received[0]["message"] == "partition 2020-09-07"
    assert "1 of 2 FAILED" in told[0] and told[1].endswith("2 of 2 sent")


def test_no_address_is_told_to_anybody(
    listener: tuple[int, list[dict[str, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    told = send(ALERT, {URLS_VARIABLE: "json://token:secret@127.0.0.1:9/hook"})
    assert told == ["alert to address 1 of 1 FAILED: no answer"]
    ours = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("ml_platform"))
    assert "secret" not in ours + str(told)
