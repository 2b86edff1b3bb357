"""From verdict to action: claimed once, guarded again inside the run, and safe to be killed anywhere."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guarded import champion, easy, give, guarded, ledger_attempts
from library import Library, killed, open_library

from ml_platform.diagnosis.guards import Override
from ml_platform.errors import ConflictError, IntegrityError
from ml_platform.lifecycle import caching, promotion, scoring
from ml_platform.lifecycle.doctor import examine
from ml_platform.lifecycle.guard import challenger, retraining
from ml_platform.lifecycle.guard.asked import DONE, FAILED, REFUSED, RUNNING, Ask, next_ask, running
from ml_platform.lifecycle.guard.records import diagnosis_of
from ml_platform.lifecycle.guard.retraining import carry_out, claim, consider, explain, finish, refuse
from ml_platform.lifecycle.platform import Target
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Hold, Incident, Verdict

ADA = Override("ada", "the desk insists")


def run(library: Library, target: Target, verdict: Verdict, number: int = 1, **more: Any) -> Attempt:
    return carry_out(library.platform, target, verdict.id, number, library.now, **more)


def clean(library: Library) -> None:
    """Forget the replay's attempts, so that each test begins with a full budget."""
    with library.platform.ledger.begin() as session:
        for row in session.query(Attempt):
            session.delete(row)


@pytest.fixture
def ready(lived: Library, unchecked: None) -> Library:
    """Ten weeks served, nothing attempted yet."""
    clean(lived)
    return lived


def guard(attempt: Attempt, name: str) -> dict[str, Any]:
    return next(g for g in attempt.guards if g["name"] == name)


def refusing(attempt: Attempt) -> set[str]:
    return {g["name"] for g in attempt.guards if g["passed"] is not True and not g["overridden"]}


# --- claims -----------------------------------------------------------------------------------------


def test_a_second_claim_is_a_conflict(fresh: Library, target: Target) -> None:
    verdict = give(fresh, target)
    claim(fresh.platform, target, verdict, 1, fresh.now)
    with pytest.raises(ConflictError, match="made already"):
        claim(fresh.platform, target, verdict, 1, fresh.now)
    with pytest.raises(ConflictError, match="made already"):
        carry_out(fresh.platform, target, verdict.id, 1, fresh.now)
    assert [a.status for a in ledger_attempts(fresh)] == [RUNNING]


def _claimed(home: Path, url: str, verdict_id: int, results: "multiprocessing.Queue[str]") -> None:
    library = open_library(home, ML_PLATFORM_LEDGER_URL=url)
    with library.platform.ledger.begin() as session:
        verdict = session.get(Verdict, verdict_id)
    assert verdict is not None
    try:
        claim(library.platform, guarded(library), verdict, 1, library.now)
        results.put("claimed")
    except ConflictError:
        results.put("refused")


