"""The sensor that carries verdicts out, tick by tick: what it asks for, once, and what it says otherwise."""

import json
from datetime import timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SensorResult, build_sensor_context
from dagster._core.test_utils import create_run_for_test
from library import NAME

from ml_platform.lifecycle.guard.asked import attempts_on
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.jobs import asset_jobs
from ml_platform.orchestration.retraining import ATTEMPT_TAG, FINGERPRINT_TAG, VERDICT_TAG, retraining_sensor
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Verdict

from .conftest import MODEL, Installation


def give(platform: Platform, verdict: str = "retrain", **facts: Any) -> Verdict:
    """A verdict in the ledger, as of now."""
    target = platform.target(MODEL)
    now = platform.clock(target.use_case).now()
    row = Verdict(
        model_key=MODEL,
        partition=target.use_case.scheme.key_at(now),
        verdict=verdict,
        kind="freshness" if verdict == "retrain" else None,
        cause="",
        sentence="It is due for renewal.",
        fingerprint="f00d",
        incident_id=None,
        diagnosis_digest="0" * 64,
        recheck_at=None,
        as_of=now,
        recorded_at=wall_now(),
    )
    for name, value in facts.items():
        setattr(row, name, value)
    with platform.ledger.begin() as session:
        session.add(row)
    return row


def end(platform: Platform, verdict: Verdict, status: str, outcome: str) -> None:
    """An attempt on a verdict that has ended."""
    with platform.ledger.begin() as session:
        session.add(
            Attempt(
                model_key=MODEL,
                run_key=f"{verdict.id}:{status}",
                action="retrain",
                kind=None,
                verdict_id=verdict.id,
                fingerprint=verdict.fingerprint,
                number=1,
                status=status,
                outcome=outcome,
                who="x",
                why="x",
                override=False,
                guards=[],
                details={},
                seconds=1.0,
                promotion_id=None,
                as_of=verdict.as_of,
                recorded_at=wall_now(),
                finished_at=None,
            )
        )


class Ticks:
    """A sensor on an instance of its own, with the cursor that the daemon would keep."""

    def __init__(self, installation: Installation, instance: DagsterInstance) -> None:
        use_case = installation.use_case
        monitor = next(j for j in asset_jobs(use_case) if j.name == f"{NAME}_monitor")
        self.sensor = retraining_sensor(use_case, monitor)
        self.instance, self.platform, self.cursor = instance, installation.platform, None

    def tick(self) -> tuple[list[RunRequest], str]:
        """Requests and skip reason of one tick."""
        from ml_platform.orchestration.resources import PlatformResource

        made = build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"platform": PlatformResource()}
        )
        with made as context:
            result = self.sensor(context)
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        why = result.skip_reason.skip_message if result.skip_reason else ""
        return list(result.run_requests or []), why or ""

    def record(self, request: RunRequest, status: DagsterRunStatus) -> None:
        """A run that was made of a request, in the run records."""
        create_run_for_test(self.instance, job_name=request.job_name, tags=dict(request.tags), status=status)


@pytest.fixture
def ticks(copied: Installation) -> Ticks:
    return Ticks(copied, copied.instance)


def test_without_an_action_it_says_why(ticks: Ticks) -> None:
    give(ticks.platform, "none", sentence="Nothing is wrong that could be seen.")

    asked, why = ticks.tick()

    assert asked == []
    assert "Nothing is wrong that could be seen." in why


def test_a_verdict_asks_for_one_run_with_its_evidence(ticks: Ticks) -> None:
    verdict = give(ticks.platform)

    (request,), _ = ticks.tick()
    (again,), _ = ticks.tick()

    assert request.job_name == "retrain"
    assert request.run_key == again.run_key, "duplicate ticks ask for one run"
    assert request.tags[VERDICT_TAG] == str(verdict.id)
    assert request.tags[FINGERPRINT_TAG] == "f00d"
    assert request.run_config["ops"]["retrain_champion"]["config"]["verdict_id"] == verdict.id


