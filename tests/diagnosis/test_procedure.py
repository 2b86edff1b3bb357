import json
from dataclasses import replace

import pytest

from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.steps import STEPS
from ml_platform.diagnosis.verdict import Diagnosis, Verdict
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.statistics.finding import Findings

from . import cases
from .cases import CASES, Case

VERDICTS = "none wait_for_labels fix_data fix_serving block_training recalibrate rollback retrain escalate"


def diagnosed(evidence: Evidence) -> Diagnosis:
    return diagnose(evidence, DiagnosisConfig(), RetrainingConfig())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_evidence_leads_to_its_verdict(case: Case) -> None:
    verdict = diagnosed(case.evidence).verdict
    assert (verdict.name, verdict.cause) == (case.verdict, case.cause), verdict.sentence
    for name, value in case.more.items():
        assert getattr(verdict, name) == value


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_diagnosis_goes_to_json_and_back(case: Case) -> None:
    diagnosis = diagnosed(case.evidence)
    assert Diagnosis.from_json(json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))) == diagnosis
    assert Verdict.from_json(json.loads(json.dumps(diagnosis.verdict.to_json()))) == diagnosis.verdict


def test_the_table_covers_every_verdict() -> None:
    assert {c.verdict for c in CASES} == set(VERDICTS.split())


def test_all_eleven_steps_are_shown_after_one_that_terminates() -> None:
    diagnosis = diagnosed(cases.evidence(cases.UNIT, cases.CONTRAST))
    assert [s.name for s in diagnosis.steps] == [s.name for s in STEPS]
    assert [c.name for c in diagnosis.causes] == ["data:units", "concept"]


def test_the_same_evidence_of_several_subjects_is_told_once_and_names_them() -> None:
    told = "13 of 153 rows differ"
    both = [
        ("skew", replace(cases.finding("mismatch", n, estimate=0.1), detail=told)) for n in ("temp", "wind")
    ]
    (cause,) = diagnosed(cases.evidence(*both, cases.SKEW)).causes
    assert cause.evidence == ("mismatch of temp", f"temp, wind: {told}")


def test_a_skew_names_the_setting_that_looks_like_one() -> None:
    assert "look further back than `history_partitions`" in diagnosed(cases.evidence(cases.SKEW)).next


def test_a_wait_promises_no_decision_and_says_which_labels_may_never_come() -> None:
    young = diagnosed(cases.evidence(cases.YOUNG))
    assert young.next == "It is judged again in 7 partition(s), with the labels that have come by then."
    late = cases.finding("maturity", partitions=("2013-06-01",), facts={"overdue": 1, "immature": 2})
    overdue = diagnosed(cases.evidence(("maturity", late)))
    assert (overdue.verdict.name, overdue.verdict.cause) == ("wait_for_labels", "immature_labels")
    assert "Labels of 1 partition(s) are overdue (2013-06-01)" in overdue.verdict.sentence
    assert "Overdue ones may never come: look at their feed" in overdue.next


def test_no_evidence_that_is_missing_ever_permits_a_retrain() -> None:
    for case in CASES:
        for step in STEPS[:5]:
            found = {**case.evidence.findings, step.name: Findings.unknown(step.name, "lost")}
            assert diagnosed(replace(case.evidence, findings=found)).verdict.name != "retrain"


def test_infinite_numbers_become_missing_ones() -> None:
    seen = cases.evidence(cases.weak(float("inf"), facts={"lag1": float("nan"), "days": (1, 2)}))
    diagnosis = diagnosed(seen)
    assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis


def test_what_could_not_be_seen_is_said() -> None:
    diagnosis = diagnosed(cases.evidence(cases.weak(0.08), unknown=("skew",)))
    text = " ".join(diagnosis.unseen)
    assert "skew: was not measured" in text
    assert "0.08" in text
