"""Who serves is a line of entries in the ledger; nothing is ever updated."""

import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier

import pytest
from sqlalchemy.orm import Session

from ml_platform.errors import ConflictError, GateError, NoChampionError, NotFoundError
from ml_platform.registry import promotions
from ml_platform.storage.ledger import Ledger, wall_now
from ml_platform.storage.tables import Evaluation, Model, Promotion

KEY = "parcels/late"
START = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.engine.dispose()


def judged(
    ledger: Ledger, name: str, against: str | None = None, *, passed: bool = True, owner: str = KEY
) -> Evaluation:
    model = Model(
        digest=name * 64,
        model_key=owner,
        dataset_version="d1",
        estimator="logistic",
        metrics={},
        scores_digest=None,
        mlflow_run_id=None,
        as_of=START,
        recorded_at=wall_now(),
    )
    promotions.record_model(ledger, model)
    gates = [{"name": "auc", "state": "PASS" if passed else "FAIL"}]
    row = Evaluation(
        model_key=KEY,
        model_digest=name * 64,
        against_digest=against and against * 64,
        dataset_version="d1",
        passed=passed,
        gates=gates,
        evidence_digest="e" * 64,
        as_of=START,
        recorded_at=wall_now(),
    )
    promotions.record_evaluation(ledger, row)
    return row


def promote(ledger: Ledger, evaluation: Evaluation, day: int = 0) -> Promotion:
    return promotions.promote(ledger, evaluation, as_of=START + timedelta(days=day), who="ada", why="better")


def line(ledger: Ledger, *names: str) -> list[Promotion]:
    """Promote models one after the other, a day apart."""
    before: str | None = None
    done = []
    for day, name in enumerate(names):
        done.append(promote(ledger, judged(ledger, name, before), day))
        before = name
    return done


def roll_back(ledger: Ledger, day: int) -> Promotion:
    return promotions.roll_back(ledger, KEY, as_of=START + timedelta(days=day), who="grace", why="worse")


def in_force(ledger: Ledger) -> str:
    return promotions.require_champion(ledger, KEY).model_digest[0]


def test_the_first_champion_and_those_after_it_are_numbered(ledger: Ledger) -> None:
    done = line(ledger, "a", "b")
    assert [(p.action, p.version, p.previous_id) for p in done] == [
        ("first", 1, None),
        ("promotion", 2, done[0].id),
    ]
    assert in_force(ledger) == "b" and [p.version for p in promotions.history(ledger, KEY)] == [2, 1]


def test_the_champion_of_an_instant_is_the_one_that_served_then(ledger: Ledger) -> None:
    line(ledger, "a", "b")
    assert promotions.champion(ledger, KEY, START - timedelta(seconds=1)) is None
    assert promotions.champion(ledger, KEY, START + timedelta(hours=1)).version == 1  # type: ignore[union-attr]
    assert promotions.champion(ledger, KEY, START + timedelta(days=1)).version == 2  # type: ignore[union-attr]
    with pytest.raises(NoChampionError, match="as of 2024-02-01"):
        promotions.require_champion(ledger, KEY, datetime(2024, 2, 1, tzinfo=UTC))


def test_a_candidate_that_failed_is_refused_and_remembered(ledger: Ledger) -> None:
    line(ledger, "a")
    failed = judged(ledger, "b", "a", passed=False)
    with pytest.raises(GateError, match="does not pass: auc"):
        promote(ledger, failed)
    assert in_force(ledger) == "a" and [e.id for e in promotions.refused(ledger, KEY)] == [failed.id]


def test_a_candidate_judged_against_another_champion_is_refused(ledger: Ledger) -> None:
    stale = judged(ledger, "c", "a")
    with pytest.raises(GateError, match="another champion"):
        promote(ledger, stale)
    line(ledger, "a", "b")
    with pytest.raises(GateError, match="another champion"):
        promote(ledger, stale, 3)
    assert in_force(ledger) == "b"


def test_a_foreign_model_is_refused(ledger: Ledger) -> None:
    unknown = judged(ledger, "a")
    with ledger.begin() as session:
        session.delete(session.get(Model, "a" * 64))
    with pytest.raises(NotFoundError, match="knows no model aaaaaaaaaaaa"):
        promote(ledger, unknown)
    with pytest.raises(NotFoundError, match="trained for other/model"):
        promote(ledger, judged(ledger, "b", owner="other/model"))
    assert promotions.champion(ledger, KEY) is None


def test_a_promotion_overtaken_by_another_is_given_up(ledger: Ledger) -> None:
    line(ledger, "a")
    slow, quick = judged(ledger, "b", "a"), judged(ledger, "c", "a")
    with pytest.raises(ConflictError, match="came first"):
        promotions.promote(
            ledger, slow, as_of=START, who="x", why="y", verify=lambda: promote(ledger, quick, 1) and None
        )
    assert in_force(ledger) == "c" and len(promotions.history(ledger, KEY)) == 2


def _promoted(url: str, evaluation_id: int, gate: "Barrier", results: "multiprocessing.Queue[str]") -> None:
    ledger = Ledger(url)
    row = promotions.evaluation(ledger, evaluation_id)
    try:
        promotions.promote(
            ledger, row, as_of=START, who="ada", why="better", verify=lambda: gate.wait(60) and None
        )
        results.put("promoted")
    except ConflictError:
        results.put("refused")


