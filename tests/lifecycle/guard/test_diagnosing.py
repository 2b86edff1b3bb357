"""From evidence to verdict, incident and holds; and whatever evidence is missing or bad is UNKNOWN."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from guarded import (
    DIAGNOSIS,
    FIRST,
    LAST,
    RETRAINING,
    champion,
    diagnosed,
    guarded,
    ledger_verdicts,
    live,
    returns,
    rows_of,
    states,
    within,
    world,
)
from library import FOLDER, NAME, Library, spoil

from ml_platform.errors import NoChampionError, NotFoundError
from ml_platform.ingestion.reader import load_reader
from ml_platform.lifecycle import reference as reading
from ml_platform.lifecycle import scoring
from ml_platform.lifecycle.guard import records
from ml_platform.lifecycle.guard.days import play_day
from ml_platform.lifecycle.guard.diagnosing import Diagnosed
from ml_platform.lifecycle.guard.evidence import gather
from ml_platform.lifecycle.guard.records import close_incident, verdicts
from ml_platform.lifecycle.guard.resolving import resolve_incident
from ml_platform.lifecycle.guard.retraining import explain
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.training_data import Windows, assemble, ensure_views, held_partitions
from ml_platform.registry import promotions
from ml_platform.storage.tables import Incident

ACTS = {"retrain", "recalibrate"}
BRANCHES = ("harbour", "market", "north", "station")


@pytest.fixture(autouse=True)
def _no_reference_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test reads its own champion's reference."""
    monkeypatch.setattr(reading, "_REFERENCES", {})


def headline(found: Diagnosed, step: str) -> str:
    named = next(s for s in found.diagnosis.steps if s.name == step)
    return named.headline.detail if named.headline else named.reason


def reason(found: Diagnosed, step: str) -> str:
    return found.gathered.evidence.of(step).reason


# --- verdicts in the ledger -------------------------------------------------------------------------


def test_the_same_evidence_is_written_once(lived: Library) -> None:
    target, before = guarded(lived), len(ledger_verdicts(lived))
    first = diagnosed(lived, target)
    again = diagnosed(lived, target)
    assert not again.new and again.verdict.id == first.verdict.id
    assert again.diagnosis == first.diagnosis
    assert len(ledger_verdicts(lived)) == before + first.new


def test_a_verdict_is_read_back_as_it_was_given(lived: Library) -> None:
    target = guarded(lived)
    for row in verdicts(lived.platform, target):
        told = records.diagnosis_of(lived.platform, row)
        assert (told.verdict.name, told.verdict.sentence, told.as_of) == (
            row.verdict,
            row.sentence,
            row.as_of,
        )
        assert len(told.steps) == 11 and told.partition == row.partition


def test_an_earlier_instant_gets_the_answer_that_was_given_then(lived: Library) -> None:
    target, use_case = guarded(lived), lived.use_case
    given = verdicts(lived.platform, target)
    then = use_case.cutoff("2020-10-05")
    past = verdicts(lived.platform, target, then)
    assert rows_of(past) == rows_of(given[: len(past)]) and 0 < len(past) < len(given)
    latest = records.latest_verdict(lived.platform, target, then)
    assert (latest.id, latest.as_of) == (past[-1].id, then)
    story = records.diagnosis_of(lived.platform, latest)
    # Another verdict, given later, changes nothing about it.
    lived.advance()
    changed = lived.model(diagnosis={**target.model.diagnosis.model_dump(), "minimum_rows": 9000})
    assert diagnosed(lived, changed).new
    assert rows_of(verdicts(lived.platform, target, then)) == rows_of(past)
    assert records.diagnosis_of(lived.platform, records.latest_verdict(lived.platform, target, then)) == story


def test_before_the_first_verdict_there_is_none(lived: Library) -> None:
    target = guarded(lived)
    with pytest.raises(NotFoundError, match="no verdict on library_loans/late_return has been given by"):
        records.latest_verdict(lived.platform, target, lived.use_case.cutoff(FIRST) - timedelta(days=1))


def test_without_a_champion_there_is_nothing_to_diagnose(fresh: Library, target: Target) -> None:
    with pytest.raises(NoChampionError):
        diagnosed(fresh, target)
    assert ledger_verdicts(fresh) == []


# --- incidents and holds ----------------------------------------------------------------------------


