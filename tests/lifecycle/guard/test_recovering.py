"""Trouble from outside: clocks, restored and locked ledgers, revised labels, fixes that land, rollbacks."""

import shutil
import sqlite3
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from guarded import (
    FIRST,
    LAST,
    Replayed,
    champion,
    diagnosed,
    easy,
    give,
    guarded,
    ledger_attempts,
    ledger_verdicts,
    live,
    returns,
    rows_of,
    states,
    within,
    world,
)
from library import NAME, Library, open_library, with_feature
from sqlalchemy import event, select

from ml_platform.config import CutoffConfig
from ml_platform.errors import NoChampionError, NotReadyError, StoreError
from ml_platform.lifecycle import caching, scoring
from ml_platform.lifecycle import reference as reading
from ml_platform.lifecycle.doctor import examine
from ml_platform.lifecycle.guard.asked import DONE, Ask, next_ask
from ml_platform.lifecycle.guard.replaying import replay
from ml_platform.lifecycle.guard.resolving import resolve_incident
from ml_platform.lifecycle.guard.retraining import carry_out
from ml_platform.lifecycle.platform import Outside, Platform
from ml_platform.lifecycle.training_data import Windows, assemble, ensure_views, held_partitions
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Hold

BRANCHES = ("harbour", "market", "north", "station")


