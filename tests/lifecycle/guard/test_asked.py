"""The sensor's question, tick by tick, from ledger and run records alone."""

from datetime import timedelta
from typing import Any

import pytest
from guarded import give, ledger_attempts
from library import Library

from ml_platform.lifecycle.guard import asked
from ml_platform.lifecycle.guard.asked import Ask, RunState, Silence, next_ask
from ml_platform.lifecycle.guard.retraining import claim, finish
from ml_platform.lifecycle.platform import Target
from ml_platform.storage.tables import Attempt, Verdict

Runs = dict[str, RunState]


class Ticks:
    """One sensor: each tick looks at the ledger and at the states of runs."""

    def __init__(self, library: Library, target: Target) -> None:
        self.library, self.target, self.runs, self.settled = library, target, Runs(), 0

    def tick(self, later: timedelta = timedelta(0)) -> Ask | Silence:
        now = self.library.now + later
        return next_ask(self.library.platform, self.target, self.runs, now, self.settled)

    def asks(self, later: timedelta = timedelta(0)) -> Ask:
        found = self.tick(later)
        assert isinstance(found, Ask), found
        return found

    def silent(self, later: timedelta = timedelta(0)) -> Silence:
        found = self.tick(later)
        assert isinstance(found, Silence), found
        return found

    def claim(self, verdict: Verdict, number: int = 1) -> Attempt:
        return claim(self.library.platform, self.target, verdict, number, self.library.now)

    def finish(self, attempt: Attempt, status: str, outcome: str) -> None:
        finish(self.library.platform, attempt, status, outcome)


@pytest.fixture
def ticks(fresh: Library, target: Target) -> Ticks:
    return Ticks(fresh, target)


def given(ticks: Ticks, *arguments: Any, **more: Any) -> Verdict:
    return give(ticks.library, ticks.target, *arguments, **more)


def test_without_a_verdict_there_is_silence(ticks: Ticks) -> None:
    found = ticks.silent()
    assert "no verdict has been given yet" in found.reason and not found.settled


def test_a_verdict_that_asks_for_nothing_is_settled_and_says_its_sentence(ticks: Ticks) -> None:
    verdict = given(ticks, "none", cause="")
    found = ticks.silent()
    assert found.settled and verdict.sentence in found.reason and ": none: " in found.reason


@pytest.mark.parametrize("action", asked.ACTIONS)
def test_an_action_is_asked_for_with_its_run_key(ticks: Ticks, action: Any) -> None:
    verdict = given(ticks, action, cause="a_cause")
    found = ticks.asks()
    assert (found.action, found.verdict_id, found.number) == (action, verdict.id, 1)
    assert (found.partition, found.model_key) == (verdict.partition, ticks.target.key)
    mature = ticks.library.use_case.last_mature(ticks.target.model, ticks.library.now)
    assert found.run_key == f"{ticks.target.key}:{action}:{verdict.fingerprint}:{mature}:1"


def test_duplicate_ticks_and_two_sensors_ask_for_the_same_run(ticks: Ticks) -> None:
    given(ticks)
    other = Ticks(ticks.library, ticks.target)
    assert ticks.asks() == ticks.asks() == other.asks()
    assert ledger_attempts(ticks.library) == [], "a tick claims nothing"


def test_the_same_verdict_given_twice_asks_for_the_same_run(ticks: Ticks) -> None:
    given(ticks)
    first = ticks.asks()
    given(ticks, note=" Said again.")
    assert ticks.asks().run_key == first.run_key


def test_other_data_or_another_incident_is_another_run(ticks: Ticks) -> None:
    given(ticks)
    first = ticks.asks()
    given(ticks, as_of=ticks.library.now + timedelta(weeks=1))
    second = ticks.asks()
    given(ticks, "retrain", "incident", "concept", as_of=ticks.library.now + timedelta(weeks=1))
    assert len({first.run_key, second.run_key, ticks.asks().run_key}) == 3


def test_a_run_under_way_keeps_the_sensor_silent(ticks: Ticks) -> None:
    attempt = ticks.claim(given(ticks))
    ticks.runs["abc"] = "under way"
    found = ticks.silent()
    assert "is under way (abc)" in found.reason and not found.settled
    assert ledger_attempts(ticks.library)[0].status == attempt.status == asked.RUNNING