def spoilt_serving(weeks: Sequence[str]) -> Callable[[dict[str, pa.Table]], dict[str, pa.Table]]:
    """On the way to the model, one feature of some weeks gets lost."""

    def serve(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        return {k: without(t, "branch_late_rate") if k in weeks else t for k, t in tables.items()}

    return serve


def without(table: pa.Table, name: str, value: float | None = None) -> pa.Table:
    """The table with one value, or none, in all rows of a feature."""
    index = table.column_names.index(name)
    column = pa.array([value] * table.num_rows, table.schema.field(index).type)
    return table.set_column(index, table.schema.field(index), column)


def play(library: Library, target: Target, week: str) -> Diagnosed:
    live(library, target, [week])
    return diagnosed(library, target)


def test_an_incident_is_opened_updated_and_closed_and_its_holds_outlive_it(early: Library) -> None:
    target = guarded(early)
    broken = within(early, world(served=spoilt_serving(["2020-09-21", "2020-09-28"])))
    first = play(broken, target, "2020-09-21")
    assert first.verdict.verdict == "fix_serving" and states(first)["skew"] == "FAIL", first.diagnosis.verdict
    assert "branch_late_rate" in first.diagnosis.verdict.sentence
    assert first.incident is not None and first.incident.status == "open"
    assert first.verdict.incident_id == first.incident.id
    second = play(broken, target, "2020-09-28")
    assert second.incident is not None and second.incident.id == first.incident.id
    assert len(second.incident.report["partitions"]) == 2
    assert second.incident.report["first_partition"] == first.diagnosis.partition
    held = held_partitions(early.platform, target, only_open=True)
    assert set(first.diagnosis.verdict.quarantined) <= set(held) and held
    facts = explain(early.platform, target, second.diagnosis, early.now)
    assert {"data_sound", "verdict"} <= {g.name for g in facts.refusals}
    # The window of features has passed the broken weeks: the incident ends by itself.
    for week in ("2020-10-05", "2020-10-12", "2020-10-19"):
        last = play(early, target, week)
    assert last.incident is not None and last.incident.id == first.incident.id
    assert last.incident.status == "closed" and last.incident.report["closed_by"] == "recovered"
    assert held_partitions(early.platform, target, only_open=True) == {}
    assert set(held_partitions(early.platform, target)) >= set(held), "its end does not mend the data"
    window = Windows(early.weeks("2020-07-06", "2020-09-28"), ["2020-10-05", "2020-10-12"])
    later = early.use_case.cutoff("2020-11-09")
    early.platform.clock(early.use_case).set(later)
    early.deliver_all(["2020-10-26", "2020-11-02"])
    ensure_views(early.platform, target, [*window.train, *window.gate], later)
    report, _ = assemble(early.platform, target, later, window)
    left = {k: why for k, why in report.left_out.items() if "held by incident" in why}
    assert set(left) == set(held) & {*window.train, *window.gate} and left


def test_a_person_closes_an_incident_and_frees_what_it_held(early: Library) -> None:
    target = guarded(early)
    found = play(within(early, world(served=spoilt_serving(["2020-09-21"]))), target, "2020-09-21")
    assert found.incident is not None and held_partitions(early.platform, target)
    closed = close(early, target, found.incident, free=True)
    assert (closed.status, closed.report["closed_by"]) == ("closed", "ada: the cable was loose")
    assert held_partitions(early.platform, target) == {}
    with pytest.raises(NotFoundError, match="no open incident"):
        close(early, target, found.incident, free=False)


def test_a_person_may_close_an_incident_and_keep_what_it_held_out(early: Library) -> None:
    target = guarded(early)
    found = play(within(early, world(served=spoilt_serving(["2020-09-21"]))), target, "2020-09-21")
    assert found.incident is not None
    before = held_partitions(early.platform, target)
    close(early, target, found.incident, free=False)
    assert held_partitions(early.platform, target) == before != {}


def close(library: Library, target: Target, incident: Incident, *, free: bool) -> Incident:
    return close_incident(
        library.platform, target, incident.id, "ada", "the cable was loose", library.now, free=free
    )


def test_an_incident_is_not_resolved_while_its_cause_is_still_there(early: Library) -> None:
    target = guarded(early)
    found = play(within(early, world(served=spoilt_serving(["2020-09-21"]))), target, "2020-09-21")
    assert found.incident is not None
    done = resolve_incident(early.platform, found.incident.id, "ada", "the cable was loose")
    assert not done.resolved and "stays open" in done.lines[-1]
    assert held_partitions(early.platform, target, only_open=True)


# --- missing, contradicting and bad evidence --------------------------------------------------------


def test_without_any_label_nothing_is_judged(trained: Library, unchecked: None) -> None:
    target = guarded(trained)
    assert trained.promote().outcome == "promoted"
    none = within(trained, world(missing={"returns": trained.weeks(FIRST, LAST)}))
    live(none, target, trained.weeks(FIRST, "2020-10-05"))
    found = diagnosed(none, target)
    assert found.diagnosis.verdict.name not in ACTS
    assert states(found)["harm"] == states(found)["concept"] == "UNKNOWN"
    assert states(found)["volume"] != "PASS"


def test_labels_of_one_class_are_not_judged_and_more_of_them_than_chance_are_an_incident(
    early: Library,
) -> None:
    target = guarded(early)
    same = within(early, world(returns=returns(early.weeks(FIRST, LAST), BRANCHES, late=False)))
    found = [play(same, target, w) for w in early.weeks("2020-09-21", "2020-10-19")]
    few, last = found[2], found[-1]
    assert states(few)["volume"] == "UNDERPOWERED" and few.verdict.verdict == "wait_for_labels"
    assert "0 matured positives" in headline(few, "volume")
    assert (last.verdict.verdict, last.verdict.cause) == ("fix_data", "data:label_definition")
    assert "all 360 labels of the last 4 partitions are 0" in last.verdict.sentence
    assert last.incident is not None and last.diagnosis.verdict.onset == FIRST


def test_a_corrupted_reference_is_unknown_and_never_retrains(lived: Library) -> None:
    evaluation = champion(lived).evaluation_id
    assert evaluation is not None
    spoil(lived, promotions.evaluation(lived.platform.ledger, evaluation).evidence_digest)
    found = diagnosed(lived, guarded(lived))
    known = states(found)
    for step in ("contract", "units", "harm", "concept", "covariates"):
        assert known[step] == "UNKNOWN" and "reference cannot be read" in reason(found, step), step
    assert found.verdict.verdict not in ACTS and "could not be judged" in found.verdict.sentence
    refused = explain(lived.platform, guarded(lived), found.diagnosis, lived.now).refusals
    assert {"verdict", "evidence"} <= {g.name for g in refused}


def test_evidence_that_stays_away_goes_to_a_person_and_ends_when_it_is_back(early: Library) -> None:
    target = early.model(diagnosis=DIAGNOSIS | {"unknown_partitions": 2}, retraining=RETRAINING)
    evaluation = champion(early).evaluation_id
    assert evaluation is not None
    digest = promotions.evaluation(early.platform.ledger, evaluation).evidence_digest
    whole = early.platform.lake.get(digest)
    spoil(early, digest)
    one, two, three = (play(early, target, w) for w in ("2020-09-21", "2020-09-28", "2020-10-05"))
    for found in (one, two, three):
        assert {s for s, state in states(found).items() if state == "UNKNOWN"} >= {"contract", "units"}
    assert one.verdict.cause == two.verdict.cause == "volume" and one.incident is None
    assert (three.verdict.verdict, three.verdict.cause) == ("escalate", "unknown_evidence")
    assert (
        "contract, units, label_definition for 3 partitions (since 2020-09-14, limit 2)"
        in three.verdict.sentence
    )
    assert "reference cannot be read" in three.verdict.sentence
    assert three.incident is not None and three.incident.status == "open"
    assert held_partitions(early.platform, target) == {}, "nothing says that data are broken"
    file = early.platform.lake.path(digest)
    file.unlink()
    file.write_bytes(whole)
    back = play(early, target, "2020-10-12")
    assert back.verdict.cause != "unknown_evidence" and states(back)["contract"] != "UNKNOWN"


def test_a_champion_without_an_evaluation_has_no_reference(lived: Library) -> None:
    row = champion(lived)
    with lived.platform.ledger.begin() as session:
        row.evaluation_id = None
        session.merge(row)
    found = diagnosed(lived, guarded(lived))
    assert reason(found, "harm") == "the champion was never evaluated"
    assert found.verdict.verdict not in ACTS


def test_predictions_that_cannot_be_read_are_unknown(lived: Library) -> None:
    target = guarded(lived)
    head = lived.platform.ledger.head(target.asset("predictions"), LAST)
    assert head is not None
    spoil(lived, head.digest)
    found = diagnosed(lived, target)
    assert states(found)["contract"] == states(found)["skew"] == "UNKNOWN"
    assert found.verdict.verdict not in ACTS


def test_a_champion_that_has_served_nothing_yet_waits(trained: Library, unchecked: None) -> None:
    target = guarded(trained)
    assert trained.promote().outcome == "promoted"
    found = diagnosed(trained, target)
    assert found.verdict.verdict == "wait_for_labels"
    assert reason(found, "contract") == "nothing has been served"


def test_a_week_without_rows_leaves_the_others_to_be_judged(early: Library) -> None:
    target = guarded(early)
    week = "2020-09-21"
    empty = within(early, world(missing={"loans": [week], "returns": [week]}))
    live(empty, target, [week])
    now = empty.now
    assert scoring.score(empty.platform, target, [week], now)[0].status == "empty"
    day = play_day(empty.platform, target, week, now)
    assert day.rows == 0 and day.diagnosed is not None
    assert day.diagnosed.diagnosis.verdict.name not in ACTS
    assert set(day.diagnosed.gathered.evidence.findings) == set(states(day.diagnosed))


def test_served_features_missing_for_a_week_are_named_and_never_train(early: Library) -> None:
    target = guarded(early)
    found = play(within(early, world(served=spoilt_serving(["2020-09-21"]))), target, "2020-09-21")
    skew = found.gathered.evidence.of("skew")
    failed = {f.subject for f in skew.failed}
    assert failed == {"branch_late_rate"} and found.verdict.verdict == "fix_serving"
    assert found.gathered.evidence.broken_served >= {"branch_late_rate"}
    assert "branch_late_rate" not in found.gathered.evidence.broken_rebuilt


@pytest.mark.parametrize(
    ("name", "value"), [("pages", None), ("pages", 300.0), ("pages", np.inf), ("staff", np.nan)]
)
def test_a_feature_that_is_null_constant_or_infinite_is_judged_and_never_trains(
    early: Library, name: str, value: float | None
) -> None:
    target, week = guarded(early), "2020-09-21"

    def serve(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        return {k: without(t, name, value) if k == week else t for k, t in tables.items()}

    found = play(within(early, world(served=serve)), target, week)
    assert found.verdict.verdict == "fix_serving" and name in found.verdict.sentence
    assert states(found)["skew"] == "FAIL"


def test_a_clock_that_goes_back_sees_what_was_known_then(lived: Library) -> None:
    target, then = guarded(lived), lived.use_case.cutoff("2020-10-05")
    given = records.latest_verdict(lived.platform, target, then)
    lived.platform.clock(lived.use_case).set(then, back=True)
    again = diagnosed(lived, target)
    assert again.diagnosis.as_of == then and again.gathered.evidence.as_of == then
    assert (again.diagnosis.verdict.name, again.diagnosis.verdict.fingerprint) == (
        given.verdict,
        given.fingerprint,
    )
    assert again.diagnosis.steps == records.diagnosis_of(lived.platform, given).steps


def test_before_the_champion_a_clock_that_went_back_has_nothing_to_diagnose(lived: Library) -> None:
    lived.platform.clock(lived.use_case).set(lived.use_case.cutoff("2020-08-24"), back=True)
    with pytest.raises(NoChampionError, match="as of"):
        diagnosed(lived, guarded(lived))


def test_a_use_case_younger_than_its_reference_window_is_judged_on_what_there_is(lived: Library) -> None:
    target = guarded(lived)
    settings = target.model.diagnosis.model_copy(update={"reference_partitions": 60})
    young = replace(target, model=target.model.model_copy(update={"diagnosis": settings}))
    found = diagnosed(lived, young)
    frozen = reading.reference_of(lived.platform, young, champion(lived))
    window = target.model.windows
    assert 0 < len(frozen.partitions) <= window.train + window.gate < 60
    assert found.verdict.verdict not in {"recalibrate"} and "contract" in states(found)


def test_before_anything_is_mature_it_waits(early: Library) -> None:
    found = diagnosed(early, guarded(early))
    assert found.verdict.verdict == "wait_for_labels" and found.verdict.recheck_at is not None
    assert states(found)["harm"] == "UNKNOWN"
    assert "no matured partition" in reason(found, "harm")


# --- the reference ----------------------------------------------------------------------------------


def test_the_reference_is_scored_by_the_model_that_was_judged(lived: Library) -> None:
    """Also where the baseline won: its cross-fitted scores, not the boosted candidate's."""
    frozen = reading.reference_of(lived.platform, guarded(lived), champion(lived))
    settings = guarded(lived).model.diagnosis
    assert len(frozen.partitions) == max(settings.reference_partitions, 8) and frozen.rows is not None
    longer = lived.model(diagnosis={**settings.model_dump(), "reference_partitions": 12})
    reading._REFERENCES.clear()
    rows = reading.reference_of(lived.platform, longer, champion(lived)).rows
    assert rows is not None
    model = promotions.model(lived.platform.ledger, champion(lived).model_digest)
    assert model.scores_digest is not None
    from ml_platform.storage.parquet import read_table

    scores = read_table(lived.platform.lake.get(model.scores_digest))
    own: dict[tuple[Any, ...], float] = {
        (r["partition_key"], r["branch"], r["loan_no"]): r["score"] for r in scores.to_pylist()
    }
    topped = [r for r in rows.to_pylist() if r["partition_key"] < frozen.partitions[0]]
    assert len({r["partition_key"] for r in topped}) == 4
    for r in topped:
        assert r["probability"] == own[r["partition_key"], r["branch"], r["loan_no"]]


# --- losses expected without labels -----------------------------------------------------------------


def test_the_density_weighted_loss_is_looked_at_where_something_fired(lived: Library) -> None:
    """It costs more than all other questions of X together, so that a quiet week goes without it."""

    def beside(**settings: Any) -> dict[str, str]:
        target = lived.model(diagnosis={**guarded(lived).model.diagnosis.model_dump(), **settings})
        found = gather(lived.platform, target, lived.now).evidence.of("covariates")
        return {f.statistic: f.state for f in found.items if "loss_change" in f.statistic}

    quiet = beside()
    assert list(quiet) == ["estimated_loss_change"] and quiet["estimated_loss_change"] != "UNKNOWN"
    fires = {
        "p_value": 0.999,
        "false_discovery_rate": 0.999,
        "bias_floor": 1e-6,
        "unseen_effective_share": 0.001,
    }
    alarm = beside(**fires)
    assert list(alarm) == ["estimated_loss_change", "density_weighted_loss_change"]
    assert alarm["density_weighted_loss_change"] != "UNKNOWN"
    assert beside(**fires | {"unseen_effective_share": 0.999})["density_weighted_loss_change"] == "UNKNOWN"


def test_what_moved_is_ranked_by_what_the_champion_makes_of_it(lived: Library) -> None:
    report = gather(lived.platform, guarded(lived), lived.now).covariates
    assert report is not None
    shares = {m.name: m.importance or 0.0 for m in report.moved}
    own = scoring.load_champion(lived.platform, champion(lived).model_digest).importance
    assert shares == pytest.approx({n: own[n] for n in shares}) and sum(shares.values()) > 0.99
    assert [m.materiality for m in report.moved] == [m.distance * shares[m.name] for m in report.moved]


# --- quarantine -------------------------------------------------------------------------------------


def unreadable(week: str, rows: Sequence[int]) -> dict[str, Any]:
    """The reader's settings with which some loans of a week have pages that the contract does not accept."""
    return {"edits": {week: {"pages": dict.fromkeys(rows, 5000)}}}


def test_rows_that_went_to_quarantine_are_named_on_their_day(early: Library) -> None:
    target, week = guarded(early), "2020-09-21"
    found = play(within(early, world(loans=unreadable(week, range(20)))), target, week)
    share = next(f for f in found.gathered.evidence.of("contract").failed if f.subject == "loans")
    assert (share.statistic, share.partitions) == ("quarantined_share", (week,))
    assert "22.2% of the 90 rows of loans" in share.detail and "pages_in_range" in share.detail
    assert (found.verdict.verdict, found.verdict.cause) == ("fix_data", "data:contract")
    assert found.diagnosis.verdict.quarantined == (week,)
    # What came before stays sound, and so does the day after.
    live(early, target, ["2020-09-28"])
    again = diagnosed(early, target)
    assert again.diagnosis.verdict.quarantined == (week,)


def test_quarantined_rows_of_one_segment_are_named_though_the_whole_hides_them(early: Library) -> None:
    week, branch = "2020-09-21", "market"
    made: Any = load_reader(FOLDER / NAME, "feeds:_week")
    rows = [i for i, b in enumerate(made(week, {})["branch"]) if b == branch]
    target = early.model(diagnosis=DIAGNOSIS | {"segment_minimum_rows": 15}, retraining=RETRAINING)
    found = play(within(early, world(loans=unreadable(week, rows[:4]))), target, week)
    share = next(f for f in found.gathered.evidence.of("contract").failed if f.subject == "loans")
    assert share.estimate is not None and share.floor is not None and share.estimate < share.floor
    assert list(share.facts["segments"]) == [f"branch={branch}"] and share.partitions == (week,)


def test_clean_weeks_have_nothing_in_quarantine(lived: Library) -> None:
    found = diagnosed(lived, guarded(lived))
    shares = [f for f in found.gathered.evidence.of("contract").items if f.statistic == "quarantined_share"]
    assert {f.subject for f in shares} == {"branches", "loans", "returns"} and {f.state for f in shares} == {
        "PASS"
    }
