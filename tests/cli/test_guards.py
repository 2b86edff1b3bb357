"""The guard's commands on a small installation with two served weeks and a verdict."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from library import MODEL, NAME, SERVED, Library
from typer.testing import CliRunner, Result

from ml_platform.cli.main import app, main
from ml_platform.cli.shared import console
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.errors import NotFoundError, PlatformError
from ml_platform.lifecycle.guard import records, retraining
from ml_platform.lifecycle.guard.diagnosing import diagnose_now
from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.tables import Attempt, Hold, Incident, Verdict


@pytest.fixture
def home(served: Library, library_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Library:
    """The served library as this process's installation."""
    monkeypatch.setenv("ML_PLATFORM_HOME", str(served.platform.home))
    monkeypatch.setattr(console, "width", 300)
    return served


@pytest.fixture
def judged(home: Library) -> Library:
    """The same after a diagnosis: too few labels are mature to judge anything."""
    assert diagnose_now(home.platform, home.target, home.now).verdict.verdict == "wait_for_labels"
    return home


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_verdict_is_shown_with_every_step(judged: Library) -> None:
    shown = run("verdict", "show", MODEL).output

    assert "wait_for_labels" in shown
    for step in ("contract", "skew", "maturity", "harm", "season"):
        assert step in shown
    assert "Next:" in shown


