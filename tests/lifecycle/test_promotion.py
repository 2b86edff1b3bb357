"""Promotion fails closed; a rollback restores model and cache in one step."""

from datetime import timedelta

import pytest
from library import MODEL, NEXT_WEEK, Library, killed, open_library, second, spoil
from sqlalchemy import update

from ml_platform.errors import (
    ConflictError,
    GateError,
    IntegrityError,
    NoChampionError,
    NotFoundError,
    NotReadyError,
    StoreError,
)
from ml_platform.lifecycle import caching, doctor, promotion
from ml_platform.lifecycle.evaluation import evaluate_candidate
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.reading import client
from ml_platform.registry import promotions
from ml_platform.storage.lake import digest_of
from ml_platform.storage.tables import Evaluation, Promotion

CLOSED = "redis://127.0.0.1:9/0"


def champion(library: Library) -> Promotion | None:
    return promotions.champion(library.platform.ledger, MODEL)


def by_approval(library: Library) -> Target:
    return library.model(training={"seed": 8}, promotion={"policy": "approval"})


def latest(library: Library) -> Evaluation:
    found = promotions.latest_evaluation(library.platform.ledger, MODEL)
    assert found is not None
    return found


def revise(library: Library, **values: object) -> None:
    """Change the last evaluation behind the platform's back."""
    with library.platform.ledger.begin() as session:
        session.execute(update(Evaluation).where(Evaluation.id == latest(library).id).values(**values))


def served_by(library: Library, week: str) -> int:
    table = client(library.platform).generation(MODEL).by_partition
    assert week in table
    key = library.platform.cache.neighbours(table[week].segment_id, f"{week}/", 1)[0]
    return client(library.platform).get(MODEL, key).record.model_version


# --- gates and policy ------------------------------------------------------------------------------


def test_without_an_evaluation_nothing_is_promoted(fresh: Library) -> None:
    with pytest.raises(NotReadyError, match="without an evaluation nothing is promoted"):
        fresh.promote()


def test_a_failed_gate_leaves_the_champion_in_force(challenged: Library) -> None:
    before, strict = champion(challenged), challenged.model(gates={"champion_margin": -1.0})
    evaluate_candidate(challenged.platform, strict, challenged.now)
    report = challenged.promote(strict)
    assert report.outcome == "refused" and "champion FAIL" in report.sentence()
    assert before is not None and report.champion is not None and report.champion.id == before.id
    assert champion(challenged).id == before.id  # type: ignore[union-attr]
    assert promotions.refused(challenged.platform.ledger, MODEL)[0].id == report.evaluation.id


def test_a_failed_gate_of_the_first_candidate_leaves_no_champion(trained: Library) -> None:
    strict = trained.model(gates={"minimum_auc": 0.99})
    evaluate_candidate(trained.platform, strict, trained.now)
    assert trained.promote(strict).outcome == "refused" and champion(trained) is None


def test_unknown_never_promotes(challenged: Library) -> None:
    before = champion(challenged)
    assert before is not None
    spoil(challenged, before.model_digest)
    evaluate_candidate(challenged.platform, second(challenged), challenged.now)
    report = challenged.promote()
    assert report.outcome == "refused" and "champion UNKNOWN" in report.sentence()
    assert champion(challenged).id == before.id  # type: ignore[union-attr]


def test_the_champion_itself_is_recognised(succeeded: Library) -> None:
    report = succeeded.promote()
    assert report.outcome == "in_force" and report.candidate_serves
    assert len(promotions.history(succeeded.platform.ledger, MODEL)) == 2


def test_a_person_approves_and_who_and_why_are_kept(challenged: Library, unchecked: None) -> None:
    target = by_approval(challenged)
    assert challenged.promote(target).outcome == "waiting" and champion(challenged).version == 1  # type: ignore[union-attr]
    promoted = promotion.approve_waiting(challenged.platform, target, "ada", "looks right")
    assert (promoted.version, promoted.who, promoted.why) == (2, "ada", "looks right")
    told = promotions.stories(challenged.platform.ledger, MODEL)[0]
    assert told.in_force and told.approval is not None and told.approval.who == "ada"
    assert challenged.platform.tracking.champion_digest(MODEL) == promoted.model_digest
    with pytest.raises(NotReadyError, match="no candidate waits"):
        promotion.approve_waiting(challenged.platform, target, "ada", "again")


