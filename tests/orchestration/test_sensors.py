"""A failed run tells somebody."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    ExecuteInProcessResult,
    build_run_status_sensor_context,
    job,
    op,
)
from dagster_shared.error import SerializableErrorInfo

from ml_platform.config import OwnerConfig
from ml_platform.errors import StoreError
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.causes import words
from ml_platform.orchestration.failures import tell
from ml_platform.orchestration.limits import ENDED_TAG
from ml_platform.orchestration.sensors import alert_sensor

OWNERS = {"shop": OwnerConfig(team="till", email="till@example.org")}


@op
def breaks() -> None:
    try:
        raise OSError("smoke")
    except OSError as error:
        raise StoreError("the store is on fire", where="the cellar", fix="call the brigade") from error


@job(tags={"use_case": "shop"})
def doomed() -> None:
    breaks()


@pytest.fixture
def failed() -> Iterator[tuple[DagsterInstance, ExecuteInProcessResult]]:
    with DagsterInstance.ephemeral() as instance:
        yield instance, doomed.execute_in_process(instance=instance, raise_on_error=False)


def alert_about(instance: DagsterInstance, run: ExecuteInProcessResult) -> None:
    """Evaluate the sensor for a failed run, as its daemon does."""
    event = run.get_run_failure_event()
    context = build_run_status_sensor_context("alert_on_failure", event, instance, run.dagster_run)
    alert_sensor(OWNERS)(context.for_run_failure())


def test_the_alert_goes_to_the_addresses_of_the_environment(
    failed: tuple[DagsterInstance, ExecuteInProcessResult], inbox: list[dict[str, Any]]
) -> None:
    alert_about(*failed)

    (message,) = inbox
    assert message["title"] == "doomed failed"
    assert failed[1].run_id in message["message"]


def test_the_alert_is_a_failure_with_its_cause_the_run_s_page_and_the_owner(
    failed: tuple[DagsterInstance, ExecuteInProcessResult],
    inbox: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ML_PLATFORM_DAGSTER_URL", "http://ui.example.org/")

    alert_about(*failed)

    (message,) = inbox
    assert message["type"] == "failure"
    assert [line.strip() for line in message["message"].splitlines()] == [
        "breaks: the store is on fire",
        "where: the cellar",
        "fix:   call the brigade",
        f"run:   {failed[1].run_id}",
        "owner: till, till@example.org",
        f"look:  http://ui.example.org/runs/{failed[1].run_id}",
    ]


def test_a_run_of_which_its_command_has_told_is_told_once(
    failed: tuple[DagsterInstance, ExecuteInProcessResult], inbox: list[dict[str, Any]]
) -> None:
    instance, ended = failed
    run = instance.get_run_by_id(ended.run_id)
    assert run is not None

    assert tell(Platform(), instance, run, OWNERS["shop"]) == ["alert to address 1 of 1 sent"]
    later = instance.get_run_by_id(ended.run_id)
    assert later is not None
    event = ended.get_run_failure_event()
    context = build_run_status_sensor_context("alert_on_failure", event, instance, later)
    alert_sensor(OWNERS)(context.for_run_failure())

    (message,) = inbox
    assert message["title"] == "doomed failed"
    assert "breaks: the store is on fire" in message["message"] and "owner: till" in message["message"]


def test_an_address_that_does_not_answer_stops_no_other(
    failed: tuple[DagsterInstance, ExecuteInProcessResult],
    listener: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address, received = listener
    monkeypatch.setenv("ML_PLATFORM_ALERT_URLS", f"json://secret@127.0.0.1:1/ json://{address}/")

    with caplog.at_level(logging.INFO):
        alert_about(*failed)

    assert len(received) == 1
    assert "alert to address 1 of 2 FAILED" in caplog.text
    assert "secret@" not in "".join(r.getMessage() for r in caplog.records if "alert" in r.getMessage())


def test_without_addresses_the_log_says_it(
    failed: tuple[DagsterInstance, ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("ML_PLATFORM_ALERT_URLS", raising=False)

    with caplog.at_level(logging.WARNING):
        alert_about(*failed)

    assert "doomed failed" in caplog.text


def test_the_sensor_is_on_from_the_start() -> None:
    assert alert_sensor(OWNERS).default_status == DefaultSensorStatus.RUNNING


def test_the_owner_of_the_run_s_use_case_is_told(
    failed: tuple[DagsterInstance, ExecuteInProcessResult],
    listener: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, received = listener
    monkeypatch.delenv("ML_PLATFORM_ALERT_URLS", raising=False)
    monkeypatch.setenv("ML_PLATFORM_ALERT_URLS_TILL", f"json://{address}/")
    monkeypatch.setenv("ML_PLATFORM_ALERT_URLS_OTHERS", "json://127.0.0.1:1/")

    alert_about(*failed)

    assert [m["title"] for m in received] == ["doomed failed"]


def test_a_run_that_a_limit_ended_says_which_and_not_that_it_was_interrupted(
    inbox: list[dict[str, Any]],
) -> None:
    with DagsterInstance.ephemeral() as instance:
        ended = doomed.execute_in_process(instance=instance, raise_on_error=False)
        instance.add_run_tags(ended.run_id, {ENDED_TAG: "the run took longer than 10 s"})
        run = instance.get_run_by_id(ended.run_id)
        assert run is not None
        (event,) = (e for e in ended.all_events if e.event_type_value == "PIPELINE_FAILURE")
        context = build_run_status_sensor_context("alert_on_failure", event, instance, run)
        alert_sensor(OWNERS)(context.for_run_failure())
    (message,) = inbox
    assert message["message"].splitlines()[0] == "the run took longer than 10 s"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("ml_platform.errors.StoreError: it is gone\n  where: here", "it is gone\n  where: here"),
        ("KeyError: 'pages'\n", "KeyError: 'pages'"),
        ("pyarrow.lib.ArrowInvalid: no column b: or c", "ArrowInvalid: no column b: or c"),
    ],
)
def test_a_cause_names_the_class_of_what_is_not_our_own(message: str, told: str) -> None:
    inner = SerializableErrorInfo(message, [], None)
    wrapped = SerializableErrorInfo(
        "dagster._core.errors.DagsterExecutionStepExecutionError: x", [], None, inner
    )
    assert words(inner) == words(wrapped) == told
