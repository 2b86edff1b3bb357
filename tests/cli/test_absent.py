"""What is told of a use case that is not there: it was once, its folder is named wrongly, or so is it."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from library import FOLDER, MODEL, NAME, Library
from typer.testing import CliRunner

from ml_platform.cli import main as run_main
from ml_platform.cli.main import app
from ml_platform.cli.shared import console, errors, tell_absent
from ml_platform.errors import StoreError
from ml_platform.lifecycle import absent
from ml_platform.lifecycle.platform import Platform
from ml_platform.lifecycle.reading import application

READERS = [
    ["get", MODEL, "x"],
    ["verdict", "show", MODEL],
    ["export", MODEL],
    ["run", NAME],
    ["use-case", "check", NAME],
    ["champion", "history", MODEL],
]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 400)
    monkeypatch.setattr(errors, "width", 400)


@pytest.fixture
def gone(served: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search path that does not exist, where the served use case was."""
    monkeypatch.setenv("ML_PLATFORM_HOME", str(served.platform.home))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(tmp_path / "gone"))
    return tmp_path / "gone"


def told(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["ml-platform", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_main()
    shown = capsys.readouterr().err
    assert stopped.value.code == 2 and "fix:" in shown and "Traceback" not in shown
    return shown


def test_one_that_was_removed_is_told_by_every_reader(
    gone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in READERS:
        shown = told(arguments, monkeypatch, capsys)
        assert f"use case '{NAME}' was removed" in shown, arguments
        assert "partition(s) of predictions and 1 dataset version(s)" in shown
        assert "put its folder back" in shown
        assert f"ML_PLATFORM_USE_CASES names {gone}, which does not exist as a folder" in shown


def test_a_feed_of_one_that_was_removed_is_told_by_quarantine(
    gone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["list", "--feed", "loans"], ["show", "loans"], ["replay", "loans"]):
        shown = told(["quarantine", *arguments], monkeypatch, capsys)
        assert f"feed 'loans' is declared no more: use case '{NAME}' was removed" in shown, arguments
        assert "put the folder of its use case back" in shown and "nothing was deleted" in shown
        assert re.search(r"; [1-9]\d* partition\(s\) of it are kept", shown), "how many are kept"
    assert "there is no feed 'lons'" in told(["quarantine", "replay", "lons"], monkeypatch, capsys)


def test_a_feed_that_a_use_case_no_longer_declares_is_told(
    served: Library, own_use_case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_PLATFORM_HOME", str(served.platform.home))
    file = own_use_case / "use_case.yaml"
    file.write_text(re.sub(r"\bloans\b", "lendings", file.read_text()))
    shown = told(["quarantine", "replay", "loans"], monkeypatch, capsys)
    assert "feed 'loans' is declared no more: no use case declares it" in shown
    assert "declare it again in the `feeds`" in shown
    assert "did you mean 'lendings'?" in told(["quarantine", "show", "lending"], monkeypatch, capsys)
    file.write_text("name: [")
    shown = told(["quarantine", "replay", "loans"], monkeypatch, capsys)
    assert f"use case '{NAME}' cannot be read, and no other declares it" in shown


def test_what_is_shown_says_what_is_not(gone: Path) -> None:
    for arguments in (["use-case", "list"], ["catalogue", "--json"], ["quarantine", "list"]):
        shown = CliRunner().invoke(app, arguments).output
        assert f"'{NAME}' was removed" in shown, arguments
        assert f"{gone}, which does not exist as a folder" in shown


def test_the_service_says_of_one_that_was_removed_why(gone: Path) -> None:
    with TestClient(application(Platform()), base_url="http://127.0.0.1") as http:
        for answer in (http.get(f"/v1/{MODEL}/x"), http.post(f"/v1/{NAME}", json={"keys": ["x"]})):
            assert answer.status_code == 404
            assert f"use case '{NAME}' was removed" in answer.json()["error"] and answer.json()["fix"]
        assert "no model is served as" in http.get("/v1/nobody/x").json()["error"]


def test_a_ledger_that_is_down_keeps_nothing_from_beginning(
    gone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(_stores: Platform) -> None:
        raise StoreError("the ledger is down", where="ledger", fix="wait")

    monkeypatch.setattr(absent, "removed", down)
    tell_absent(Platform())
    assert str(gone) in capsys.readouterr().err


def test_a_name_that_is_nearly_one_is_recognised(
    library_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", os.pathsep.join([str(FOLDER), str(tmp_path / "gone")]))
    for arguments in (["use-case", "check", NAME[:-1]], ["get", f"{NAME[:-1]}/late", "x"]):
        shown = told(arguments, monkeypatch, capsys)
        assert f"there is no use case '{NAME[:-1]}'" in shown and f"did you mean '{NAME}'?" in shown
        assert str(tmp_path / "gone") in shown
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert "the folder 'empty' holds no use_case.yaml" in told(["run", "empty"], monkeypatch, capsys)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which something listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize("command", ["serve", "pages", "mlflow"])
def test_a_port_that_is_taken_is_told(
    library_environment: dict[str, str],
    taken: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unreached(*_: object) -> None:
        raise AssertionError("the server was started")

    monkeypatch.setattr("os.execve", unreached)
    shown = told([command, "--port", taken], monkeypatch, capsys)
    assert "the port is in use" in shown and f"127.0.0.1:{taken}" in shown
