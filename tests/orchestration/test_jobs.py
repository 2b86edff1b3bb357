"""The jobs that a person launches: roll back, decide, replay."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult
from library import NAME, Library

from ml_platform.lifecycle import quarantine
from ml_platform.lifecycle.caching import committed_generation
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.jobs import PERSONS_JOBS
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.retraining import ACTION_JOBS
from ml_platform.registry.promotions import champion

from .conftest import HELD_WEEK, MODEL, SPOILT_WEEK, Installation, enter, write_use_case

BY = {"who": "operator", "why": "the night watch saw nonsense"}


def run(job: str, op: str, config: dict[str, Any]) -> ExecuteInProcessResult:
    """Run a job with run config, as the launchpad does."""
    definition = next(j for j in (*PERSONS_JOBS, *ACTION_JOBS.values()) if j.name == job)
    with DagsterInstance.ephemeral() as instance:
        return definition.execute_in_process(
            run_config={"ops": {op: {"config": config}}},
            resources={"platform": PlatformResource()},
            instance=instance,
            raise_on_error=False,
        )


def why(result: ExecuteInProcessResult) -> str:
    """The error that a person reads."""
    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    error = failure.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    return error.message


def shown(result: ExecuteInProcessResult, op: str) -> dict[str, Any]:
    """The metadata of a job's only output."""
    (event,) = [e for e in result.events_for_node(op) if e.is_successful_output]
    return {k: v.value for k, v in event.step_output_data.metadata.items()}


def mend(file: Path, changes: dict[str, str]) -> None:
    """Replace text in a file that holds it."""
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


@pytest.fixture
def use_cases(tmp_path: Path) -> Path:
    """A folder of use cases in which the library's promotions need a person."""
    folder = tmp_path / "use_cases" / NAME
    use_case = write_use_case(folder)
    text = (folder / "use_case.yaml").read_text()
    promotion = "  promotion:\n    policy: approval\n"
    (folder / "use_case.yaml").write_text(text.replace("  windows:\n", promotion + "  windows:\n", 1))
    assert use_case.name == NAME
    return folder.parent


