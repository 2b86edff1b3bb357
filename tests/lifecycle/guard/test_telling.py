"""The owner hears of an incident once, and only where a person has something to do."""

from dataclasses import replace
from datetime import timedelta

import pytest
from library import MODEL, Library

from ml_platform.lifecycle.guard.diagnosing import Diagnosed, diagnose_now
from ml_platform.lifecycle.guard.telling import alert_about
from ml_platform.storage.tables import Incident


@pytest.fixture
def found(served: Library) -> Diagnosed:
    return diagnose_now(served.platform, served.target, served.now)


def given(found: Diagnosed, verdict: str, incident: Incident | None = None) -> Diagnosed:
    found.verdict.verdict = verdict
    return replace(found, incident=incident)


def test_the_owner_is_told_what_to_do(served: Library, found: Diagnosed) -> None:
    incident = Incident(id=7, opened_at=found.verdict.as_of)
    alert = alert_about(served.target, given(found, "fix_data", incident), link="http://pages/1")

    assert alert is not None and alert.owner == served.use_case.config.owner
    assert alert.title.startswith(f"{MODEL}: fix_data on ")
    assert found.diagnosis.next in alert.body and "incident show 7" in alert.body
    assert alert.severity == "warning" and "http://pages/1" in alert.text


def test_nobody_is_told_twice_or_for_nothing(served: Library, found: Diagnosed) -> None:
    before = Incident(id=7, opened_at=found.verdict.as_of - timedelta(weeks=1))

    assert alert_about(served.target, given(found, "wait_for_labels")) is None
    assert alert_about(served.target, given(found, "retrain")) is None
    assert alert_about(served.target, given(found, "fix_data", before)) is None
    assert alert_about(served.target, replace(given(found, "fix_data"), new=False)) is None
    assert alert_about(served.target, given(found, "escalate", before)) is not None
