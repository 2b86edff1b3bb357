"""Rows that are known before they happen, such as bookings: partitions are then scored at their begin."""

import csv
import datetime as dt
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ml_platform.cli.main import app
from ml_platform.config import load_use_case
from ml_platform.lifecycle.scoring import predictions
from ml_platform.scaffold.columns import profile_file
from ml_platform.scaffold.proposal import Proposal, Refusal, propose
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.settings import use_case_yaml
from ml_platform.scaffold.writing import write_use_case

from .boilers import HEADER, rows
from .living import live


def ordered(tmp_path: Path, *, hours_ahead: int = 30, lacking: bool = False, called_off: int = 0) -> Path:
    """Inspections that were ordered a day or so before, and whose result mostly comes on the same day."""
    file = tmp_path / "inspections.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, (*HEADER, "ordered at"))
        writer.writeheader()
        for number, row in enumerate(rows(days=60, per_day=25, boilers=80)):
            moment = dt.datetime.fromisoformat(row["inspected at"])
            row["ordered at"] = (moment - dt.timedelta(hours=hours_ahead)).isoformat(sep=" ")
            if lacking and number == 7:
                row["ordered at"] = ""
            if number % 3 == 0:
                row["failure known at"] = (moment + dt.timedelta(hours=3)).isoformat(sep=" ")
            if called_off and number % called_off == 0:
                row["failure known at"] = (moment - dt.timedelta(hours=26)).isoformat(sep=" ")
            writer.writerow(row)
    return file


def proposed(file: Path, **wishes: object) -> Proposal:
    said = {
        "label": "failed",
        "time": "inspected at",
        "known_at": "failure known at",
        "width": "daily",
        **wishes,
    }
    return propose(profile_file(file), Wishes("boilers", entity=("Boiler ID",), **said))  # type: ignore[arg-type]


def test_the_column_that_mends_early_labels_is_offered(tmp_path: Path) -> None:
    p = proposed(ordered(tmp_path))
    (early,) = (r for r in p.remarks if "known before the cutoff" in r.what)
    assert "where 'ordered at' says when a row was known, say --row-known-at ordered_at" in early.fix
    text = use_case_yaml(p, tmp_path / "boilers")
    first = yaml.safe_load(text)["demo"]["serve_first"]
    for line in (
        "#   cutoff: {of: start}",
        "#     timestamps: [ordered_at]",
        "#     known_at: {column: ordered_at}",
        f"#   in demo: serve_first: {first + dt.timedelta(days=1)}",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("hours_ahead", [1, -2])
def test_a_column_that_tells_rows_too_late_is_not_offered(tmp_path: Path, hours_ahead: int) -> None:
    p = proposed(ordered(tmp_path, hours_ahead=hours_ahead))
    assert p.at_cutoff.offered is None
    assert "row-known-at" not in use_case_yaml(p, tmp_path / "boilers")


def test_what_is_written_scores_at_the_begin_and_is_in_order(tmp_path: Path) -> None:
    p = proposed(ordered(tmp_path), row_known_at="ordered at")
    assert not [r for r in p.remarks if "known before the cutoff" in r.what]
    folder = write_use_case(p, tmp_path / "use_cases")
    use_case = load_use_case(folder / "use_case.yaml")
    demo = use_case.config.demo
    assert demo is not None
    assert use_case.cutoff(use_case.scheme.key_of(demo.serve_first)) == demo.promote_at
    feed = use_case.feed("boilers_records")
    assert feed.known_at is not None and feed.known_at.column == "ordered_at"
    assert "ordered_at" in feed.timestamps and feed.source is not None and "ordered_at" in feed.source.columns
    assert use_case.config.description.startswith("At the begin of each daily partition")
    assert "| when it is scored | at the begin of its partition |" in (folder / "README.md").read_text()
    last = p.scheme.last_key or ""
    asked = p.windows.train + p.windows.gate + 2 * p.windows.maturity
    served = p.scheme.distance(*p.windows.served) + 1
    assert asked + served <= p.scheme.distance(p.scheme.first_key, last) + 1, "the file holds the windows"


@pytest.mark.slow
def test_what_is_written_comes_as_far_as_a_served_prediction(tmp_path: Path, unchecked: None) -> None:
    p = proposed(ordered(tmp_path), row_known_at="ordered at")
    folder = write_use_case(p, tmp_path / "use_cases")
    platform, target, (day,) = live(folder, tmp_path / "home", 1)
    served = predictions(platform, target, [day.partition])
    assert served is not None and day.diagnosed is not None
    cutoff = target.use_case.cutoff(day.partition)
    assert min(served["event_time"].to_pylist()) > cutoff, "each is asked for before it happens"


def test_with_a_terminal_it_asks_when_a_row_was_known(tmp_path: Path) -> None:
    file, into = ordered(tmp_path), tmp_path / "use_cases"
    arguments = ["use-case", "new", "boilers", "--from", str(file), "--into", str(into), "--ask"]
    said = "inspected at\nfailed\nBoiler ID\nfailure known at\nordered at\ndaily\n"
    result = CliRunner().invoke(app, arguments, input=said)
    assert result.exit_code == 0, result.output
    assert "When was a row itself known?" in result.output
    assert load_use_case(into / "boilers" / "use_case.yaml").config.cutoff.of == "start"


@pytest.mark.slow
def test_rows_whose_outcome_is_known_at_the_cutoff_are_not_scored(tmp_path: Path, unchecked: None) -> None:
    """Some inspections are called off beforehand; they would be labels that were known when predicted."""
    p = proposed(ordered(tmp_path, called_off=7), row_known_at="ordered at")
    (told,) = (r for r in p.remarks if "known before the cutoff" in r.what)
    assert told.what.startswith("14.3% of the labels") and "leaves them out" in told.what
    folder = write_use_case(p, tmp_path / "use_cases")
    platform, target, days = live(folder, tmp_path / "home", 2)
    served = predictions(platform, target, [d.partition for d in days])
    assert served is not None and 0 < served.num_rows < 2 * 25 * 6 / 7 + 8
    steps = {s.name: s for s in days[-1].diagnosed.diagnosis.steps}
    assert steps["contract"].state == "PASS", steps["contract"].reason


def test_rows_that_do_not_say_when_they_were_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"1 row\(s\) do not say when they were known"):
        proposed(ordered(tmp_path, lacking=True), row_known_at="ordered at")
    with pytest.raises(Refusal, match=r"100\.0% of the rows are known only after the begin"):
        proposed(ordered(tmp_path, hours_ahead=-2), row_known_at="ordered at")
