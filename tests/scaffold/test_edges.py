"""Files that begin or end amid a partition, and files of cases that are closed."""

import datetime as dt
from pathlib import Path

import pytest

from ml_platform.remarks import Remark
from ml_platform.scaffold.proposal import Proposal

from .boilers import BEGIN, Row, rows, write
from .test_proposal import proposed

DAYS = 60
GOOD = rows(days=DAYS, per_day=25, boilers=80)
LAST = BEGIN.date() + dt.timedelta(days=DAYS - 1)


def at(row: Row, column: str) -> dt.datetime:
    return dt.datetime.fromisoformat(row[column])


def told(found: Proposal) -> list[Remark]:
    words = ("thins out", "left out: they", "begins amid")
    return [r for r in found.remarks if any(w in r.what for w in words)]


def of(tmp_path: Path, kept: list[Row], **wishes: object) -> Proposal:
    return proposed(write(tmp_path / "inspections.csv", kept), **wishes)


def test_a_whole_file_is_kept(tmp_path: Path) -> None:
    found = of(tmp_path, GOOD)
    assert (found.scheme.first, found.scheme.last, told(found)) == (BEGIN.date(), LAST, [])


def test_of_closed_cases_the_newest_days_are_left_out(tmp_path: Path) -> None:
    """Their labels take one to three days, so that the last two days hold a part, and no fair one."""
    written = BEGIN + dt.timedelta(days=DAYS)
    found = of(tmp_path, [r for r in GOOD if at(r, "failure known at") < written])

    thin, cut = told(found)
    assert "only rows whose label was known when it was written" in thin.what
    assert cut.what.startswith("2 days at the end")
    assert cut.where.startswith(f"{LAST - dt.timedelta(days=2)} to {LAST - dt.timedelta(days=1)}: ")
    assert found.scheme.last == LAST - dt.timedelta(days=3)
    assert found.windows.judge_at.date() == LAST - dt.timedelta(days=2)


@pytest.mark.parametrize("wishes", [{}, {"label_delay": dt.timedelta(days=3)}])
def test_a_file_written_amid_a_day_ends_before_it(tmp_path: Path, wishes: dict[str, object]) -> None:
    """With all its labels, or with a rule for when they come: nothing is said about closed cases."""
    kept = [{**r, "failure known at": ""} for r in GOOD] if wishes else GOOD
    found = of(
        tmp_path, [r for r in kept if at(r, "inspected at") < dt.datetime(*LAST.timetuple()[:3], 9)], **wishes
    )

    (cut,) = told(found)
    assert cut.what.startswith("1 day at the end") and "25 are usual" in cut.where
    assert found.scheme.last == LAST - dt.timedelta(days=1)


def test_rows_without_a_label_yet_make_the_last_days_whole(tmp_path: Path) -> None:
    written = BEGIN + dt.timedelta(days=DAYS)
    late = {"failed": "", "failure known at": ""}
    found = of(tmp_path, [r if at(r, "failure known at") < written else r | late for r in GOOD])

    assert (found.scheme.last, told(found)) == (LAST, [])


def test_a_file_that_begins_amid_a_day_begins_after_it(tmp_path: Path) -> None:
    evening = BEGIN + dt.timedelta(hours=16)
    found = of(tmp_path, [r for r in GOOD if at(r, "inspected at") >= evening])

    (cut,) = told(found)
    assert cut.level == "note" and cut.what.startswith(f"the file begins amid a day: {BEGIN.date()} has ")
    assert found.scheme.first == BEGIN.date() + dt.timedelta(days=1)


def test_few_rows_are_no_thin_end(tmp_path: Path) -> None:
    """Of two rows a day chance alone makes a day of none."""
    few = [r for i, r in enumerate(rows(days=120, per_day=3, boilers=40)) if i % 3 or i > 340]
    found = of(tmp_path, few[:-2])

    assert told(found) == []