def test_a_failed_run_is_followed_by_a_second_attempt_with_another_key(ticks: Ticks) -> None:
    verdict = given(ticks)
    first = ticks.asks()
    ticks.finish(ticks.claim(verdict), asked.FAILED, "out of memory")
    ticks.runs["abc"] = "failed"
    second = ticks.asks()
    assert second.number == 2 and second.run_key != first.run_key
    assert second.run_key == first.run_key[:-1] + "2"


def test_a_run_that_failed_before_it_claimed_counts_too(ticks: Ticks) -> None:
    given(ticks)
    ticks.runs["abc"] = "failed"
    assert ticks.asks().number == 2 and ledger_attempts(ticks.library) == []


def test_an_attempt_whose_run_ended_without_a_word_is_closed_as_failed(ticks: Ticks) -> None:
    ticks.claim(given(ticks))
    ticks.runs["abc"] = "failed"
    assert ticks.asks().number == 2
    (known,) = ledger_attempts(ticks.library)
    assert (known.status, known.outcome) == (asked.FAILED, "its run ended without saying how")
    assert known.finished_at is not None
    assert ticks.asks().number == 2, "a closed attempt is not counted again"


def test_after_three_failures_it_is_left_to_a_person(ticks: Ticks) -> None:
    given(ticks)
    for number in (1, 2, 3):
        assert ticks.asks().number == number
        ticks.runs[f"run {number}"] = "failed"
    found = ticks.silent()
    assert "failed 3 times and is left to a person" in found.reason and not found.settled


def test_a_refused_attempt_settles_the_verdict(ticks: Ticks) -> None:
    ticks.finish(ticks.claim(given(ticks), 0), asked.REFUSED, "no retrain: too soon")
    found = ticks.silent()
    assert found.settled and "refused: no retrain: too soon" in found.reason


def test_a_done_attempt_settles_the_verdict_even_if_its_run_failed_after_it(ticks: Ticks) -> None:
    ticks.finish(ticks.claim(given(ticks)), asked.DONE, "promoted")
    ticks.runs["abc"] = "failed"
    found = ticks.silent()
    assert found.settled and "retrain done: promoted" in found.reason


def test_the_cursor_is_respected_until_there_is_a_newer_verdict(ticks: Ticks) -> None:
    verdict = given(ticks)
    ticks.settled = verdict.id
    found = ticks.silent()
    assert found.settled and "settled before" in found.reason
    given(ticks, as_of=ticks.library.now + timedelta(weeks=1))
    assert ticks.asks().number == 1


def test_only_the_newest_verdict_is_carried_out(ticks: Ticks) -> None:
    given(ticks)
    given(ticks, "none", cause="")
    assert ticks.silent().settled


def test_another_models_verdict_is_none_of_its_business(ticks: Ticks) -> None:
    given(ticks)
    other = Target(ticks.target.use_case, ticks.target.model.model_copy(update={"name": "another"}))
    assert "no verdict" in Ticks(ticks.library, other).silent().reason


# --- waiting ----------------------------------------------------------------------------------------


def waits(ticks: Ticks) -> Verdict:
    later = ticks.library.now + timedelta(weeks=2)
    return given(ticks, "wait_for_labels", cause="immature_labels", recheck_at=later)


def test_a_wait_says_when_it_is_judged_again_and_is_not_settled(ticks: Ticks) -> None:
    verdict = waits(ticks)
    found = ticks.silent(timedelta(weeks=2, seconds=-1))
    assert verdict.recheck_at is not None and verdict.recheck_at.isoformat() in found.reason
    assert not found.settled


def test_when_the_wait_is_over_a_recheck_is_asked_for_once(ticks: Ticks) -> None:
    verdict, over = waits(ticks), timedelta(weeks=2)
    found = ticks.asks(over)
    assert (found.action, found.verdict_id, found.number) == ("recheck", verdict.id, 1)
    assert found == ticks.asks(over)
    ticks.runs["abc"] = "under way"
    assert "being judged again" in ticks.silent(over).reason
    ticks.runs["abc"] = "succeeded"
    assert not ticks.silent(over).settled


def test_a_recheck_that_fails_is_asked_for_three_times(ticks: Ticks) -> None:
    waits(ticks)
    keys = set()
    for number in (1, 2, 3):
        keys.add(ticks.asks(timedelta(weeks=3)).run_key)
        ticks.runs[f"run {number}"] = "failed"
    assert len(keys) == 3
    assert "failed 3 times" in ticks.silent(timedelta(weeks=3)).reason


def test_a_wait_without_a_date_is_settled(ticks: Ticks) -> None:
    given(ticks, "wait_for_labels", cause="immature_labels")
    assert ticks.silent(timedelta(weeks=9)).settled
