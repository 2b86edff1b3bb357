"""Monitoring: matured weeks are judged, immature ones shown, and the evidence is kept."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from library import MODEL, NAME, SERVED, Library, open_library, with_feature

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import monitors, recorded, training_data
from ml_platform.lifecycle.guard.evidence import gather
from ml_platform.lifecycle.guard.parity import parity
from ml_platform.lifecycle.homes import copy_home
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.parquet import read_table, write_table

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
    view = monitors.label_arrival(watched.platform, watched.target, watched.now)
    report = view.report
    assert report.last_mature == SERVED[1] and not set(LATER) & set(report.named("mature"))
    known = {c.partition_key: c.share_known for c in report.cohorts}
    assert known[SERVED[0]] == 1.0 > known[LATER[2]] > 0
    assert report.law.by_class().keys() == {"positive", "negative"}
    assert view.chart.startswith(b"\x89PNG")


def test_training_monitors_and_diagnosis_have_one_law(watched: Library) -> None:
    """The same labels on the same day: what one of them lets in, no other one holds back."""
    seen = monitors.label_arrival(watched.platform, watched.target, watched.now).report
    judged = gather(watched.platform, watched.target, watched.now).maturity
    assert judged is not None
    assert judged.cohorts == seen.cohorts and judged.law.rows == seen.law.rows
    weeks = watched.weeks("2020-06-01", SERVED[1])
    watched.build("labels", weeks)
    heads = watched.platform.ledger.heads(f"{NAME}/labels", weeks)
    held_back = training_data.immature_labels(watched.platform, watched.target, heads, watched.now)
    assert set(weeks) - set(held_back) == set(weeks) & set(seen.named("mature"))


def test_labels_that_stay_away_are_overdue_and_do_not_train(trained: Library) -> None:
    """A week whose labels never came, and which was built all the same, is left out with the reason."""
    week = trained.weeks("2020-06-01", SERVED[0])[3]
    before = trained.platform.ledger.heads(f"{NAME}/labels", [week])[week]
    table = read_table(trained.platform.lake.get(before.digest))
    some = pa.array([i % 2 == 0 for i in range(table.num_rows)])
    column = trained.target.model.label.column
    late = pc.if_else(some, table[column], pa.scalar(None, table[column].type))
    table = table.set_column(table.column_names.index(column), column, late)
    digest = trained.platform.lake.put(write_table(table))
    item = NewPublication(f"{NAME}/labels", week, digest, table.num_rows, before.details, before.id)
    trained.platform.ledger.publish([item], trained.now)
    report = training_data.build(trained.platform, trained.target, trained.now)
    assert report.left_out == {week: "its labels are overdue: 45 of 90 are known"}
    built = training_data.ensure_views(trained.platform, trained.target, [week], trained.now)
    assert built == [week], "a challenger builds them again, in case they have come since"
    assert training_data.build(trained.platform, trained.target, trained.now).left_out == {}


def test_live_performance_is_of_matured_weeks_only(watched: Library) -> None:
    view = monitors.performance(watched.platform, watched.target, watched.now)
    assert view.report.mature == SERVED and view.report.rows == 180
    assert view.report.immature == LATER, "drawn, never mixed in"
    assert 0.4 < (view.report.metric("log_loss").value or 0) < 0.75
    assert view.chart.startswith(b"\x89PNG")


def test_the_loss_expected_without_labels_is_shown_by_both_methods_beside_the_realised_one(
    watched: Library,
) -> None:
    few = watched.model(diagnosis={"unseen_effective_share": 0.001, "concept_partitions": 4})
    shown = monitors.performance(watched.platform, few, watched.now).estimated
    assert list(shown.cbpe) == list(shown.weighted) == [*SERVED, *LATER] and not shown.unknown
    assert all(shown.weighted[k] != shown.cbpe[k] for k in shown.weighted)
    strict = watched.model(diagnosis={"unseen_effective_share": 0.999})
    none = monitors.performance(watched.platform, strict, watched.now)
    assert list(none.estimated.unknown) == [*SERVED, *LATER]
    assert none.estimated.weighted == {} and none.estimated.cbpe == shown.cbpe
    assert all("too few" in why for why in none.estimated.unknown.values())
    (*_, kept) = recorded.results(watched.platform, watched.target, "live_performance")
    assert kept.summary["density_weighted_unknown"] == none.estimated.unknown
    assert kept.summary["metrics"]["log_loss"]["value"] == none.report.metric("log_loss").value


def test_a_champion_from_before_a_feature_was_added_is_watched_in_those_it_has(watched: Library) -> None:
    """The candidate that has it waits for a person, or was refused: the champion serves on."""
    model, ahead = watched.target.model, with_feature(watched.target, "shelf_height")
    view = monitors.performance(watched.platform, ahead, watched.now)
    assert view.report.mature == SERVED and list(view.estimated.cbpe) == [*SERVED, *LATER]
    names = [c.name for c in monitors.drifting(watched.platform, ahead, watched.now).report.columns]
    assert names == [*model.feature_names, "probability"]
    skew = parity(watched.platform, ahead, watched.now)
    assert skew.parity.keys() == set(model.feature_names) and skew.findings.state == "PASS"
    now, then = (gather(watched.platform, t, watched.now).evidence for t in (ahead, watched.target))
    assert {n: f.state for n, f in now.findings.items()} == {n: f.state for n, f in then.findings.items()}


def as_before_pages(library: Library, weeks: list[str]) -> None:
    """Serve weeks as a champion from before the feature did."""
    asset, ledger, lake = f"{library.target.key}/predictions", library.platform.ledger, library.platform.lake
    items = []
    for week, head in ledger.heads(asset, weeks).items():
        table = read_table(lake.get(head.digest)).drop_columns(["pages"])
        digest = lake.put(write_table(table))
        items.append(NewPublication(asset, week, digest, table.num_rows, head.details, head.id))
    ledger.publish(items, library.now)


def test_weeks_that_were_served_before_a_feature_was_added_are_no_fault_of_it(watched: Library) -> None:
    """The champion has learned it since; what a model before it served lacks the column."""
    platform = watched.platform
    before = gather(platform, watched.target, watched.now).evidence
    as_before_pages(watched, LATER[:2])
    after = gather(platform, watched.target, watched.now).evidence
    for step in ("contract", "units", "skew"):
        assert after.of(step).state == before.of(step).state == "PASS", step


def test_a_feature_that_was_added_has_not_drifted_from_nothing(watched: Library) -> None:
    as_before_pages(watched, LATER[:2])
    view = monitors.drifting(watched.platform, watched.target, watched.now)
    assert view.report.current == tuple(LATER[2:]) and view.report.alarms == []
    assert all(not c.breaks for c in view.report.columns)
    few = watched.model(diagnosis={"unseen_effective_share": 0.001, "concept_partitions": 4})
    shown = monitors.performance(watched.platform, few, watched.now).estimated
    assert list(shown.cbpe) == [*SERVED, *LATER] and list(shown.weighted) == [*SERVED, *LATER[2:]]


def test_until_something_is_served_with_an_added_feature_its_drift_is_unknown(watched: Library) -> None:
    as_before_pages(watched, [*SERVED, *LATER])
    report = monitors.drifting(watched.platform, watched.target, watched.now).report
    assert {c.name: c.state for c in report.columns}["pages"] == "UNKNOWN" and report.alarms == []
    assert report.current == tuple(LATER[1:])
    estimated = monitors.performance(watched.platform, watched.target, watched.now).estimated
    assert list(estimated.cbpe) == [*SERVED, *LATER] and not estimated.weighted


def test_a_sound_model_does_not_drift(watched: Library) -> None:
    view = monitors.drifting(watched.platform, watched.target, watched.now)
    assert view.report.current == tuple(LATER[1:]) and len(view.report.reference) == 26
    names = [c.name for c in view.report.columns]
    assert names == [*watched.target.model.feature_names, "probability"]
    assert view.report.alarms == [] and view.evidently is None
    assert view.chart.startswith(b"\x89PNG")


def test_results_are_kept_with_what_they_were_computed_from(watched: Library) -> None:
    monitors.performance(watched.platform, watched.target, watched.now)
    monitors.label_arrival(watched.platform, watched.target, watched.now)
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
    assert rows.schema.field("probability").type == predicted.schema.field("probability").type


def test_before_anything_is_served_it_says_so(trained: Library) -> None:
    assert monitors.reference(trained.platform, trained.target).rows is None
    with pytest.raises(NotReadyError, match="nothing has been served"):
        monitors.performance(trained.platform, trained.target, trained.now)
    with pytest.raises(NotReadyError, match="nothing has been served"):
        monitors.drifting(trained.platform, trained.target, trained.now)