def test_a_person_rejects_and_nobody_approves_after_that(challenged: Library) -> None:
    target = by_approval(challenged)
    promotion.reject_waiting(challenged.platform, target, "grace", "too soon")
    assert challenged.promote(target).outcome == "rejected" and champion(challenged).version == 1  # type: ignore[union-attr]
    with pytest.raises(ConflictError, match="rejected by grace"):
        promotion.approve_waiting(challenged.platform, target, "ada", "")


def test_a_person_cannot_approve_past_a_failed_gate(challenged: Library) -> None:
    target = challenged.model(gates={"champion_margin": -1.0}, promotion={"policy": "approval"})
    evaluate_candidate(challenged.platform, target, challenged.now)
    with pytest.raises(GateError, match="did not pass"):
        promotion.approve_waiting(challenged.platform, target, "ada", "I insist")
    assert champion(challenged).version == 1  # type: ignore[union-attr]


# --- bundles ---------------------------------------------------------------------------------------


def test_a_spoilt_bundle_is_not_promoted(challenged: Library) -> None:
    spoil(challenged, latest(challenged).model_digest)
    with pytest.raises(IntegrityError, match="other bytes"):
        challenged.promote()
    assert champion(challenged).version == 1  # type: ignore[union-attr]


def test_a_bundle_that_scores_otherwise_than_it_was_judged_is_not_promoted(challenged: Library) -> None:
    first = champion(challenged)
    assert first is not None and first.evaluation_id is not None
    other = promotions.evaluation(challenged.platform.ledger, first.evaluation_id)
    revise(challenged, dataset_version=other.dataset_version, evidence_digest=other.evidence_digest)
    revise(challenged, model_digest=_candidate_of(challenged))
    with pytest.raises(IntegrityError, match="scores otherwise"):
        challenged.promote()
    assert champion(challenged).version == 1  # type: ignore[union-attr]


def _candidate_of(library: Library) -> str:
    """The boosted model, whose baseline was judged in its place."""
    from ml_platform.lifecycle import pointers

    head = pointers.current(library.platform, library.target, "candidate_model")
    assert head is not None and head.digest != latest(library).model_digest
    return head.digest


def test_a_foreign_bundle_is_not_promoted(challenged: Library) -> None:
    foreign = challenged.platform.lake.put(b"trained elsewhere")
    assert foreign == digest_of(b"trained elsewhere")
    revise(challenged, model_digest=foreign)
    with pytest.raises(NotFoundError, match="knows no model"):
        challenged.promote()
    assert champion(challenged).version == 1  # type: ignore[union-attr]


# --- MLflow and crashes ----------------------------------------------------------------------------


def test_a_promotion_stands_while_mlflow_is_down_and_the_doctor_catches_up(
    challenged: Library, unchecked: None
) -> None:
    home = challenged.platform.home
    (home / "a file").touch()
    run = open_library(home, ML_PLATFORM_MLFLOW_URI=f"sqlite:///{home / 'a file' / 'mlflow.db'}")
    report = run.promote()
    assert report.outcome == "promoted" and "MLflow does not show it yet" in report.warning
    assert report.champion is not None and champion(challenged).version == 2  # type: ignore[union-attr]
    assert challenged.platform.tracking.champion_digest(MODEL) != report.champion.model_digest
    findings = [f for f in doctor.examine(challenged.platform) if "MLflow" in f.what and MODEL in f.what]
    assert [f.state for f in findings] == ["repaired"]
    assert challenged.platform.tracking.champion_digest(MODEL) == report.champion.model_digest