def test_a_verdict_and_its_guards_say_since_when(judged: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "since" not in run("verdict", "show", MODEL).output.split("Steps")[0].lower()
    given = records.diagnosis_of

    def dated(stores: Platform, verdict: Verdict) -> Diagnosis:
        found = given(stores, verdict)
        return replace(found, verdict=replace(found.verdict, onset="2020-08-24"))

    monkeypatch.setattr(records, "diagnosis_of", dated)
    for command in (["verdict", "show", MODEL], ["retrain", MODEL, "--explain"]):
        assert "Since 2020-08-24, as far as the change can be dated" in run(*command).output
    with judged.platform.ledger.begin() as session:
        pending = Incident(
            model_key=MODEL,
            fingerprint="f",
            status="open",
            report={"cause": "concept", "first_partition": "2020-08-31"},
            opened_at=judged.now,
            updated_at=judged.now,
            closed_at=None,
            recorded_at=judged.now,
        )
        session.add(pending)
    told = "(open, concept): seen since 2020-08-31; the change is dated to 2020-08-24"
    for command in (["verdict", "show", MODEL], ["retrain", MODEL, "--explain"]):
        assert told in run(*command).output


def test_a_verdict_s_page_is_one_self_contained_file(judged: Library, tmp_path: Path) -> None:
    page = tmp_path / "verdict.html"

    run("verdict", "show", MODEL, "--html", str(page))

    text = page.read_text(encoding="utf-8")
    assert "wait_for_labels" in text
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("https://", "").split("base64", maxsplit=1)[0]


def test_the_history_has_the_day(judged: Library) -> None:
    assert "wait_for_labels" in run("verdict", "history", MODEL).output


def test_before_the_first_verdict_there_is_none(judged: Library) -> None:
    with pytest.raises(NotFoundError, match="no verdict"):
        run("verdict", "show", MODEL, "--as-of", "2020-02-01")


def test_a_day_that_is_none_is_an_error(judged: Library) -> None:
    with pytest.raises(PlatformError, match="neither a day nor an instant"):
        run("verdict", "show", MODEL, "--as-of", "soon")


def test_without_incidents_the_list_is_empty_and_one_cannot_be_shown(judged: Library) -> None:
    assert "Incidents" in run("incident", "list").output
    for command in (["show", "7"], ["close", "7", "--why", "x"], ["resolve", "7", "--why", "x"]):
        with pytest.raises(NotFoundError, match="no incident 7"):
            run("incident", *command)


def test_predictions_of_held_partitions_are_counted_where_none_was_made_on_the_day_diagnosed(
    judged: Library,
) -> None:
    """What is held was served before the day on which it was found out."""
    week = SERVED[0]
    with judged.platform.ledger.begin() as session:
        report = {
            "cause": "data:skew",
            "first_partition": "2020-12-28",
            "last_partition": "2020-12-28",
            "partitions": ["2020-12-28"],
            "subjects": [],
            "model_versions": ["1"],
            "predictions": 0,
            "verdicts": [["2020-12-28", "fix_serving"]],
            "closed_partition": None,
            "closed_by": None,
        }
        times = {"opened_at": judged.now, "updated_at": judged.now, "recorded_at": judged.now}
        row = Incident(
            model_key=MODEL, fingerprint="f", status="open", report=report, closed_at=None, **times
        )
        session.add(row)
        session.flush()
        session.add(
            Hold(
                model_key=MODEL,
                partition=week,
                incident_id=row.id,
                reason="data:skew",
                as_of=judged.now,
                released_at=None,
                recorded_at=judged.now,
            )
        )
    head = judged.platform.ledger.head(f"{MODEL}/predictions", week)
    assert head is not None and head.rows > 50
    shown = run("incident", "show", str(row.id)).output
    assert f"held from training   {week}" in shown
    assert re.search(rf"predictions touched +{head.rows}\b", shown)
    assert re.search(rf"│ {head.rows} +│", run("incident", "list").output)


def test_explain_names_every_guard_and_trains_nothing(judged: Library) -> None:
    shown = run("retrain", MODEL, "--explain").output

    for guard in ("verdict", "labels_mature", "cooldown", "budget", "value"):
        assert guard in shown
    assert "no retrain" in shown


def test_a_refused_retraining_ends_non_zero(judged: Library) -> None:
    result = run("retrain", MODEL)

    assert result.exit_code == 1
    assert "refused" in result.output


def test_a_retraining_that_ends_in_a_rejection_says_why(
    judged: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "the challenger was rejected by champion FAIL; the champion goes on"
    ended = Attempt(status="done", outcome="rejected", details={"sentence": why})
    monkeypatch.setattr(retraining, "carry_out", lambda *_a, **_k: ended)
    assert f"done: rejected: {why}" in run("retrain", MODEL, "--override", "--why", "try").output


def test_an_override_needs_a_reason(judged: Library) -> None:
    with pytest.raises(PlatformError, match="needs a reason"):
        run("retrain", MODEL, "--override")


def test_the_chart_is_one_self_contained_page(judged: Library, tmp_path: Path) -> None:
    page = tmp_path / "story.html"

    run("chart", MODEL, "--html", str(page))

    assert "data:image/png;base64," in page.read_text(encoding="utf-8")


def test_roi_says_what_it_cannot_know(judged: Library) -> None:
    run("retrain", MODEL)

    told = run("roi").output
    assert MODEL not in told.splitlines()[0] and "Not run here" in told.splitlines()[0]
    assert "1 refusal(s) trained nothing" in told
    assert MODEL in told.split("What it was worth", maxsplit=1)[0] and "cannot be known" in told
    assert "retraining.value.decisions" in told


def test_roi_reckons_nothing_of_models_that_were_never_run(
    fresh: Library, library_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_HOME", str(fresh.platform.home))
    monkeypatch.setattr(console, "width", 300)

    told = run("roi").output
    assert "Not run here, so that there is nothing to reckon: " in told and MODEL in told
    assert "worth" not in told
    assert "what they are worth cannot be known" in run("roi", "--model", MODEL).output


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        ("nonsense", "2020-09-21", "'nonsense' is not a partition key"),
        ("2020-09-21", "2020-09-22", "not the first day of a weekly partition"),
        ("2031-09-22", "2031-09-29", "is outside"),
        ("2020-09-21", "2020-09-14", "the first partition, 2020-09-21, is after the last, 2020-09-14"),
    ],
)
def test_a_stretch_that_is_none_is_told(home: Library, first: str, last: str, why: str) -> None:
    with pytest.raises(PlatformError, match=why):
        run("replay", MODEL, "--from", first, "--to", last)


def test_a_file_that_cannot_be_written_is_told(
    judged: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["ml-platform", "verdict", "show", MODEL, "--html", "/proc/nothing/a.html"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "No such file or directory" in told and "where: /proc/nothing/a.html" in told


@pytest.mark.slow
def test_a_replay_goes_on_where_the_timeline_stands(home: Library) -> None:
    words = (NAME, "--from", "2020-09-07", "--to", "2020-09-21", "--no-compare")

    told = run("replay", *words).output
    assert "Verdicts" in told and " weeks in " in told and "No action was taken." in told
    last = home.use_case.scheme.last_key
    again = run("replay", *words).output
    assert "every one of these weeks has been played already: the timeline stands at 2020-09-20" in again
    assert f"`ml-platform replay {MODEL} --from 2020-09-28 --to {last}`" in again
    assert f"`ML_PLATFORM_HOME=… ml-platform replay {MODEL} --from 2020-09-07 --to 2020-09-21`" in again

    on = run("replay", NAME, "--from", "2020-09-21", "--to", "2020-09-28", "--no-compare").output
    assert "1 week in " in on and "1 of 2 has been played already" in on and "afresh" not in on
    assert re.search(r"wait_for_labels │ 2 ", on), "verdicts are those of the weeks asked for"
    assert re.search(r"wait_for_labels │ 3 ", again)
