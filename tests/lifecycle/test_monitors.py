"""Monitoring: matured weeks are judged, immature ones shown, and the evidence is kept."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
from library import MODEL, SERVED, Library, copy_home, open_library

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import monitors, recorded
from ml_platform.storage.parquet import read_table

LATER = ["2020-09-14", "2020-09-21", "2020-09-28", "2020-10-05"]


@pytest.fixture(scope="module")
def watched_home(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six weeks served, of which two have matured."""
    home = copy_home(served_home, tmp_path_factory.mktemp("watched") / "home")
    library = open_library(home)
    for week in LATER:
        library.serve_week(week)
    library.close()
    return home


@pytest.fixture
def watched(watched_home: Path, tmp_path: Path) -> Library:
    return open_library(copy_home(watched_home, tmp_path / "home"))


def test_label_arrival_knows_which_weeks_may_be_judged(watched: Library) -> None:
    report = monitors.arrival(watched.platform, watched.target, watched.now)
    assert report.last_mature == SERVED[1] and set(LATER[:2]) <= set(report.immature)
    assert report.share_known[SERVED[0]] == 1.0 > report.share_known[LATER[1]] > 0
    assert {c.group for c in report.curves} == {"all", "positive", "negative"}


def test_live_performance_is_of_matured_weeks_only(watched: Library) -> None:
    view = monitors.performance(watched.platform, watched.target, watched.now)
    assert view.report.mature == SERVED and view.report.rows == 180
    assert view.report.immature == LATER, "drawn, never mixed in"
    assert 0.4 < (view.report.metric("log_loss").value or 0) < 0.75
    assert view.chart.startswith(b"\x89PNG")


def test_a_sound_model_does_not_drift(watched: Library) -> None:
    view = monitors.drifting(watched.platform, watched.target, watched.now)
    assert view.report.current == tuple(LATER[1:]) and len(view.report.reference) == 8
    names = [c.name for c in view.report.columns]
    assert names == [*watched.target.model.feature_names, monitors.SCORE]
    assert view.report.alarms == [] and view.evidently is None
    assert view.chart.startswith(b"\x89PNG")


def test_results_are_kept_with_what_they_were_computed_from(watched: Library) -> None:
    monitors.performance(watched.platform, watched.target, watched.now)
    monitors.arrival(watched.platform, watched.target, watched.now)
    (kept,) = recorded.results(watched.platform, watched.target, "live_performance")
    assert kept.summary["matured_partitions"] == 2 and kept.as_of == watched.now
    evidence = json.loads(watched.platform.lake.get(kept.evidence_digest or ""))
    assert [d["partition_key"] for d in evidence["days"]] == [*SERVED, *LATER]
    assert kept.state == evidence["state"] and kept.summary["metrics"]["auc"]["value"] is not None
    assert len(recorded.results(watched.platform, watched.target, "label_maturity")) == 1
    assert recorded.results(watched.platform, watched.target, "drift") == []


def test_the_reference_is_the_champions_own_score_on_the_gates_weeks(served: Library) -> None:
    rows = monitors.reference(served.platform, served.target).rows
    assert rows is not None
    gate = rows.filter(pc.equal(rows["role"], "gate"))
    assert gate.num_rows == 720 and set(rows["role"].to_pylist()) == {"train", "gate"}
    head = served.platform.ledger.heads(f"{MODEL}/predictions")[SERVED[0]]
    predicted = read_table(served.platform.lake.get(head.digest))
    assert rows.schema.field(monitors.SCORE).type == predicted.schema.field(monitors.SCORE).type


def test_before_anything_is_served_it_says_so(trained: Library) -> None:
    assert monitors.reference(trained.platform, trained.target).rows is None
    with pytest.raises(NotReadyError, match="nothing has been served"):
        monitors.performance(trained.platform, trained.target, trained.now)
    with pytest.raises(NotReadyError, match="nothing has been served"):
        monitors.drifting(trained.platform, trained.target, trained.now)
