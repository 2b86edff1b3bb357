"""Evaluation: what is judged, kept and shown; what cannot be judged is UNKNOWN."""

import pytest
from library import MODEL, Library, second, spoil

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle.evaluation import SKIPPED, EvaluationReport, evaluate_candidate, every_gate
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table


def judged(library: Library, **gates: float) -> EvaluationReport:
    return evaluate_candidate(library.platform, library.model(gates=gates), library.now)


def states(report: EvaluationReport) -> dict[str, str]:
    return {g["name"]: g["state"] for g in report.gates}


def test_the_first_candidate_meets_the_gates_of_a_first_champion(trained: Library) -> None:
    report = judged(trained)
    assert states(report) == dict.fromkeys(["auc", "base_rate", "bias", "baseline", "slices"], "PASS")
    assert report.passed and 0.7 < report.metrics["auc"] < 0.85 and report.metrics["gate_rows"] == 720
    assert all(g["sentence"].startswith("PASS: ") and g["limit"] is not None for g in report.gates)


def test_a_later_candidate_is_compared_with_the_champion_day_by_day(challenged: Library) -> None:
    report = judged(challenged)
    assert set(states(report)) == {"bias", "baseline", "champion", "slices"}
    evaluation = promotions.evaluation(challenged.platform.ledger, report.id)
    champion = promotions.champion(challenged.platform.ledger, MODEL)
    assert champion is not None and evaluation.against_digest == champion.model_digest


def test_the_same_evaluation_again_is_recognised(trained: Library) -> None:
    last = promotions.latest_evaluation(trained.platform.ledger, MODEL)
    report = judged(trained)
    assert last is not None and report.reused and report.id == last.id
    stricter = judged(trained, minimum_auc=0.99)
    assert not stricter.reused and stricter.id > last.id


def test_the_better_baseline_is_judged_in_place_of_the_candidate(trained: Library) -> None:
    report = judged(trained)
    contender = promotions.model(trained.platform.ledger, report.model_digest)
    assert report.contender == "baseline" and contender.estimator == "logistic"


def test_a_failed_gate_is_shown_with_measured_value_and_limit(trained: Library) -> None:
    report = judged(trained, minimum_auc=0.99)
    (auc,) = [g for g in report.gates if g["name"] == "auc"]
    assert not report.passed and auc["state"] == "FAIL" and auc["limit"] == 0.99
    assert auc["measured"] == pytest.approx(report.metrics["auc"])
    assert "must be >= 0.99 " in auc["sentence"]


def test_a_champion_that_cannot_be_read_makes_its_gate_unknown(challenged: Library) -> None:
    champion = promotions.champion(challenged.platform.ledger, MODEL)
    assert champion is not None
    spoil(challenged, champion.model_digest)
    report = judged(challenged)
    (gate,) = [g for g in report.gates if g["name"] == "champion"]
    assert gate["state"] == "UNKNOWN" and "cannot be read" in gate["sentence"]
    assert not report.passed


def test_the_scores_of_the_gate_are_kept_as_evidence(challenged: Library) -> None:
    report = judged(challenged)
    row = promotions.evaluation(challenged.platform.ledger, report.id)
    evidence = read_table(challenged.platform.lake.get(row.evidence_digest))
    assert evidence.num_rows == 720
    assert {"candidate", "baseline", "champion", "late"} <= set(evidence.column_names)


def test_plots_and_card_are_there_to_be_shown(trained: Library) -> None:
    report = judged(trained)
    assert {"reliability", "roc", "importance", "slices"} == set(report.images)
    assert all(image.startswith(b"\x89PNG") for image in report.images.values())
    assert "Late return" in report.card and "branch_late_rate" in report.card
    assert report.shown()["passed"] is True and len(report.shown()["gates"]) == 5


def test_gates_that_do_not_apply_are_skipped_and_never_pass(trained: Library) -> None:
    report = judged(trained)
    shown = {g["name"]: g for g in every_gate(trained.target, report.gates)}
    assert shown["champion"]["state"] == SKIPPED and "no champion yet" in shown["champion"]["sentence"]
    assert shown["auc"]["state"] == "PASS"


def test_gates_of_a_first_champion_are_skipped_for_a_later_candidate(challenged: Library) -> None:
    shown = {g["name"]: g for g in every_gate(challenged.target, judged(challenged).gates)}
    assert {n for n, g in shown.items() if g["state"] == SKIPPED} == {"auc", "base_rate"}
    assert "compared with the champion" in shown["auc"]["sentence"] and shown["champion"]["limit"] is not None


def test_a_gate_that_was_lost_is_unknown(trained: Library) -> None:
    shown = {g["name"]: g["state"] for g in every_gate(trained.target, [])}
    assert shown["bias"] == shown["slices"] == "UNKNOWN"


def test_without_a_candidate_it_says_what_to_do(fresh: Library) -> None:
    with pytest.raises(NotReadyError, match="materialise candidate_model"):
        evaluate_candidate(fresh.platform, second(fresh), fresh.now)