@pytest.mark.parametrize("verdict", ["recalibrate", "rollback"])
def test_safety_actions_have_jobs_of_their_own(ticks: Ticks, verdict: str) -> None:
    give(ticks.platform, verdict)

    (request,), _ = ticks.tick()

    assert request.job_name == verdict


def test_a_run_under_way_is_left_alone(ticks: Ticks) -> None:
    give(ticks.platform)
    (request,), _ = ticks.tick()
    ticks.record(request, DagsterRunStatus.STARTED)

    asked, why = ticks.tick()

    assert asked == []
    assert "under way" in why


@pytest.mark.parametrize("ended", [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED])
def test_failed_and_cancelled_runs_are_counted_from_run_records(
    ticks: Ticks, ended: DagsterRunStatus
) -> None:
    give(ticks.platform)
    keys = set()
    for number in (1, 2, 3):
        (request,), _ = ticks.tick()
        assert request.tags[ATTEMPT_TAG] == str(number)
        keys.add(request.run_key)
        ticks.record(request, ended)

    asked, why = ticks.tick()

    assert len(keys) == 3, "a run key is spent even when its run fails"
    assert asked == []
    assert "left to a person" in why


def test_the_cursor_moves_after_success_only(ticks: Ticks) -> None:
    verdict = give(ticks.platform)
    ticks.tick()
    assert json.loads(ticks.cursor or "{}") == {}
    end(ticks.platform, verdict, "done", "promoted")

    asked, why = ticks.tick()

    assert asked == []
    assert "promoted" in why
    assert json.loads(ticks.cursor or "{}") == {MODEL: verdict.id}
    assert "settled before" in ticks.tick()[1]


def test_a_restarted_daemon_asks_for_no_second_training(ticks: Ticks) -> None:
    verdict = give(ticks.platform)
    end(ticks.platform, verdict, "done", "rejected")
    ticks.cursor = None  # the cursor is lost with the daemon's storage

    assert ticks.tick()[0] == []


def test_a_refusal_is_told(ticks: Ticks) -> None:
    verdict = give(ticks.platform)
    end(ticks.platform, verdict, "refused", "no retrain: 3 of 3 retrainings used")

    asked, why = ticks.tick()

    assert asked == []
    assert "3 of 3 retrainings used" in why


def test_an_attempt_whose_run_died_is_closed(ticks: Ticks) -> None:
    verdict = give(ticks.platform)
    (request,), _ = ticks.tick()
    end(ticks.platform, verdict, "running", "")
    ticks.record(request, DagsterRunStatus.FAILURE)

    (second,), _ = ticks.tick()

    assert second.tags[ATTEMPT_TAG] == "2"
    assert [a.status for a in attempts_on(ticks.platform, verdict)] == ["failed"]


def test_a_dead_attempt_on_an_older_verdict_is_closed_too(ticks: Ticks) -> None:
    older = give(ticks.platform)
    (request,), _ = ticks.tick()
    end(ticks.platform, older, "running", "")
    ticks.record(request, DagsterRunStatus.CANCELED)
    give(ticks.platform, "none")

    ticks.tick()

    assert [a.status for a in attempts_on(ticks.platform, older)] == ["failed"]


def test_an_attempt_that_a_person_makes_is_left_alone(ticks: Ticks) -> None:
    verdict = give(ticks.platform)
    end(ticks.platform, verdict, "running", "")

    asked, why = ticks.tick()

    assert asked == []
    assert "by a person" in why
    assert [a.status for a in attempts_on(ticks.platform, verdict)] == ["running"]


def test_a_wait_that_is_over_asks_for_a_new_diagnosis(ticks: Ticks) -> None:
    now = ticks.platform.timeline("library_2020").now()
    give(ticks.platform, "wait_for_labels", recheck_at=now + timedelta(weeks=2))
    assert "judged again at" in ticks.tick()[1]
    ticks.platform.timeline("library_2020").advance(timedelta(weeks=2))

    (request,), _ = ticks.tick()

    assert request.job_name == f"{NAME}_monitor"
    assert request.partition_key
