"""Every command does what it says, and errors are told as text."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from library import FOLDER, MODEL, NAME, NEXT_WEEK, SERVED, Library, open_library
from servers import free_port
from sqlalchemy import select
from typer.testing import CliRunner

from ml_platform.cli import main as run_main
from ml_platform.cli.main import app
from ml_platform.cli.shared import console, errors
from ml_platform.cli.summary import print_summary
from ml_platform.datasets import versions
from ml_platform.errors import NotFoundError
from ml_platform.lifecycle import pages, training_data
from ml_platform.lifecycle.guard.showing import story_page
from ml_platform.lifecycle.reading import client
from ml_platform.registry import promotions
from ml_platform.storage.tables import Dataset, Evaluation, Promotion

Cli = Callable[..., str]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    values = {"ML_PLATFORM_HOME": str(tmp_path / "home"), "ML_PLATFORM_USE_CASES": str(FOLDER)}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console, "width", 300)
    monkeypatch.setattr(errors, "width", 300)
    return values


@pytest.fixture
def cli(environment: dict[str, str]) -> Cli:
    """Runs a command that must succeed; returns what it printed, with single spaces."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return re.sub(r"[ \t]+", " ", result.output)

    return run


def commands(group: Any, *names: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        path = (*names, name)
        found += commands(command, *path) if hasattr(command, "commands") else [path]
    return found


def test_every_command_has_help(cli: Cli) -> None:
    group: Any = typer.main.get_command(app)
    found = commands(group)
    assert {("dataset", "diff"), ("quarantine", "replay"), ("champion", "history"), ("clock", "set")} <= set(
        found
    )
    assert {
        (n,) for n in ("approve", "reject", "rollback", "get", "serve", "export", "demo", "doctor")
    } <= set(found)
    for path in found:
        assert "Usage:" in cli(*path, "--help")
        command: Any = group
        for name in path:
            command = command.commands[name]
        assert command.help, path


def test_datasets_are_listed_shown_verified_and_checked_out(
    served: Library, cli: Cli, tmp_path: Path
) -> None:
    version = versions.versions(served.platform.ledger, MODEL)[0].version
    assert version in cli("dataset", "list") and version in cli("dataset", "list", "--model", MODEL)
    shown = cli("dataset", "show", version[:8])
    assert "2020-02-10 to 2020-06-08 (18 partitions)" in shown and "branch_late_rate: double" in shown
    assert "all 52 objects are there and whole" in cli("dataset", "verify", version)
    assert "wrote" in cli("dataset", "checkout", version, "--to", str(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out" / f"{version}.parquet").num_rows == 2340


def test_datasets_are_compared(trained: Library, cli: Cli) -> None:
    old = versions.versions(trained.platform.ledger, MODEL)[0].version
    shorter = trained.model(windows={"train": 17})
    new = training_data.build(trained.platform, shorter, trained.now).version
    told = cli("dataset", "diff", old, new)
    assert "removed │ 1: 2020-02-10 to 2020-02-10" in told and "2,340 → 2,250" in told


def test_a_spoilt_dataset_fails_its_verification(trained: Library, environment: dict[str, str]) -> None:
    row = versions.versions(trained.platform.ledger, MODEL)[0]
    manifest = versions.manifest_of(trained.platform.lake, row)
    trained.platform.lake.path(manifest.partitions[0].labels).unlink()
    result = CliRunner().invoke(app, ["dataset", "verify", row.version])
    assert result.exit_code == 1 and "2020-02-10 labels: object" in result.output


def test_quarantine_is_listed_shown_and_replayed(served: Library, cli: Cli) -> None:
    served.advance()
    week = "2020-09-14"
    served.deliver("loans", [week], edits={week: {"pages": {3: 9999}}})
    assert f"loans │ 1 │ {week} │ {week} │ 1 │ pages_in_range" in cli("quarantine", "list", "--feed", "loans")
    assert f"loans │ {week} │ 1 │ pages_in_range" in cli("quarantine", "list", "--all")
    assert "9999" in cli("quarantine", "show", "loans", "--partition", week)
    assert "89 accepted + 1 quarantined" in cli("quarantine", "replay", "loans")


def test_accepted_partitions_that_are_held_back_now_are_told_by_rule_and_to_the_owner(
    served: Library, cli: Cli, own_use_case: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a new rule holds was let in before: it stays, and nobody should learn that by chance."""
    contract, weeks = own_use_case / "contracts" / "loans.yaml", served.weeks("2020-01-06", "2020-09-07")
    text = contract.read_text()
    strict = text.replace("max_value: 2000", "max_value: 500").replace("value: quarantine", "value: hold")
    contract.write_text(strict)
    served.advance()

    told = cli("quarantine", "replay", "loans", "--accepted")

    count = int(re.search(r"pages_in_range │ (\d+) │ 2020-", told).group(1))  # type: ignore[union-attr]
    assert 20 < count <= len(weeks) and told.count("must be") < 5, "no line for each partition"
    assert f"Rows of {count} of them were accepted earlier. They are not taken back" in told
    assert f"correct it in {contract}" in told and "onBreach: quarantine" in told
    assert f"alert logged (no ML_PLATFORM_ALERT_URLS is set): loans: {count} accepted" in told
    owner = served.use_case.config.owner
    assert f"owner: {owner.team}, {owner.email}" in caplog.text and "pages_in_range" in caplog.text
    assert f"loans │ {count} │ " in cli("quarantine", "list")
    with console.capture() as summary:
        print_summary(served.platform, served.use_case, [], [], 0)
    assert f"held back: loans: {count} partition(s) are held back by pages_in_range" in summary.get()
    again = cli("quarantine", "replay", "loans", "--accepted")
    assert "not taken back" in again and "alert" not in again, "those were held before"

    contract.write_text(strict.replace("max_value: 500", "max_value: 5000"))
    assert "held back:" not in cli("quarantine", "replay", "loans"), "the first way to mend it does"


def test_the_story_of_champions_and_going_back(succeeded: Library, cli: Cli, unchecked: None) -> None:
    told = cli("champion", "history", MODEL)
    assert told.index("v2") < told.index("v1") and "policy: automatic" in told and "first" in told
    said = cli("rollback", MODEL, "--why", "complaints", "--who", "grace")
    assert "version 1" in said and "is restored" in said
    champion = promotions.champion(succeeded.platform.ledger, MODEL)
    assert champion is not None and (champion.version, champion.who, champion.why) == (
        1,
        "grace",
        "complaints",
    )


def test_where_there_is_no_use_case_nobody_is_asked_to_name_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(tmp_path))
    monkeypatch.setenv("ML_PLATFORM_EXAMPLES", "false")
    for command in (["champion", "history"], ["verdict", "show"]):
        error = CliRunner().invoke(app, command).exception
        assert isinstance(error, NotFoundError) and "no use case can be read" in str(error)
        assert str(tmp_path) in str(error)


def test_a_person_rejects_a_candidate(challenged: Library, cli: Cli) -> None:
    assert "rejected" in cli("reject", MODEL, "--why", "no", "--who", "ada")
    latest = promotions.latest_evaluation(challenged.platform.ledger, MODEL)
    assert latest is not None
    assert promotions.approval_of(challenged.platform.ledger, latest.id).who == "ada"  # type: ignore[union-attr]


def test_a_candidate_that_is_refused_is_told_with_its_own_gates(challenged: Library, unchecked: None) -> None:
    """The champion's stood there, all of them passed, and not a word of the candidate."""
    with challenged.platform.ledger.begin() as session:
        judged = session.scalars(select(Evaluation).order_by(Evaluation.id.desc())).first()
        assert judged is not None
        failed = [g | {"state": "FAIL"} if g["name"] == "champion" else g for g in judged.gates]
        judged.gates, judged.passed = failed, False
    with console.capture() as summary:
        print_summary(challenged.platform, challenged.use_case, ["late_return"], [], 0)
    told = summary.get()
    assert f"Gates of the last candidate of {MODEL}" in told and "FAIL" in told
    assert f"({judged.model_digest[:12]}) does not pass champion; the champion serves on" in told
    assert "Champion version 1" in told


def test_a_person_approves_a_candidate(challenged: Library, cli: Cli, unchecked: None) -> None:
    told = cli("approve", MODEL, "--why", "yes", "--who", "ada")
    assert promotions.champion(challenged.platform.ledger, MODEL).version == 2  # type: ignore[union-attr]
    assert "version 2 is the champion now" in told
    assert f"what was served up to {SERVED[-1]} stays as the champion before said it" in told
    assert f"version 2 scores from {NEXT_WEEK} on" in told
    with console.capture() as summary:
        print_summary(challenged.platform, challenged.use_case, ["late_return"], [], 0)
    read_back = summary.get().split("read back")[1]
    assert "says model version 1" in read_back and f"version 2 scores from {NEXT_WEEK} on" in read_back


def test_what_waits_for_a_person_is_shown_with_its_gates_and_what_to_say(
    challenged: Library, cli: Cli, own_use_case: Path, unchecked: None
) -> None:
    assert "waits" not in cli("champion", "history", MODEL), "the policy asks nobody"
    settings = own_use_case / "use_case.yaml"
    text = settings.read_text()
    settings.write_text(
        text.replace("    serving:\n", "    promotion: {policy: approval}\n    serving:\n", 1)
    )

    told = cli("champion", "history", MODEL)

    since = challenged.use_case.scheme.local_day(challenged.now)
    assert re.search(rf"waits: version 2 \(model \w{{12}}\) waits for a person since {since}", told)
    assert "PASS" in told.split("waits:")[1] and f"ml-platform approve {MODEL}" in told
    with console.capture() as summary:
        stores = open_library(challenged.platform.home).platform
        print_summary(stores, stores.use_case(NAME), ["late_return"], [], 0)
    said = summary.get()
    assert "version 2 " in said and f"ml-platform reject {MODEL}" in said
    assert f"Gates of version 2 of {MODEL}, which waits" in said and "saved over the champion" in said
    cli("reject", MODEL, "--why", "no")
    assert "waits" not in cli("champion", "history", MODEL)


def test_clocks_are_shown_set_and_advanced(served: Library, cli: Cli) -> None:
    assert "library_2020 │ replay │ 2020-09-06T18:00+00:00" in cli("clock", "show")
    assert "2020-09-07T19:00" in cli(
        "clock", "advance", "--timeline", "library_2020", "--days", "1", "--hours", "1"
    )
    cli("clock", "set", "2020-10-01T00:00:00+00:00", "--timeline", "library_2020")
    assert "2020-10-01" in cli("clock", "show", "--timeline", "library_2020")
    assert served.now.month == 10


def test_one_prediction_is_read_in_words(served: Library, cli: Cli) -> None:
    generation = client(served.platform).generation(MODEL)
    segment = generation.by_partition[SERVED[1]].segment_id
    key = served.platform.cache.neighbours(segment, SERVED[1], 1)[0]
    told = cli("get", NAME, key)
    assert "probably" in told and generation.id in told and key in told


def test_predictions_are_exported(served: Library, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    assert "90 predictions of 1 partition(s)" in cli("export", MODEL, "--to", str(file), "--from", SERVED[1])
    assert pq.read_table(file).num_rows == 90


def test_the_doctor_tells_and_mends(served: Library, cli: Cli, environment: dict[str, str]) -> None:
    served.platform.tracking.project_champion(MODEL, "0" * 64, None)
    only = CliRunner().invoke(app, ["doctor", "--no-repair"])
    assert only.exit_code == 1 and "broken" in only.output
    assert "repaired" in cli("doctor")
    sound = cli("doctor")
    assert "repaired" not in sound and "broken" not in sound


def test_the_catalogue_is_a_table_and_json(served: Library, cli: Cli) -> None:
    shown = next(line for line in cli("catalogue").splitlines() if f"{NAME}.branch_late_rate" in line)
    assert "returns.due_at, returns.returned_at" in shown
    listed = json.loads(cli("catalogue", "--json"))
    assert {"feed", "column", "feature", "label", "dataset", "model", "predictions"} == {
        e["kind"] for e in listed
    }
    assert next(e["columns"] for e in listed if e["name"] == f"{NAME}.staff") == ["branches.staff"]


def test_the_catalogue_is_a_site(served: Library, cli: Cli, tmp_path: Path) -> None:
    assert str(tmp_path / "site" / "index.html") in cli("catalogue", "--html", str(tmp_path / "site"))
    page = (tmp_path / "site" / f"use_case_{NAME}.html").read_text(encoding="utf-8")
    assert f"{NAME}.branch_late_rate" in page and "2020-09-06 18:00 UTC on library_2020" in page


def test_days_are_those_of_the_use_case_s_own_zone(served: Library, cli: Cli) -> None:
    """Half past ten in the evening, UTC, is the next day in Berlin."""
    late = datetime(2020, 9, 1, 22, 30, tzinfo=UTC)
    with served.platform.ledger.begin() as session:
        for row in (*session.scalars(select(Promotion)), *session.scalars(select(Dataset))):
            row.as_of = late
    assert served.use_case.scheme.timezone == "Europe/Berlin"
    for command in (("champion", "history", MODEL), ("dataset", "list")):
        told = cli(*command)
        assert "2020-09-02" in told and "2020-09-01" not in told, command


def test_a_prediction_is_found_by_a_week_as_people_name_it(served: Library, cli: Cli) -> None:
    segment = client(served.platform).generation(MODEL).by_partition[SERVED[1]].segment_id
    key = served.platform.cache.neighbours(segment, SERVED[1], 1)[0]
    year, week, _ = date.fromisoformat(SERVED[1]).isocalendar()
    told = cli("get", MODEL, f"{year}-W{week:02}/{key.partition('/')[2]}")
    assert key in told
    with pytest.raises(NotFoundError, match=f"partition {SERVED[1]} has no prediction of 'nobody'"):
        cli("get", MODEL, f"{year}-W{week:02}/nobody")
    with pytest.raises(NotFoundError, match="no served partition has a prediction of 'harbour'"):
        cli("get", MODEL, "harbour")


def test_the_schema_is_printed_or_written(cli: Cli, tmp_path: Path) -> None:
    cli("schema", "--output", str(tmp_path / "s.json"))
    assert json.loads((tmp_path / "s.json").read_text()) == json.loads(cli("schema"))


def test_prepare_makes_an_empty_installation_usable(cli: Cli, environment: dict[str, str]) -> None:
    cli("prepare")
    home = Path(environment["ML_PLATFORM_HOME"])
    assert (home / "ledger.db").exists() and (home / ".ml-platform-home").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["champion", "history", "no_such_use_case"], "there is no use case 'no_such_use_case'"),
        (["rollback", MODEL], "has no champion"),
        (["get", MODEL, "x"], "no published generation"),
        (["clock", "set", "tomorrow", "--timeline", "library_2020"], "'tomorrow' is no instant"),
        (["clock", "set", "2020-01-01T00:00:00Z", "--timeline", "library_2020"], "add --back"),
        (["dataset", "show", "abc"], "`ml-platform dataset list` shows them"),
        (["export", MODEL], "score partitions of that range first"),
        (["quarantine", "replay", "loans"], "nothing waits"),
    ],
)
def test_errors_are_told_as_text_with_a_fix(
    environment: dict[str, str],
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["ml-platform", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_main()
    shown = capsys.readouterr().err
    assert stopped.value.code == 2 and told in shown and "fix:" in shown and "Traceback" not in shown


def test_predictions_are_served_over_http_on_loopback(served: Library, environment: dict[str, str]) -> None:
    segment = client(served.platform).generation(MODEL).by_partition[SERVED[1]].segment_id
    key = served.platform.cache.neighbours(segment, SERVED[1], 1)[0]
    with command_serving("serve", environment) as (server, address):
        prediction = json.loads(_ask(server, f"{address}/v1/{MODEL}/{key}"))
        assert prediction["key"] == key and "probably" in prediction["text"]


def test_pages_are_shown_where_the_ui_links_to(
    served: Library, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    html = story_page(served.platform, served.target, served.now).encode()
    assert b"<td>first</td><td>v1</td>" in html and b"No verdict asked for anything." in html
    digest = pages.publish(served.platform, served.target, "chart", SERVED[1], html, served.now)
    model = promotions.champion(served.platform.ledger, MODEL)
    assert model is not None
    with command_serving("pages", environment) as (server, address):
        monkeypatch.setitem(served.platform.environment, "ML_PLATFORM_PAGES_URL", address)
        assert _ask(server, pages.address(served.platform, digest)) == html
        assert f'href="/pages/{digest}"' in _ask(server, address).decode()
        assert f"{NAME}.branch_late_rate" in _ask(server, f"{address}/catalogue").decode()
        assert "make demo" in _ask(server, served.platform.readme_address(served.use_case)).decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            _ask(server, f"{address}/pages/{model.model_digest}")


@pytest.mark.slow
def test_mlflow_shows_the_run_that_the_ui_links_to(served: Library, environment: dict[str, str]) -> None:
    champion = promotions.champion(served.platform.ledger, MODEL)
    assert champion is not None
    link = pages.mlflow_address(served.platform, champion.model_digest)
    assert link is not None
    experiment, run = link.split("/#/experiments/")[1].split("/runs/")
    with command_serving("mlflow", environment) as (server, address):
        answer = json.loads(_ask(server, f"{address}/api/2.0/mlflow/runs/get?run_id={run}"))["run"]
        assert answer["info"]["experiment_id"] == experiment
        listed = json.loads(_ask(server, f"{address}/api/2.0/mlflow/artifacts/list?run_id={run}"))
        assert "model_card.md" in {f["path"] for f in listed["files"]}
        assert "<html" in _ask(server, link.replace("http://127.0.0.1:5000", address)).decode().lower()


def test_an_mlflow_server_of_one_s_own_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PLATFORM_MLFLOW_URI", "http://127.0.0.1:5999")
    assert "http://127.0.0.1:5999" in cli("mlflow")


@contextlib.contextmanager
def command_serving(name: str, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A command that serves on a free port of loopback, and its address."""
    port = free_port()
    command = [sys.executable, "-c", "from ml_platform.cli import main; main()", name, "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE)
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _ask(server: subprocess.Popen[bytes], url: str) -> bytes:
    for _ in range(600):
        assert server.poll() is None, server.stderr and server.stderr.read().decode()
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")