def test_of_two_processes_that_claim_on_postgres_one_wins(postgres_url: str, tmp_path: Path) -> None:
    library = open_library(tmp_path / "home", ML_PLATFORM_LEDGER_URL=postgres_url)
    verdict = give(library, guarded(library))
    # Children that inherit no connection, and no need to import all modules again.
    library.platform.ledger.engine.dispose()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    asked = (tmp_path / "home", postgres_url, verdict.id, results)
    workers = [context.Process(target=_claimed, args=asked) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert sorted(results.get(timeout=120) for _ in workers) == ["claimed", "refused"]
    for worker in workers:
        worker.join(60)
    assert [a.status for a in ledger_attempts(library)] == [RUNNING]


def test_of_many_threads_that_claim_at_once_one_wins(fresh: Library, target: Target) -> None:
    verdict, start = give(fresh, target), threading.Barrier(6)
    outcomes: list[str] = []

    def race() -> None:
        run = open_library(fresh.platform.home)
        start.wait()
        try:
            claim(run.platform, target, verdict, 1, run.now)
            outcomes.append("won")
        except ConflictError:
            outcomes.append("lost")

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 5 + ["won"] and len(ledger_attempts(fresh)) == 1


def test_of_many_processes_that_claim_at_once_one_wins(fresh: Library, target: Target) -> None:
    verdict = give(fresh, target)
    fresh.close()
    home = fresh.platform.home

    def step() -> None:
        claim(open_library(home).platform, target, verdict, 1, verdict.as_of)

    children = [_forked(step) for _ in range(4)]
    ends = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert ends == [0, 3, 3, 3] and len(ledger_attempts(fresh)) == 1


def _forked(step: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        end = 1
        try:
            step()
            end = 0
        except ConflictError:
            end = 3
        finally:
            os._exit(end)
    return child


def test_a_closed_attempt_stays_as_it_is(fresh: Library, target: Target) -> None:
    attempt = claim(fresh.platform, target, give(fresh, target), 1, fresh.now)
    finish(fresh.platform, attempt, DONE, "promoted")
    assert finish(fresh.platform, attempt, FAILED, "too late").outcome == "promoted"


# --- guards -----------------------------------------------------------------------------------------


def test_a_verdict_that_asks_for_nothing_is_refused_inside_the_run_with_every_guard(ready: Library) -> None:
    before, target = champion(ready), easy(ready)
    for name, cause in (("none", ""), ("wait_for_labels", "immature_labels"), ("escalate", "contradiction")):
        attempt = run(ready, target, give(ready, target, name, cause=cause))  # type: ignore[arg-type]
        assert (attempt.status, attempt.action) == (REFUSED, "retrain")
        assert refusing(attempt) == {"verdict", "onset"}
        assert f"the verdict is {name}" in attempt.outcome and len(attempt.guards) == 14
        assert attempt.finished_at is not None and attempt.promotion_id is None
    assert champion(ready).id == before.id


def test_a_run_that_every_guard_allows_keeps_them_all_too(ready: Library) -> None:
    before, target = champion(ready), easy(ready)
    verdict = give(ready, target)
    said: list[str] = []
    attempt = run(ready, target, verdict, progress=said.append)
    assert (attempt.status, attempt.outcome) == (DONE, "promoted") and said[
        0
    ] == "every guard agrees to retrain"
    assert len(attempt.guards) == 14 and refusing(attempt) == set() and attempt.seconds > 0
    assert attempt.promotion_id == champion(ready).id != before.id
    assert (champion(ready).who, champion(ready).why) == (retraining.POLICY, verdict.sentence)
    assert attempt.details["against"] == before.model_digest
    found = next_ask(ready.platform, target, {"abc": "succeeded"}, ready.now)
    assert not isinstance(found, Ask) and found.settled and "retrain done: promoted" in found.reason
    # What is still to come is served by the new champion, and the ledger refuses at once to go on.
    generation = caching.committed_generation(ready.platform, target.key)
    assert generation is not None and generation.model_digest == champion(ready).model_digest
    heads = ready.platform.ledger.heads(target.asset("predictions"))
    assert heads["2020-11-09"].details["model_digest"] == champion(ready).model_digest
    assert heads["2020-11-02"].details["model_digest"] == before.model_digest
    again = explain(ready.platform, target, diagnosis_of(ready.platform, verdict), ready.now)
    assert {"cooldown", "newly_matured", "one_attempt"} <= {g.name for g in again.refusals}


@pytest.mark.parametrize(
    ("weeks", "changes", "name"),
    [
        (1, {"cooldown_partitions": 3}, "cooldown"),
        (2, {"cooldown_partitions": 3}, "newly_matured"),
        (2, {"attempt_partitions": 9}, "one_attempt"),
        (4, {"budget": 1}, "budget"),
        (4, {"compute_seconds": 1.0}, "compute"),
    ],
)
def test_an_earlier_attempt_refuses_inside_the_run(
    ready: Library, weeks: int, changes: dict[str, Any], name: str
) -> None:
    target = guarded(ready, **changes)
    then = ready.now - timedelta(weeks=weeks)
    earlier = give(ready, target, as_of=then)
    finish(ready.platform, claim(ready.platform, target, earlier, 1, then), DONE, "rejected", seconds=60.0)
    attempt = run(ready, target, give(ready, target))
    assert attempt.status == REFUSED and name in refusing(attempt)
    found = guard(attempt, name)
    assert found["sentence"] in attempt.outcome and found["limit"] == next(iter(changes.values()))
    if name == "budget":
        assert found["could_pass"] is None and "but the data end with" in found["sentence"]
    elif name != "compute":
        assert found["could_pass"] > ready.use_case.scheme.key_at(ready.now), (
            "the date on which it could pass"
        )


def test_an_attempt_under_way_refuses_another(ready: Library) -> None:
    target = guarded(ready)
    claim(ready.platform, target, give(ready, target, as_of=ready.now - timedelta(weeks=8)), 1, ready.now)
    attempt = run(ready, target, give(ready, target))
    assert attempt.status == REFUSED and "nothing_running" in refusing(attempt)


def test_what_a_run_does_not_know_refuses(ready: Library) -> None:
    target = guarded(ready)
    attempt = run(ready, target, give(ready, target, steps={"skew": "UNKNOWN"}))
    assert attempt.status == REFUSED and refusing(attempt) == {"evidence"}
    assert guard(attempt, "evidence")["passed"] is None


def test_the_switch_refuses_what_is_launched_by_hand_too(ready: Library) -> None:
    target = guarded(ready, mode="off")
    for name, cause in (("retrain", "freshness"), ("rollback", "leakage"), ("recalibrate", "prior_shift")):
        attempt = run(ready, target, give(ready, target, name, cause=cause))  # type: ignore[arg-type]
        assert (attempt.status, attempt.action, refusing(attempt)) == (REFUSED, name, {"mode"})


def test_a_retraining_that_is_not_worth_its_price_is_refused(ready: Library) -> None:
    poor = guarded(ready)
    value = poor.model.retraining.value.model_copy(update={"per_loss_unit": 0.01})
    target = guarded(ready, value=value)
    attempt = run(ready, target, give(ready, target))
    assert attempt.status == REFUSED and refusing(attempt) == {"value"}
    assert "90 predictions" in guard(attempt, "value")["sentence"]


def test_safety_actions_pass_a_spent_budget(ready: Library) -> None:
    target = guarded(ready, budget=1, cooldown_partitions=9)
    then = ready.now - timedelta(weeks=1)
    finish(ready.platform, claim(ready.platform, target, give(ready, target, as_of=then), 1, then), DONE, "")
    verdict = give(ready, target, "recalibrate", cause="prior_shift")
    found = explain(
        ready.platform,
        target,
        diagnosis_of(ready.platform, verdict),
        ready.now,
        action="recalibrate",
    )
    assert found.allowed and [g.name for g in found.guards] == [
        "verdict",
        "one_attempt",
        "nothing_running",
        "mode",
        "calibration",
    ]


def test_a_recalibration_without_enough_days_is_refused_until_the_date_on_which_it_has_them(
    early: Library,
) -> None:
    """Three weeks served, none of them mature: seven are needed, one more each week."""
    target = guarded(early)
    verdict = give(early, target, "recalibrate", cause="prior_shift")
    found = consider(early.platform, target, verdict)
    assert found is not None and [g.name for g in found.refusals] == ["calibration"]
    (refusal,) = found.refusals
    assert (refusal.value, refusal.limit, refusal.could_pass) == (0, 7, "2020-10-26")
    assert "0 matured partitions served by the champion, 7 are asked for" in found.sentence()
    (kept,) = ledger_attempts(early)
    assert (kept.status, kept.action) == (REFUSED, "recalibrate")
    attempt = run(early, target, verdict)
    assert attempt.status == REFUSED and refusing(attempt) == {"calibration"}, "launched by hand too"


def test_what_is_not_ready_inside_is_refused_and_not_tried_again(ready: Library) -> None:
    """An incident whose onset leaves too few weeks to train on: what is missing comes by waiting."""
    target = guarded(ready, onset_minimum=2, incident_gate=4)
    verdict = give(ready, target, "retrain", "incident", "concept", onset="2020-11-02")
    attempt = run(ready, target, verdict, override=ADA)
    assert attempt.status == REFUSED and "are needed before the 4 that judge" in attempt.outcome
    found = next_ask(ready.platform, target, {"abc": "succeeded"}, ready.now)
    assert not isinstance(found, Ask) and found.settled


# --- overrides --------------------------------------------------------------------------------------


def hold(library: Library, week: str) -> Incident:
    """An open incident that keeps a week out of training."""
    incident = Incident(
        model_key=library.target.key,
        fingerprint="f" * 16,
        status="open",
        report={},
        opened_at=library.now,
        updated_at=library.now,
        closed_at=None,
        recorded_at=wall_now(),
    )
    with library.platform.ledger.begin() as session:
        session.add(incident)
        session.flush()
        session.add(
            Hold(
                model_key=library.target.key,
                partition=week,
                incident_id=incident.id,
                reason="data:contract",
                as_of=library.now,
                released_at=None,
                recorded_at=wall_now(),
            )
        )
    return incident


def test_a_person_overrides_what_is_not_about_the_data_and_it_is_loud(ready: Library) -> None:
    target = easy(ready, cooldown_partitions=90, mode="off")
    attempt = run(ready, target, give(ready, target, "none", cause=""), override=ADA)
    assert (attempt.status, attempt.outcome, attempt.override) == (DONE, "promoted", True)
    assert (attempt.action, attempt.who, attempt.why) == ("retrain", "ada", "the desk insists")
    passed_over = {g["name"] for g in attempt.guards if g["overridden"]}
    assert {"verdict", "cooldown", "mode"} <= passed_over and passed_over.isdisjoint(
        {"data_sound", "training_window"}
    )
    assert "overridden by ada: the desk insists" in guard(attempt, "verdict")["sentence"]
    assert champion(ready).who == "ada"


def test_nobody_overrides_corrupted_data(ready: Library) -> None:
    before, target = champion(ready), easy(ready)
    for more in ({"steps": {"contract": "FAIL"}}, {"cause": "data:serving"}):
        settings: dict[str, Any] = {"name": "fix_data", "cause": "data:contract", **more}
        verdict = give(ready, target, **settings)
        attempt = run(ready, target, verdict, override=Override(f"ada {len(more)} {more}", "I insist"))
        assert attempt.status == REFUSED and refusing(attempt) == {"data_sound"}
        assert "no override passes corrupted data" in attempt.outcome
    assert champion(ready).id == before.id


def test_nobody_overrides_a_held_window(ready: Library) -> None:
    before, target = champion(ready), easy(ready)
    hold(ready, "2020-08-24")
    for override in (None, ADA):
        attempt = run(ready, target, give(ready, target), override=override)
        assert attempt.status == REFUSED and "training_window" in refusing(attempt)
        assert "2020-08-24" in guard(attempt, "training_window")["sentence"]
    assert champion(ready).id == before.id


# --- refusals ---------------------------------------------------------------------------------------


def test_a_refusal_is_kept_once_with_every_guard(ready: Library) -> None:
    target = guarded(ready, cooldown_partitions=90)
    verdict = give(ready, target)
    first, second = consider(ready.platform, target, verdict), consider(ready.platform, target, verdict)
    assert first is not None and second is not None and not first.allowed and first == second
    (kept,) = ledger_attempts(ready)
    assert (kept.status, kept.number, kept.verdict_id) == (REFUSED, 0, verdict.id)
    assert len(kept.guards) == 14 and kept.outcome == first.sentence()
    assert refuse(ready.platform, target, verdict, first).id == kept.id


def test_the_same_refusal_of_the_next_verdict_of_the_day_is_no_error(ready: Library) -> None:
    target = guarded(ready, cooldown_partitions=90)
    for note in (" First.", " The day was judged again."):
        verdict = give(ready, target, note=note)
        found = consider(ready.platform, target, verdict)
        assert found is not None and not found.allowed
        answer = next_ask(ready.platform, target, {}, ready.now)
        assert not isinstance(answer, Ask) and answer.settled


def test_what_asks_for_nothing_is_not_considered(ready: Library) -> None:
    target = guarded(ready)
    assert consider(ready.platform, target, give(ready, target, "none", cause="")) is None
    assert ledger_attempts(ready) == []


def test_an_attempt_that_never_said_how_it_ended_is_closed(fresh: Library, target: Target) -> None:
    """Whoever made it was killed: left open, it would refuse every other one for good."""
    verdict = give(fresh, target)
    claim(fresh.platform, target, verdict, 1, fresh.now)
    told = [f for f in examine(fresh.platform, repair=False) if "attempt" in f.what]
    assert [f.state for f in told] == ["broken"] and running(fresh.platform, target)
    mended = [f for f in examine(fresh.platform) if "attempt" in f.what]
    assert [f.state for f in mended] == ["repaired"] and running(fresh.platform, target) == []


# --- failures and kills -----------------------------------------------------------------------------


def test_a_failure_inside_leaves_the_champion_and_a_second_attempt_works(
    ready: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, target = champion(ready), easy(ready)
    verdict = give(ready, target)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ready.platform.lake, "put", full)
        with pytest.raises(OSError, match="No space left"):
            run(ready, target, verdict)
    (failed,) = ledger_attempts(ready)
    assert (failed.status, failed.outcome) == (FAILED, "OSError: [Errno 28] No space left on device")
    assert champion(ready).id == before.id
    asked = next_ask(ready.platform, target, {"abc": "failed"}, ready.now)
    assert isinstance(asked, Ask) and asked.number == 2
    second = run(ready, target, verdict, asked.number)
    assert (second.status, second.outcome) == (DONE, "promoted"), second.outcome
    assert champion(ready).id == second.promotion_id


def test_a_challenger_whose_bundle_fails_its_check_is_not_promoted(
    lived: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(lived)
    before, target = champion(lived), easy(lived)

    def broken(*_: object) -> None:
        raise IntegrityError("it scores otherwise in a fresh process")

    monkeypatch.setattr(promotion, "check_bundle", broken)
    with pytest.raises(IntegrityError):
        run(lived, target, give(lived, target))
    (failed,) = ledger_attempts(lived)
    assert (failed.status, failed.outcome) == (FAILED, "it scores otherwise in a fresh process")
    assert champion(lived).id == before.id


def test_a_promotion_stands_when_the_next_predictions_fail(
    ready: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, target = champion(ready), easy(ready)
    verdict = give(ready, target)
    generation = caching.committed_generation(ready.platform, target.key)

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("the cache does not answer")

    monkeypatch.setattr(caching, "refresh", down)
    with pytest.raises(ConnectionError):
        run(ready, target, verdict)
    (done,) = ledger_attempts(ready)
    assert (done.status, done.outcome) == (DONE, "promoted")
    assert done.promotion_id == champion(ready).id != before.id
    assert "the cache does not answer" in done.details["warning"]
    found = next_ask(ready.platform, target, {"abc": "failed"}, ready.now)
    assert not isinstance(found, Ask) and found.settled, "a failed run of a done attempt is not made again"
    kept = caching.committed_generation(ready.platform, target.key)
    assert generation is not None and kept is not None and kept.id == generation.id


KILLS = {
    "after the claim": (retraining, "explain"),
    "in training": (challenger, "train"),
    "at the gates": (challenger, "_gates"),
    "at the promotion": (promotions, "promote"),
    "between promotion and predictions": (scoring, "prepare_again"),
    "at the cache": (caching, "refresh"),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_leaves_a_champion_in_force_and_a_later_attempt_works(ready: Library, moment: str) -> None:
    before, target = champion(ready), easy(ready)
    generation = caching.committed_generation(ready.platform, target.key)
    verdict = give(ready, target)
    ready.close()
    killed(ready.platform.home, KILLS[moment], lambda library: run(library, target, verdict))
    (left,) = ledger_attempts(ready)
    assert left.status == RUNNING
    promoted = moment in ("between promotion and predictions", "at the cache")
    assert (champion(ready).id != before.id) == promoted
    after = caching.committed_generation(ready.platform, target.key)
    assert generation is not None and after is not None and after.id == generation.id, "the cache is whole"
    asked = next_ask(ready.platform, target, {"abc": "failed"}, ready.now)
    if promoted:
        # The promotion stands, so the attempt was made; the next refresh serves it.
        assert not isinstance(asked, Ask) and asked.settled and "retrain done: promoted" in asked.reason
        (closed,) = ledger_attempts(ready)
        assert (closed.status, closed.promotion_id) == (DONE, champion(ready).id)
        assert "after its promotion" in closed.details["warning"]
        caching.refresh(ready.platform, target, ready.now)
        served = caching.committed_generation(ready.platform, target.key)
        assert served is not None and served.id != generation.id
    else:
        assert isinstance(asked, Ask) and asked.number == 2
        second = run(ready, target, verdict, asked.number)
        assert (second.status, second.outcome) == (DONE, "promoted"), second.outcome
        assert champion(ready).id == second.promotion_id
