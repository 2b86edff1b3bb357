"""Settings of time that changed under accepted rows: told, recomputed by the next run; nothing is lost."""

from pathlib import Path

import pyarrow as pa
import pytest
from library import FIRST_WEEK, SERVED, Library, open_library

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import training_data
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.parity import parity
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.timing import views_timing
from ml_platform.lifecycle.timing_changes import TimingChange, timing_changes, timing_remarks
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.storage.parquet import read_table

WEEKS = ["2020-01-06", "2020-01-13"]
FEED = """  - name: visits
    source: {path: visits.csv}
    event_time: at
    timestamps: [planned_at]
    arrival: {due_days: 1}
"""
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: visits
name: visits
version: 1.0.0
status: active
team: {name: lending}
description: {purpose: Visits.}
schema:
  - name: visits
    properties:
      - {name: visit, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1,
         classification: public, description: Number.}
      - {name: at, logicalType: timestamp, required: true, classification: public, description: When.}
      - {name: planned_at, logicalType: timestamp, classification: public, description: When it was planned.}
"""
VISITS = """visit,at,planned_at
1,2020-01-08T10:00:00,2020-01-02T09:00:00
2,2020-01-09T10:00:00,2020-01-03T09:00:00
3,2020-01-15T10:00:00,2020-01-10T09:00:00
"""


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "use_case.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture
def visited(own_use_case: Path, tmp_path: Path) -> Library:
    """The library with a feed of visits, which count from their event on; two weeks are accepted."""
    edit(own_use_case, "views:\n", FEED + "views:\n")
    (own_use_case / "contracts" / "visits.yaml").write_text(CONTRACT)
    (own_use_case / "visits.csv").write_text(VISITS)
    library = open_library(tmp_path / "home")
    library.deliver("visits", WEEKS)
    return library


def reopened(library: Library) -> Library:
    """As the next command sees it, after an edit."""
    library.close()
    return open_library(library.platform.home)


def accepted(library: Library) -> pa.Table:
    platform = library.platform
    heads = platform.ledger.heads(accepted_asset("visits"))
    return pa.concat_tables(read_table(platform.lake.get(heads[k].digest)) for k in sorted(heads))


def days(table: pa.Table, name: str) -> list[str]:
    return [f"{v:%m-%d}" for v in table[name].to_pylist()]


def test_rows_are_dated_by_a_new_known_at(visited: Library, own_use_case: Path) -> None:
    assert timing_changes(visited.platform, visited.use_case) == []
    before = accepted(visited)
    assert days(before, "visible_from") == ["01-08", "01-09", "01-15"]

    edit(own_use_case, "[planned_at]", "[planned_at]\n    known_at: {column: planned_at}")
    after = reopened(visited)
    (change,) = timing_changes(after.platform, after.use_case)
    assert change == TimingChange(
        "feed visits: accepted rows",
        ("known_at: the event itself → column planned_at",),
        tuple(WEEKS),
        visited.now,
        change.recompute,
    )
    assert "`ml-platform run library_loans`" in change.recompute
    (remark,) = timing_remarks(after.platform, after.use_case)
    assert remark.level == "warning" and "2020-01-06 to 2020-01-13" in remark.where
    assert "as of 2020-08-30 20:00" in remark.where

    report = after.deliver("visits", WEEKS)
    assert "3 accepted rows are dated by the known_at of today" in report.sentence()
    now = accepted(after)
    assert days(now, "visible_from") == ["01-02", "01-03", "01-10"]
    assert now.select(["visit", "at", "revision"]).equals(before.select(["visit", "at", "revision"]))
    assert timing_changes(after.platform, after.use_case) == []


def test_rows_of_which_the_new_known_at_says_the_same_are_no_longer_told(
    visited: Library, own_use_case: Path
) -> None:
    """The same bytes come; what stands under the old rule would be told for ever."""
    edit(own_use_case, "timestamps: [planned_at]", "timestamps: [planned_at]\n    known_at: {column: at}")
    after = reopened(visited)
    assert len(timing_changes(after.platform, after.use_case)) == 1
    after.deliver("visits", WEEKS)
    assert days(accepted(after), "visible_from") == ["01-08", "01-09", "01-15"]
    assert timing_changes(after.platform, after.use_case) == []


def test_another_zone_asks_for_a_feed_with_a_new_name(visited: Library, own_use_case: Path) -> None:
    edit(own_use_case, "timestamps: [planned_at]", "timestamps: [planned_at]\n    timezone: Asia/Tokyo")
    after = reopened(visited)
    (change,) = timing_changes(after.platform, after.use_case)
    assert change.differences == ("timezone: Europe/Berlin → Asia/Tokyo",)
    assert "declare a feed with a new name" in change.recompute
    after.deliver("visits", WEEKS)
    assert len(accepted(after)) == 6, "each row counts as a correction from now on, and its past stays"
    assert timing_changes(after.platform, after.use_case) == []


def test_a_feed_that_is_read_from_now_on_leaves_what_was_built_as_it_was(
    served_home: Path, own_use_case: Path, tmp_path: Path
) -> None:
    library = open_library(copy_home(served_home, tmp_path / "home"))
    edit(own_use_case, "views:\n", FEED + "views:\n")
    (own_use_case / "contracts" / "visits.yaml").write_text(CONTRACT)
    (own_use_case / "visits.csv").write_text(VISITS)
    after = reopened(library)
    assert "visits" in views_timing(after.use_case, SERVED[0])["known_at"]
    assert timing_changes(after.platform, after.use_case) == []


def test_another_cutoff_is_told_and_what_was_served_stays(
    served_home: Path, own_use_case: Path, tmp_path: Path
) -> None:
    library = open_library(copy_home(served_home, tmp_path / "home"))
    assert timing_changes(library.platform, library.use_case) == []
    served = library.platform.ledger.digests(predictions_asset(library.target))

    edit(own_use_case, 'cutoff: {days_before: 1, at: "20:00"}', 'cutoff: {days_before: 2, at: "20:00"}')
    after = reopened(library)
    (change,) = timing_changes(after.platform, after.use_case)
    assert change.subject == "features and labels"
    assert change.differences == (f"cutoff, for example of {SERVED[0]}: 2020-08-30 20:00 → 2020-08-29 20:00",)
    with pytest.raises(NotReadyError, match="built under another cutoff or known_at"):
        training_data.build(after.platform, after.target, after.now)

    with pytest.raises(NotReadyError, match="nothing has been served yet under today's cutoff"):
        parity(after.platform, after.target, after.now)

    weeks = after.weeks(FIRST_WEEK, SERVED[-1])
    after.build("features", weeks)
    after.build("labels", weeks)
    assert timing_changes(after.platform, after.use_case) == []
    assert training_data.build(after.platform, after.target, after.now).rows > 0
    assert [s.status for s in after.score(*SERVED)] == ["unchanged", "unchanged"]
    assert after.platform.ledger.digests(predictions_asset(after.target)) == served
