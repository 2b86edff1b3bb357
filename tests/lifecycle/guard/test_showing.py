"""What a diagnosis looks like: its pill is green only where nothing that would tell was left open."""

from datetime import UTC, datetime

from library import NEXT_WEEK, SERVED, Library

from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.steps import STEPS
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.lifecycle.guard.showing import sureness
from ml_platform.lifecycle.story import story_of
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.states import State


def shown(**states: State) -> tuple[str, State]:
    found = {
        s.name: Findings.of(s.name, [Finding("check", "all", states.get(s.name, "PASS"), "seen")])
        for s in STEPS
    }
    evidence = Evidence("orders/late", "2020-01-06", datetime(2020, 1, 7, tzinfo=UTC), found)
    diagnosis = diagnose(evidence, DiagnosisConfig(), RetrainingConfig())
    return diagnosis.verdict.name, sureness(diagnosis)


def test_nothing_wrong_is_green_where_all_was_judged() -> None:
    assert shown() == ("none", "PASS")
    assert shown(season="UNKNOWN") == ("none", "PASS")


def test_nothing_wrong_is_not_green_where_harm_or_data_could_not_be_judged() -> None:
    assert shown(harm="UNDERPOWERED") == ("none", "UNDERPOWERED")
    assert shown(skew="UNKNOWN", harm="UNDERPOWERED") == ("none", "UNKNOWN")


def test_a_champion_that_has_scored_nothing_yet_is_marked_after_the_last_partition(
    succeeded: Library,
) -> None:
    marks = story_of(succeeded.platform, succeeded.target, SERVED, succeeded.now).promotions
    assert [(m.partition_key, m.text) for m in marks] == [(SERVED[0], "v1 first"), (NEXT_WEEK, "v2 promoted")]
    assert story_of(succeeded.platform, succeeded.target, [], succeeded.now).promotions == []


def test_what_is_to_be_repaired_is_red() -> None:
    assert shown(units="FAIL") == ("fix_data", "FAIL")