@pytest.fixture(autouse=True)
def _quick(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are checked elsewhere; each test reads its own champion's reference."""
    monkeypatch.setattr(reading, "_REFERENCES", {})


# --- stores and clocks ------------------------------------------------------------------------------


def test_a_ledger_that_is_locked_says_so_and_nothing_is_lost(early: Library) -> None:
    target, before = guarded(early), rows_of(ledger_verdicts(early))
    file = early.platform.home / "ledger.db"
    early.close()
    impatient = open_library(early.platform.home)
    event.listen(
        impatient.platform.ledger.engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout = 50")
    )
    impatient.platform.ledger.engine.dispose()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        live(impatient, target, ["2020-09-21"])
    other.execute("ROLLBACK")
    other.close()
    assert rows_of(ledger_verdicts(early)) == before
    (day,) = replay(early.platform, target, FIRST, "2020-09-21", ahead=False)
    assert day.rows == 90 and day.diagnosed is not None


def test_a_ledger_restored_from_weeks_ago_plays_on_to_the_same_end(
    lived: Library, early: Library, replayed: Replayed
) -> None:
    """The lake and the cache are those of today: objects are found by digest, the cache is mended."""
    home, target = lived.platform.home, guarded(lived)
    wanted, attempts = rows_of(ledger_verdicts(lived)), [a.run_key for a in ledger_attempts(lived)]
    early.close()
    lived.close()
    for leftover in home.glob("ledger.db*"):
        leftover.unlink()
    for file in early.platform.home.glob("ledger.db*"):
        shutil.copy(file, home / file.name)
    restored = open_library(home)
    assert restored.now < lived.use_case.cutoff(LAST) and len(ledger_verdicts(restored)) == 3
    said = examine(restored.platform)
    assert [f.what for f in said if f.state == "broken"] == []
    generation = caching.committed_generation(restored.platform, target.key)
    assert generation is not None and restored.platform.cache.current(target.key) == generation.id
    list(replay(restored.platform, target, FIRST, LAST, ahead=False))
    assert rows_of(ledger_verdicts(restored)) == wanted
    assert [a.run_key for a in ledger_attempts(restored)] == attempts
    again = caching.committed_generation(restored.platform, target.key)
    assert again is not None and again.served_partition == LAST


def test_a_clock_that_goes_back_neither_acts_twice_nor_forgets(lived: Library) -> None:
    """What was done later is not known then, and run keys keep it from being done once more."""
    target = easy(lived, budget=9)
    verdict = give(lived, target)
    done = carry_out(lived.platform, target, verdict.id, 3, lived.now)
    assert done.outcome == "promoted", done.outcome
    before = [(p.version, p.as_of) for p in promotions.history(lived.platform.ledger, target.key)]
    lived.platform.clock(lived.use_case).set(lived.use_case.cutoff("2020-10-26"), back=True)
    found = next_ask(lived.platform, target, {}, lived.now)
    assert not isinstance(found, Ask), "the newest verdict was carried out, whatever the clock says"
    assert diagnosed(lived, target).diagnosis.as_of == lived.now
    scoring.score(lived.platform, target, ["2020-10-26"], lived.now)
    after = [(p.version, p.as_of) for p in promotions.history(lived.platform.ledger, target.key)]
    assert after == before
    served = lived.platform.ledger.heads(f"{NAME}/late_return/predictions")
    assert served["2020-10-26"].details["model_digest"] == lived_champion_at(lived, "2020-10-26")


def lived_champion_at(library: Library, week: str) -> str:
    found = promotions.champion(library.platform.ledger, library.target.key, library.use_case.cutoff(week))
    assert found is not None
    return found.model_digest


# --- labels -----------------------------------------------------------------------------------------


def test_labels_revised_back_and_forth_are_a_revision_and_no_surprise(lived: Library) -> None:
    """A week's outcomes turn round and back again: the label's age stays that of its first arrival."""
    target, week = guarded(lived), "2020-10-12"
    (first,) = lived.build("labels", [week])
    turned = within(lived, world(returns=returns([week], BRANCHES, late=None)))
    lived.advance()
    since = lived.weeks(week, lived.use_case.scheme.key_at(lived.now))
    turned.deliver_all(since)
    (second,) = turned.build("labels", [week])
    assert second.digest != first.digest and second.details["known"] == first.details["known"]
    revised = diagnosed(turned, target)
    assert states(revised)["label_definition"] == "PASS"
    finding = next(f for f in revised.gathered.evidence.of("label_definition").items)
    assert finding.facts["revision_rate"] > 0
    assert states(revised)["maturity"] != "FAIL", "nothing became late"
    lived.advance()
    lived.deliver_all(lived.weeks(week, lived.use_case.scheme.key_at(lived.now)))
    (third,) = lived.build("labels", [week])
    assert third.status == "new" and third.details["known"] == first.details["known"]
    back = diagnosed(lived, target)
    assert states(back)["maturity"] == states(revised)["maturity"]
    cohort = back.gathered.maturity.of(week) if back.gathered.maturity else None
    assert cohort is not None and cohort.share_known == 1 and cohort.maturity == "mature"


def test_labels_that_were_known_before_their_prediction_are_broken_data(early: Library) -> None:
    """Whoever knows the outcome when it is asked for predicts nothing."""
    target, weeks = guarded(early), ["2020-09-21", "2020-09-28", "2020-10-05"]
    told = world(returns={"known_days_early": 14})
    live(within(early, told), target, weeks)
    found = diagnosed(early, target)
    failed = found.gathered.evidence.of("contract").failed
    assert [f.statistic for f in failed] == ["label_before_prediction"]
    assert found.verdict.verdict == "fix_data"
    assert found.verdict.sentence.startswith(
        "Labels were known when they were predicted (late): the cutoff is"
    )


def recut(library: Library, **cutoff: Any) -> Library:
    """The same installation after an edit of the use case's cutoff."""
    use_case = library.use_case
    config = use_case.config.model_copy(update={"cutoff": CutoffConfig(**cutoff)})
    outside = Outside(use_cases={NAME: replace(use_case, config=config)})
    platform = Platform({"ML_PLATFORM_HOME": str(library.platform.home)}, outside)
    return Library(platform, platform.target(library.target.key))


def test_a_cutoff_that_was_too_late_is_mended_in_place(early: Library) -> None:
    """Nothing more is served, as where a file is at its end: the settings alone show that it is mended."""
    target, weeks = guarded(early), ["2020-09-21", "2020-09-28", "2020-10-05"]
    told = world(returns={"known_days_early": 1})
    live(within(early, told), target, weeks)
    found = diagnosed(early, target)
    assert [f.statistic for f in found.gathered.evidence.of("contract").failed] == ["label_before_prediction"]
    assert found.incident is not None
    held = held_partitions(early.platform, target)
    assert held
    window = Windows(early.weeks("2020-06-15", "2020-07-27"), sorted(held))
    with pytest.raises(NotReadyError) as caught:
        assemble(early.platform, target, early.now, window)
    assert f"`ml-platform incident resolve {found.incident.id} --why" in caught.value.fix

    early.close()
    half = recut(early, days_before=1, at="12:00")
    done = resolve_incident(half.platform, found.incident.id, "ada", "scored earlier")
    assert not done.resolved and "labels are still known at the cutoff" in done.lines[-1], done.lines
    half.close()
    before = recut(early, days_before=9, at="12:00")
    done = resolve_incident(before.platform, found.incident.id, "ada", "scored before there are rows")
    assert not done.resolved and "nothing can be judged" in done.lines[-1], done.lines
    before.close()
    mended = recut(early, days_before=2, at="20:00")
    done = resolve_incident(mended.platform, found.incident.id, "ada", "scored on the day before")
    assert done.resolved, done.lines
    assert held_partitions(mended.platform, mended.target) == {}
    again = diagnosed(mended, guarded(mended))
    assert not again.verdict.cause.startswith("data:"), "what was served before the edit is no new incident"


# --- fixes and rollbacks ----------------------------------------------------------------------------


def test_after_the_fix_an_incident_is_resolved_and_the_rollback_offered(early: Library) -> None:
    """A week's genres get lost; the fix lands; who was trained on the week is told."""
    target, bad = guarded(early), "2020-09-21"
    lost = world(loans={"edits": {bad: {"genre": dict.fromkeys(range(60))}}})
    live(within(early, lost), target, [bad])
    found = diagnosed(early, target)
    assert found.verdict.verdict == "fix_data" and found.incident is not None, found.verdict.sentence
    assert bad in held_partitions(early.platform, target)
    soon = resolve_incident(early.platform, found.incident.id, "ada", "the scale was mended")
    assert not soon.resolved and "served since" in soon.lines[-1]
    assert soon.lines[0] != "the sources deliver what they had delivered before", "the fix was delivered"
    live(early, target, ["2020-09-28"])
    done = resolve_incident(early.platform, found.incident.id, "ada", "the scale was mended")
    assert done.resolved, done.lines
    assert done.lines[0] == "the sources deliver what they had delivered before"
    assert any("was not trained on them" in line for line in done.lines)
    assert "1 partition(s) may train again" in "\n".join(done.lines), "its rows came out of quarantine"
    assert held_partitions(early.platform, target) == {}
    live(early, target, ["2020-10-05"])
    again = diagnosed(early, target)
    assert not again.verdict.cause.startswith("data:"), "a resolved day is no new incident"


def test_days_whose_features_stay_broken_as_known_then_do_not_train_after_the_fix(
    early: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction after the cutoff mends what is accepted, and not what was known at the cutoff.

    By then the settings have a feature that the champion, and what it is held against, have not.
    """
    target, bad = guarded(early), "2020-09-21"
    stuck = world(loans={"edits": {bad: {"pages": dict.fromkeys(range(90), 300)}}})
    live(within(early, stuck), target, [bad])
    found = diagnosed(within(early, stuck), target)
    assert found.verdict.verdict == "fix_data" and found.incident is not None, found.verdict.sentence
    assert "pages" in found.verdict.sentence and bad in held_partitions(early.platform, target)
    live(early, target, ["2020-09-28"])
    ahead = with_feature(target, "shelf_height")
    monkeypatch.setattr(early.platform, "target", {target.key: ahead}.__getitem__)
    done = resolve_incident(early.platform, found.incident.id, "ada", "the scanner was mended")
    assert done.resolved, done.lines
    assert f"{bad} stay out of training: their features, as known then, are broken" in done.lines
    assert any("0 partition(s) may train again" in line for line in done.lines)
    accepted = visible(early, bad)
    assert len(set(accepted["pages"].to_pylist())) > 50, "the fix has landed"
    assert held_partitions(early.platform, target).keys() == {bad}
    window = Windows(early.weeks("2020-06-15", "2020-08-24"), ["2020-09-07", "2020-09-14", bad])
    later = early.use_case.cutoff("2020-10-26")
    early.platform.clock(early.use_case).set(later)
    early.deliver_all(["2020-10-05", "2020-10-12"])
    ensure_views(early.platform, target, [*window.train, *window.gate], later)
    report, _ = assemble(early.platform, target, later, window)
    assert "held by incident" in report.left_out[bad]


def visible(library: Library, week: str) -> pa.Table:
    """Loans of a week as they are accepted now."""
    head = library.platform.ledger.head("feed/loans/accepted", week)
    assert head is not None
    rows = read_table(library.platform.lake.get(head.digest))
    return rows.filter(pc.greater(rows["visible_to"], pa.scalar(library.now, rows["visible_to"].type)))


def test_what_was_trained_on_the_bad_days_is_offered_for_a_rollback(lived: Library) -> None:
    """Served features got lost only in serving, so that what is rebuilt may train again."""
    target, bad = easy(lived, budget=9), "2020-11-16"
    verdict = give(lived, target)
    done = carry_out(lived.platform, target, verdict.id, 3, lived.now)
    assert done.outcome == "promoted", done.outcome

    def serve(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        return {k: nulled(t, "branch_late_rate") if k == bad else t for k, t in tables.items()}

    live(within(lived, world(served=serve)), target, [bad])
    found = diagnosed(lived, target)
    assert found.verdict.verdict == "fix_serving" and found.incident is not None
    trained = "2020-08-03"
    with lived.platform.ledger.begin() as session:  # it had been so before, as is found out now
        hold = session.scalars(select(Hold).where(Hold.incident_id == found.incident.id)).first()
        assert hold is not None
        session.add(
            Hold(
                model_key=target.key,
                partition=trained,
                incident_id=found.incident.id,
                reason=hold.reason,
                as_of=hold.as_of,
                released_at=None,
                recorded_at=hold.recorded_at,
            )
        )
    live(lived, target, ["2020-11-23"])
    done_ = resolve_incident(lived.platform, found.incident.id, "ada", "the cable was loose")
    assert done_.resolved, done_.lines
    assert f"was trained on {trained}: `ml-platform rollback {target.key}" in done_.lines[-1]
    assert held_partitions(lived.platform, target) == {}


def nulled(table: pa.Table, name: str) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.nulls(table.num_rows, table.schema.field(index).type))


def test_a_rollback_verdict_is_carried_out_once_with_model_predictions_and_cache(lived: Library) -> None:
    """Promoted, found worse than its back-test, asked for by the sensor, undone in one step."""
    first, target = champion(lived), easy(lived, budget=9)
    retrained = carry_out(lived.platform, target, give(lived, target).id, 3, lived.now)
    assert retrained.outcome == "promoted"
    live(lived, target, ["2020-11-16"])
    caching.refresh(lived.platform, target, lived.now)
    served = caching.committed_generation(lived.platform, target.key)
    assert served is not None and served.model_digest == champion(lived).model_digest != first.model_digest
    lost = give(lived, target, "rollback", cause="season", restores="v9")
    with pytest.raises(NoChampionError, match="no champion of version 9 before"):
        carry_out(lived.platform, target, lost.id, 1, lived.now)
    verdict = give(lived, target, "rollback", cause="regression", restores=f"v{first.version}")
    asked = next_ask(lived.platform, target, {}, lived.now)
    assert isinstance(asked, Ask) and (asked.action, asked.verdict_id) == ("rollback", verdict.id)
    done = carry_out(lived.platform, target, verdict.id, asked.number, lived.now)
    assert (done.status, done.outcome) == (DONE, "rolled_back")
    now = champion(lived)
    assert (now.action, now.model_digest, now.id) == ("rollback", first.model_digest, done.promotion_id)
    served = caching.committed_generation(lived.platform, target.key)
    assert served is not None and served.model_digest == first.model_digest
    again = next_ask(lived.platform, target, {}, lived.now)
    assert not isinstance(again, Ask) and again.settled
    live(lived, target, ["2020-11-23"])
    heads = lived.platform.ledger.heads(f"{NAME}/late_return/predictions")
    assert heads["2020-11-23"].details["model_digest"] == first.model_digest
