"""What a change of the champion was worth, whoever asked for it."""

from library import MODEL, NEXT_WEEK, Library

from ml_platform.lifecycle.guard import effects
from ml_platform.lifecycle.guard.effects import reckon
from ml_platform.lifecycle.promotion import roll_back
from ml_platform.registry import promotions
from ml_platform.storage.tables import Attempt


def test_a_promotion_that_no_verdict_asked_for_is_reckoned_against_the_champion_it_replaced(
    succeeded: Library, unchecked: None
) -> None:
    (pending,) = reckon(succeeded.platform, succeeded.target, succeeded.now).effects
    assert (pending.action, pending.outcome) == ("promotion", "v1 → v2, by policy: automatic")
    assert (pending.state, pending.loss_change) == ("pending", None)

    weeks = succeeded.weeks(NEXT_WEEK, "2020-10-26")
    for week in weeks[1:]:
        succeeded.serve_week(week)
    found = reckon(succeeded.platform, succeeded.target, succeeded.now)

    (known,) = found.effects
    assert (known.state, known.attempt_id) == ("known", None)
    assert 3 <= known.partitions < len(weeks) and known.loss_change is not None
    assert "against the model it replaced" in known.reason
    assert known.worth is None and "per_loss_unit" in known.reason

    roll_back(succeeded.platform, succeeded.target, "ada", "try")
    made = reckon(succeeded.platform, succeeded.target, succeeded.now).effects
    assert [(e.action, e.outcome) for e in made[1:]] == [("rollback", "v2 → v1, by ada")]


def test_a_challenger_that_a_person_promoted_later_is_one_action(
    succeeded: Library,
) -> None:
    promotion = promotions.champion(succeeded.platform.ledger, MODEL)
    assert promotion is not None
    judged = promotions.evaluation(succeeded.platform.ledger, promotion.evaluation_id or 0)
    attempt = Attempt(
        id=7,
        action="retrain",
        status="done",
        outcome="waiting",
        promotion_id=None,
        details={
            "evaluation_id": judged.id,
            "challenger": judged.model_digest,
            "against": judged.against_digest,
        },
        seconds=60.0,
        as_of=promotion.as_of,
    )
    (one,) = effects._actions([attempt], promotions.history(succeeded.platform.ledger, MODEL))
    assert one.outcome == "waiting, then promoted by policy: automatic"
    assert (one.chosen, one.other) == (judged.model_digest, judged.against_digest)
    attempt.details = attempt.details | {"evaluation_id": 0}
    stayed, other = sorted(
        effects._actions([attempt], promotions.history(succeeded.platform.ledger, MODEL)),
        key=lambda a: a.what,
        reverse=True,
    )
    assert (stayed.chosen, stayed.other) == (judged.against_digest, judged.model_digest)
    assert other.attempt is None
