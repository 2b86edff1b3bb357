"""A champion's reference: the gate's weeks, replaced once by its first live weeks without an incident."""

from typing import Any

import pytest
from guarded import champion, diagnosed, guarded
from library import Library, spoil
from sqlalchemy import select

from ml_platform.lifecycle import reference as reading
from ml_platform.lifecycle.guard import live_reference
from ml_platform.lifecycle.guard.evidence import gather
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.reference import Reference, backtest_of, reference_of
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Incident, Publication

SIZE = 4
ALARM: dict[str, Any] = {"p_value": 0.999, "false_discovery_rate": 0.999, "bias_floor": 1e-6}


@pytest.fixture(autouse=True)
def _no_reference_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test reads its own champion's reference."""
    monkeypatch.setattr(reading, "_REFERENCES", {})


def target_of(library: Library, **settings: Any) -> Target:
    diagnosis = {**guarded(library).model.diagnosis.model_dump(), "reference_partitions": SIZE}
    return library.model(diagnosis=diagnosis | settings)


def frozen(library: Library) -> list[Publication]:
    query = select(Publication).where(Publication.asset == f"{library.target.key}/reference")
    with library.platform.ledger.begin() as session:
        return list(session.scalars(query))


def asked(library: Library, target: Target) -> Reference:
    return reference_of(library.platform, target, champion(library), library.now)


def incident(library: Library, first: str, last: str, status: str = "closed") -> None:
    report = {"first_partition": first, "last_partition": last, "partitions": [first, last], "cause": "harm"}
    row = Incident(
        model_key=library.target.key,
        fingerprint="f",
        status=status,
        report=report,
        opened_at=library.use_case.cutoff(last),
        updated_at=library.now,
        closed_at=library.now if status == "closed" else None,
        recorded_at=wall_now(),
    )
    with library.platform.ledger.begin() as session:
        session.add(row)


def test_it_is_replaced_once_by_the_first_matured_live_weeks(lived: Library) -> None:
    target = target_of(lived)
    gate = asked(lived, target)
    assert gate.source == "gate"
    then = lived.now
    first = diagnosed(lived, target)
    (entry,) = frozen(lived)
    weeks = lived.weeks("2020-08-31", "2020-09-21")
    assert (entry.as_of, entry.details) == (then, {"first": weeks[0], "last": weeks[-1], "left_out": []})
    assert asked(lived, target) == gate and not diagnosed(lived, target).new, "the day keeps its answer"
    lived.advance()
    live = asked(lived, target)
    assert (live.source, live.partitions) == ("live", weeks)
    again = diagnosed(lived, target)
    assert [p.id for p in frozen(lived)] == [entry.id], "only once"
    assert set(again.gathered.reference_losses) == set(weeks)
    assert set(first.gathered.reference_losses) == set(gate.partitions)
    lived.platform.clock(lived.use_case).set(then, back=True)
    assert asked(lived, target).partitions == gate.partitions, "as of an earlier week nothing has changed"
    back = backtest_of(lived.platform, target, champion(lived))
    assert back.partitions == gate.partitions, "the back-test, which leakage reads, stays"


def test_weeks_of_incidents_never_enter(lived: Library) -> None:
    target = target_of(lived)
    incident(lived, "2020-09-07", "2020-09-14")
    diagnosed(lived, target)
    (entry,) = frozen(lived)
    assert entry.details["left_out"] == ["2020-09-07", "2020-09-14"]
    lived.advance()
    assert asked(lived, target).partitions == ["2020-08-31", "2020-09-21", "2020-09-28", "2020-10-05"]


def test_with_too_few_quiet_weeks_it_stays_the_gates(lived: Library) -> None:
    incident(lived, "2020-08-31", "2020-10-05")
    diagnosed(lived, target_of(lived))
    assert frozen(lived) == []


def test_nothing_is_frozen_after_an_alarm(lived: Library) -> None:
    target = target_of(lived, **ALARM)
    found = diagnosed(lived, target)
    assert found.gathered.evidence.of("concept").state == "FAIL"
    assert frozen(lived) == []


def test_a_live_reference_that_cannot_be_read_is_unknown_and_not_the_gates(lived: Library) -> None:
    target = target_of(lived)
    diagnosed(lived, target)
    spoil(lived, frozen(lived)[0].digest)
    lived.advance()
    evidence = gather(lived.platform, target, lived.now).evidence
    assert evidence.of("harm").state == "UNKNOWN" and "cannot be read" in evidence.of("harm").reason


def test_two_runs_freeze_one(lived: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(lived)
    found = diagnosed(lived, target)
    with monkeypatch.context() as patch:  # as the other run saw it, before this one published
        patch.setattr(type(lived.platform.ledger), "head", lambda *_: None)
        assert live_reference.freeze(lived.platform, target, found.diagnosis) is None
    assert [p.status for p in frozen(lived)] == ["committed", "abandoned"]
