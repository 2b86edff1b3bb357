"""Alerts go to the addresses of the environment, else to the log, and never tell an address."""

import logging
import socketserver
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from typing import Any, ClassVar, TypeAlias

import pytest

from ml_platform.config import OwnerConfig
from ml_platform.lifecycle.alerts import MAIL_VARIABLE, URLS_VARIABLE, Alert, send, team_variable

Inbox: TypeAlias = tuple[str, list[dict[str, Any]]]
ALERT = Alert("score_day failed", "partition 2020-09-07")


class Post(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over one mail."""

    received: ClassVar[list[tuple[str, str]]] = []

    def handle(self) -> None:
        self.say("220 ready")
        recipient = ""
        for raw in self.rfile:
            line = raw.decode().strip()
            if line.upper().startswith("EHLO"):
                self.say("250-here\r\n250 AUTH PLAIN")
            elif line.upper().startswith("AUTH"):
                self.say("235 known")
            elif line.upper().startswith("RCPT"):
                recipient = line.partition("<")[2].partition(">")[0]
                self.say("250 ok")
            elif line.upper() == "DATA":
                self.say("354 go on")
                text = "".join(part.decode() for part in iter(self.rfile.readline, b".\r\n"))
                self.received.append((recipient, text))
                self.say("250 kept")
            elif line.upper() == "QUIT":
                return self.say("221 bye")
            else:
                self.say("250 ok")
        return None

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A mail server that keeps what it is sent."""
    Post.received = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Post) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], Post.received
        server.shutdown()


def test_without_an_address_an_alert_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told = send(ALERT, {})
    assert told == [f"alert logged (no {URLS_VARIABLE} is set): score_day failed"]
    assert "score_day failed: partition 2020-09-07" in caplog.text


def test_an_alert_reaches_each_address_that_answers(listener: Inbox) -> None:
    address, received = listener
    told = send(ALERT, {URLS_VARIABLE: f"nonsense://x json://token:secret@{address}/hook"})
    assert [m["title"] for m in received] == ["score_day failed"]
    assert received[0]["message"] == "partition 2020-09-07"
    assert "1 of 2 FAILED" in told[0] and told[1].endswith("2 of 2 sent")


def test_an_alert_says_how_bad_it_is_whose_it_is_and_where_to_look(
    listener: Inbox,
) -> None:
    address, received = listener
    environment = {URLS_VARIABLE: f"json://{address}/hook"}
    send(ALERT, environment)
    send(replace(OWNED, severity="failure", link="http://ui/runs/1"), environment)
    assert [m["type"] for m in received] == ["warning", "failure"]
    assert received[1]["message"].splitlines()[1:] == [
        "owner: front-desk 2, desk@example.org",
        "look:  http://ui/runs/1",
    ]


def test_no_address_is_told_to_anybody(listener: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    told = send(ALERT, {URLS_VARIABLE: "json://token:secret@127.0.0.1:9/hook"})
    assert told == ["alert to address 1 of 1 FAILED: no answer"]
    ours = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("ml_platform"))
    assert "secret" not in ours + str(told)


OWNED = Alert("an incident", "look", OwnerConfig(team="front-desk 2", email="desk@example.org"))


def test_a_team_is_told_what_it_owns_and_nothing_else(listener: Inbox) -> None:
    address, received = listener
    environment = {
        URLS_VARIABLE: f"json://{address}/all",
        team_variable("front-desk 2"): f"json://{address}/desk",
        team_variable("others"): f"json://{address}/others",
    }
    assert team_variable("front-desk 2") == "ML_PLATFORM_ALERT_URLS_FRONT_DESK_2"

    assert len(send(OWNED, environment)) == 2
    assert len(send(ALERT, environment)) == 1

    assert [m["title"] for m in received] == ["an incident", "an incident", "score_day failed"]


def test_mail_goes_to_the_owner_s_address(mailbox: tuple[int, list[tuple[str, str]]]) -> None:
    port, received = mailbox
    account = f"mailto://user:secret@127.0.0.1:{port}?smtp=127.0.0.1&from=platform@example.org&mode=insecure"

    assert send(OWNED, {MAIL_VARIABLE: account}) == ["alert to address 1 of 1 sent"]

    ((recipient, text),) = received
    assert recipient == "desk@example.org" and "Subject: an incident" in text
