from dataclasses import replace

from ml_platform.diagnosis.fingerprint import fingerprint
from ml_platform.diagnosis.incident import Incident, apply
from ml_platform.diagnosis.page import html, markdown
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig

from . import cases
from .cases import Evidence, evidence, finding


def diagnosed(seen: Evidence, partition: str = cases.DAY) -> Diagnosis:
    return diagnose(replace(seen, partition=partition), DiagnosisConfig(), RetrainingConfig())


def test_a_fingerprint_does_not_depend_on_the_day_or_the_order() -> None:
    seen = evidence(cases.CONTRAST)
    first, second = diagnosed(seen, "2013-06-09"), diagnosed(seen, "2013-06-20")
    assert first.verdict.fingerprint == second.verdict.fingerprint
    assert fingerprint("m", "model", "concept", ["a", "b"]) == fingerprint(
        "m", "model", "concept", ["b", "a", "a"]
    )
    assert len({fingerprint(m, "model", c, s) for m in "ab" for c in "cd" for s in (["x"], ["y"])}) == 8


def test_an_incident_keeps_its_fingerprint_from_suspicion_to_escalation() -> None:
    current = None
    story = [
        ("2013-06-01", evidence(cases.suspicion(0.033))),
        ("2013-06-05", evidence(("concept", finding("contrast", "branch=B6")), cases.CONTRAST)),
        ("2013-06-06", evidence(cases.YOUNG)),
        ("2013-06-20", evidence(cases.CONTRAST, training=cases.HELD)),
        ("2013-07-10", evidence(cases.CONTRAST)),
    ]
    for partition, seen in story:
        facts = current.facts(partition) if current else None
        diagnosis = diagnosed(replace(seen, open_incident=facts), partition)
        current = apply(current, diagnosis, model_version="7", predictions=100)
        assert current is not None
    assert current.first_partition == "2013-06-01"
    assert [v for _, v in current.verdicts] == ["wait_for_labels", "retrain", "fix_data", "escalate"]
    assert (current.predictions, current.subjects) == (400, ("branch=B6", "branch=UA"))
    assert apply(current, diagnosed(seen, "2013-07-10"), predictions=100).predictions >= 0  # type: ignore[union-attr]
    closed = apply(current, diagnosed(evidence(), "2013-07-11"), closed_by="promotion")
    assert closed is not None
    assert (closed.is_open, closed.closed_by, closed.closed_partition) == (False, "promotion", "2013-07-11")
    assert Incident.from_json(closed.to_json()) == closed


def test_the_same_partition_twice_counts_once_and_calm_opens_nothing() -> None:
    diagnosis = diagnosed(evidence(cases.NULLS))
    once = apply(None, diagnosis, predictions=10)
    assert apply(once, diagnosis, predictions=10) == once
    assert apply(None, diagnosed(evidence())) is None
    assert apply(None, diagnosed(evidence(cases.FEW))) is None
    assert apply(None, diagnosed(evidence(promotion=cases.OLD))) is None


def test_pages_escape_everything_and_load_nothing() -> None:
    evil = "<script>alert('x')</script>|`"
    page = diagnosed(evidence(("contract", replace(finding("null_rate", evil), detail=evil))))
    shown = html(page, {evil: b"\x89PNG"})
    assert "<script" not in shown
    assert "data:image/png;base64,iVBORw==" in shown
    assert "http" not in shown.replace("http-equiv", "")
    text = markdown(page)
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.replace("\\|", "").count("|") for line in table] == [9] * 13 + [8] * 5


def test_a_page_says_all_a_reader_needs() -> None:
    for case in cases.CASES:
        diagnosis = diagnosed(case.evidence)
        shown = html(diagnosis)
        for title in ("Next.", "Causes", "Steps", "What would change its mind", "What could not be seen"):
            assert title in shown
        assert diagnosis.next