class TestRollback:
    @pytest.fixture(autouse=True)
    def _environment(self, succeeded: Library, use_cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        enter(monkeypatch, succeeded.platform.home, use_cases)

    def test_model_and_cache_are_restored(self, unchecked: None) -> None:
        before = champion(Platform().ledger, MODEL)

        result = run("rollback", "roll_back_champion", {"model": MODEL, **BY})

        after, generation = champion(Platform().ledger, MODEL), committed_generation(Platform(), MODEL)
        assert result.success
        assert before is not None
        assert after is not None
        assert generation is not None
        assert after.model_digest != before.model_digest
        assert generation.model_digest == after.model_digest
        assert (after.who, after.why) == (BY["who"], BY["why"])
        assert shown(result, "roll_back_champion")["model"] == after.model_digest

    def test_an_unknown_model_is_named_with_the_known_ones(self) -> None:
        result = run("rollback", "roll_back_champion", {"model": "libary_loans", **BY})

        assert not result.success
        assert "libary_loans" in why(result)
        assert NAME in why(result)

    def test_without_an_earlier_champion_nothing_changes(
        self, served_home: Path, tmp_path: Path, use_cases: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enter(monkeypatch, copy_home(served_home, tmp_path / "served"), use_cases)
        before = champion(Platform().ledger, MODEL)

        result = run("rollback", "roll_back_champion", {"model": MODEL, **BY})

        after = champion(Platform().ledger, MODEL)
        assert not result.success
        assert "fix:" in why(result)
        assert before is not None
        assert after is not None
        assert after.id == before.id


class TestDecision:
    @pytest.fixture(autouse=True)
    def _environment(self, challenged: Library, use_cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        enter(monkeypatch, challenged.platform.home, use_cases)

    def test_an_approved_candidate_serves(self, unchecked: None) -> None:
        config = {"model": MODEL, "decision": "approve", **BY}

        assert run("decide_promotion", "decide_on_candidate", config).success

        after = champion(Platform().ledger, MODEL)
        assert after is not None
        assert (after.version, after.who, after.why) == (2, BY["who"], BY["why"])

    def test_a_rejected_candidate_does_not_serve_and_cannot_be_approved_silently(self) -> None:
        before = champion(Platform().ledger, MODEL)

        assert run(
            "decide_promotion", "decide_on_candidate", {"model": MODEL, "decision": "reject", **BY}
        ).success

        after = champion(Platform().ledger, MODEL)
        assert before is not None
        assert after is not None
        assert after.id == before.id

    def test_another_word_is_refused_before_anything_runs(self) -> None:
        definition = next(j for j in PERSONS_JOBS if j.name == "decide_promotion")
        config = {"model": MODEL, "decision": "perhaps", **BY}

        with pytest.raises(Exception, match="decision"):
            definition.execute_in_process(
                run_config={"ops": {"decide_on_candidate": {"config": config}}},
                resources={"platform": PlatformResource()},
            )

    def test_where_none_waits_it_says_so(
        self, succeeded_home: Path, tmp_path: Path, use_cases: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enter(monkeypatch, copy_home(succeeded_home, tmp_path / "succeeded"), use_cases)

        result = run("decide_promotion", "decide_on_candidate", {"model": MODEL, "decision": "approve", **BY})

        assert "no candidate waits" in why(result)


class TestReplay:
    @pytest.fixture
    def waiting(
        self, copied: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Path]:
        """The played installation with a contract of its own; yields the contract."""
        folder = write_use_case(tmp_path / "use_cases" / NAME).folder
        monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(folder.parent))
        yield folder / "contracts" / "loans.yaml"

    def test_what_the_mended_contract_allows_comes_back(self, waiting: Path) -> None:
        mend(waiting, {"max_value: 2000": "max_value: 20000", "hold_below: 0.5": "hold_below: 0.01"})
        mend(waiting, {"property: onBreach, value: hold": "property: onBreach, value: warn"})

        result = run("replay_quarantine", "replay_quarantined", {"feed": "loans"})

        numbers = shown(result, "replay_quarantined")
        assert numbers["landed"] == numbers["accepted"] == 90 + 9
        assert (numbers["quarantined"], numbers["held"]) == (0, 0)
        assert quarantine.summary(Platform(), "loans") == []

    def test_one_partition_can_be_named(self, waiting: Path) -> None:
        mend(waiting, {"max_value: 2000": "max_value: 20000"})

        config = {"feed": "loans", "partition": SPOILT_WEEK}
        result = run("replay_quarantine", "replay_quarantined", config)

        assert result.success
        assert [s.partition for s in quarantine.summary(Platform(), "loans")] == [HELD_WEEK]

    def test_a_partition_is_named_as_people_write_it(self, waiting: Path) -> None:
        mend(waiting, {"max_value: 2000": "max_value: 20000"})
        year, week, _ = date.fromisoformat(SPOILT_WEEK).isocalendar()
        config = {"feed": "loans", "partition": f"{year}-W{week:02}"}

        assert run("replay_quarantine", "replay_quarantined", config).success

        assert [s.partition for s in quarantine.summary(Platform(), "loans")] == [HELD_WEEK]
        refused = run("replay_quarantine", "replay_quarantined", {"feed": "loans", "partition": "soon"})
        assert "'soon' is not a partition key" in why(refused)

    def test_what_another_contract_accepted_is_judged_where_that_is_asked_for(self, waiting: Path) -> None:
        mend(waiting, {"max_value: 2000": "max_value: 500"})
        only_waiting = run("replay_quarantine", "replay_quarantined", {"feed": "loans"})
        config = {"feed": "loans", "accepted": True}
        all_of_it = run("replay_quarantine", "replay_quarantined", config)

        assert shown(only_waiting, "replay_quarantined")["withdrawn"] == 0
        assert shown(all_of_it, "replay_quarantined")["withdrawn"] > 500
        assert len(quarantine.summary(Platform(), "loans")) > 30, "weeks that had been accepted, too"

    def test_what_still_breaks_the_contract_stays_where_it_is(self, waiting: Path) -> None:
        before = quarantine.summary(Platform(), "loans")

        result = run("replay_quarantine", "replay_quarantined", {"feed": "loans"})

        assert result.success
        assert shown(result, "replay_quarantined")["held"] == 9
        assert quarantine.summary(Platform(), "loans") == before

    def test_a_feed_in_which_nothing_waits_says_so(self, waiting: Path) -> None:
        result = run("replay_quarantine", "replay_quarantined", {"feed": "returns"})

        assert "nothing waits to be replayed" in why(result)