def test_of_two_processes_that_promote_at_once_one_is_refused(ledger: Ledger) -> None:
    rows = [judged(ledger, name) for name in "ab"]
    # Children that inherit no connection, and no need to import all modules again.
    ledger.engine.dispose()
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_promoted, args=(ledger.url, r.id, gate, results)) for r in rows]
    for worker in workers:
        worker.start()
    assert sorted(results.get(timeout=120) for _ in workers) == ["promoted", "refused"]
    for worker in workers:
        worker.join(60)
    assert len([p for p in promotions.history(ledger, KEY) if p.status == "committed"]) == 1


def test_a_check_that_fails_stops_the_promotion(ledger: Ledger) -> None:
    def fail() -> None:
        raise GateError("it scores otherwise")

    line(ledger, "a")
    with pytest.raises(GateError, match="otherwise"):
        promotions.promote(ledger, judged(ledger, "b", "a"), as_of=START, who="x", why="y", verify=fail)
    assert in_force(ledger) == "a"


def test_going_back_twice_goes_further_back_and_not_forth(ledger: Ledger) -> None:
    line(ledger, "a", "b", "c")
    once, twice = roll_back(ledger, 4), roll_back(ledger, 5)
    assert [(once.action, once.version), (twice.action, twice.version)] == [("rollback", 2), ("rollback", 1)]
    assert in_force(ledger) == "a" and len(promotions.history(ledger, KEY)) == 5
    with pytest.raises(NoChampionError, match="no champion before"):
        roll_back(ledger, 6)
    assert in_force(ledger) == "a"


def test_a_rollback_may_name_an_earlier_version(ledger: Ledger) -> None:
    line(ledger, "a", "b", "c")
    for version in (3, 4):
        with pytest.raises(NoChampionError, match=f"no champion of version {version} before"):
            promotions.roll_back(ledger, KEY, as_of=START, who="ada", why="season", version=version)
    when = START + timedelta(days=4)
    back = promotions.roll_back(ledger, KEY, as_of=when, who="ada", why="season", version=1)
    assert (back.action, back.version, in_force(ledger)) == ("rollback", 1, "a")


def test_after_a_rollback_a_new_champion_gets_a_new_version(ledger: Ledger) -> None:
    line(ledger, "a", "b")
    roll_back(ledger, 2)
    third = promote(ledger, judged(ledger, "c", "a"), 3)
    assert (third.version, in_force(ledger)) == (3, "c")


def test_what_was_rolled_back_is_not_gone_back_to(ledger: Ledger) -> None:
    line(ledger, "a", "b", "c")
    assert roll_back(ledger, 3).version == 2
    assert promote(ledger, judged(ledger, "d", "b"), 4).version == 4
    assert roll_back(ledger, 5).version == 2, "version 3 had been rolled back"
    when = START + timedelta(days=6)
    assert promote(ledger, judged(ledger, "e", "b"), 6).version == 5
    named = promotions.roll_back(ledger, KEY, as_of=when, who="ada", why="it was right", version=3)
    assert named.version == 3, "a person may name it"
    assert roll_back(ledger, 7).version == 5
    assert roll_back(ledger, 8).version == 2
    assert roll_back(ledger, 9).version == 1


def test_a_rollback_is_one_transaction_with_what_comes_with_it(ledger: Ledger) -> None:
    line(ledger, "a", "b")

    def fail(_session: Session, promotion: Promotion) -> None:
        assert promotion.version == 1
        raise ConflictError("the cache has moved on")

    with pytest.raises(ConflictError):
        promotions.roll_back(ledger, KEY, as_of=START + timedelta(days=2), who="x", why="y", together=fail)
    assert in_force(ledger) == "b" and len(promotions.history(ledger, KEY)) == 2


def test_a_word_is_given_once_and_never_past_a_gate(ledger: Ledger) -> None:
    good, bad = judged(ledger, "a"), judged(ledger, "b", passed=False)
    with pytest.raises(GateError, match="did not pass"):
        promotions.decide(ledger, bad, "approved", "ada", "I insist")
    promotions.decide(ledger, good, "approved", "ada", "fine")
    with pytest.raises(ConflictError, match="approved by ada"):
        promotions.decide(ledger, good, "rejected", "grace", "no")
    word = promotions.approval_of(ledger, good.id)
    assert word is not None and (word.decision, word.who, word.why) == ("approved", "ada", "fine")
    assert promotions.approval_of(ledger, bad.id) is None


def test_the_story_tells_evaluation_and_approval_newest_first(ledger: Ledger) -> None:
    good = judged(ledger, "a")
    promotions.decide(ledger, good, "approved", "ada", "fine")
    promote(ledger, good)
    promote(ledger, judged(ledger, "b", "a"), 1)
    newest, oldest = promotions.stories(ledger, KEY)
    assert newest.in_force and not oldest.in_force and newest.approval is None
    assert oldest.evaluation is not None and oldest.evaluation.id == good.id
    assert oldest.approval is not None and oldest.approval.who == "ada"


def test_what_is_asked_for_and_not_there_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="no model"):
        promotions.model(ledger, "z" * 64)
    with pytest.raises(NotFoundError, match="no evaluation 9"):
        promotions.evaluation(ledger, 9)
    assert promotions.latest_evaluation(ledger, KEY) is None and promotions.latest_model(ledger, KEY) is None


def test_the_latest_model_is_the_one_recorded_last(ledger: Ledger) -> None:
    judged(ledger, "a")
    judged(ledger, "b")
    latest = promotions.latest_model(ledger, KEY, "d1")
    assert latest is not None and latest.digest[0] == "b"
    assert promotions.latest_model(ledger, KEY, "d2") is None