def test_a_kill_before_the_promotion_is_published_leaves_the_last_champion(challenged: Library) -> None:
    def promote(library: Library) -> None:
        promotions.promote(library.platform.ledger, latest(library), as_of=library.now, who="x", why="y")

    killed(challenged.platform.home, (promotions, "_commit"), promote)
    assert champion(challenged).version == 1  # type: ignore[union-attr]
    findings = doctor.examine(challenged.platform)
    assert any(f.state == "repaired" and "1 unfinished" in f.what for f in findings)
    assert doctor.examine(challenged.platform)[0].state == "ok"
    promote(challenged)
    assert champion(challenged).action == "promotion"  # type: ignore[union-attr]


# --- rollback --------------------------------------------------------------------------------------


def test_a_rollback_restores_model_and_cache_together(succeeded: Library) -> None:
    before = caching.committed_generation(succeeded.platform, MODEL)
    assert before is not None and served_by(succeeded, NEXT_WEEK) == 2
    report = promotion.roll_back(succeeded.platform, succeeded.target, "ada", "complaints")
    now, generation = champion(succeeded), caching.committed_generation(succeeded.platform, MODEL)
    assert now is not None and (now.action, now.version) == ("rollback", 1)
    assert (now.who, now.why) == ("ada", "complaints")
    assert generation is not None and generation.promotion_id == now.id
    assert generation.model_digest == now.model_digest != before.model_digest
    assert report.rescored == [NEXT_WEEK] and served_by(succeeded, NEXT_WEEK) == 1
    assert succeeded.platform.cache.current(MODEL) == generation.id
    assert succeeded.platform.tracking.champion_digest(MODEL) == now.model_digest
    assert served_by(succeeded, "2020-09-07") == 1, "past weeks keep what was served"
    assert "version 1" in report.sentence()
    with pytest.raises(NoChampionError, match="no champion before"):
        promotion.roll_back(succeeded.platform, succeeded.target, "ada", "once more")
    assert champion(succeeded).id == now.id  # type: ignore[union-attr]


def test_what_is_served_goes_back_too_when_its_partition_has_begun(succeeded: Library) -> None:
    """A prediction that is made at the end of its partition is asked for after it."""
    scheme, clock = succeeded.use_case.scheme, succeeded.platform.clock(succeeded.use_case)
    clock.set(scheme.partition(NEXT_WEEK).start + timedelta(days=2))
    report = promotion.roll_back(succeeded.platform, succeeded.target, "ada", "complaints")
    assert report.rescored == [NEXT_WEEK] and served_by(succeeded, NEXT_WEEK) == 1
    assert served_by(succeeded, "2020-09-07") == 1, "past weeks keep what was served"


def test_a_rollback_while_the_cache_is_down_changes_nothing(succeeded: Library) -> None:
    before = caching.committed_generation(succeeded.platform, MODEL)
    run = open_library(succeeded.platform.home, ML_PLATFORM_CACHE=CLOSED)
    with pytest.raises(StoreError):
        promotion.roll_back(run.platform, run.target, "ada", "")
    after = caching.committed_generation(succeeded.platform, MODEL)
    assert before is not None and after is not None and before.id == after.id
    assert champion(succeeded).version == 2 and served_by(succeeded, NEXT_WEEK) == 2  # type: ignore[union-attr]


def test_a_kill_in_a_rollback_leaves_model_and_cache_as_they_were(
    succeeded: Library, unchecked: None
) -> None:
    def roll_back(library: Library) -> None:
        promotion.roll_back(library.platform, library.target, "ada", "")

    before = caching.committed_generation(succeeded.platform, MODEL)
    killed(succeeded.platform.home, (promotions, "_commit"), roll_back)
    after = caching.committed_generation(succeeded.platform, MODEL)
    assert before is not None and after is not None and after.id == before.id
    assert champion(succeeded).version == 2 and served_by(succeeded, NEXT_WEEK) == 2  # type: ignore[union-attr]
    findings = doctor.examine(succeeded.platform)
    assert any(f.state == "repaired" and "2 unfinished" in f.what for f in findings)
