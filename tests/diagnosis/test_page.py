"""The page of a diagnosis: losses stand side by side, whatever the steps' headlines are."""

from collections.abc import Callable

import pytest

from ml_platform.diagnosis.evidence import Evidence
from ml_platform.diagnosis.page import html, markdown, story_html
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig

from . import cases

SHOWN: list[Callable[[Diagnosis], str]] = [markdown, html]


def diagnosed(evidence: Evidence) -> Diagnosis:
    return diagnose(evidence, DiagnosisConfig(), RetrainingConfig())


def line(text: str, name: str) -> str:
    start = text.index(name)
    return text[start : min(i for i in (text.find("\n", start), text.find("</tr>", start)) if i > 0)]


@pytest.mark.parametrize("shown", SHOWN)
def test_realised_and_expected_losses_stand_side_by_side(shown: Callable[[Diagnosis], str]) -> None:
    text = shown(diagnosed(cases.evidence(cases.HARM, cases.X_LESS, cases.WEIGHTED, cases.DRIFT)))
    assert "FAIL" in (realised := line(text, "realised, on matured")) and "0.08" in realised
    assert "PASS" in (plain := line(text, "expected without labels (CBPE)")) and "0.01" in plain
    assert "FAIL" in (weighted := line(text, "expected, density-weighted")) and "0.07" in weighted


@pytest.mark.parametrize("shown", SHOWN)
def test_known_events_are_named_where_there_are_any(shown: Callable[[Diagnosis], str]) -> None:
    quiet = cases.evidence(events={"2013-06-01": "Fair", "2013-06-03": "Move"})
    assert "2013-06-01: Fair; 2013-06-03: Move" in shown(diagnosed(quiet)).replace("\\", "")
    assert "Known events" not in shown(diagnosed(cases.evidence()))


@pytest.mark.parametrize("shown", SHOWN)
def test_what_is_not_known_of_the_loss_says_why(shown: Callable[[Diagnosis], str]) -> None:
    text = shown(diagnosed(cases.evidence(cases.HARM, cases.X_LESS, cases.WEIGHTED_UNKNOWN)))
    weighted = line(text, "expected, density-weighted")
    assert "UNKNOWN" in weighted and "of all" in weighted
    quiet = shown(diagnosed(cases.evidence(cases.X_LESS)))
    assert "only where" in line(quiet, "expected, density-weighted")
    lost = shown(diagnosed(cases.evidence(unknown=("harm", "covariates"))))
    for name in ("realised, on matured", "expected without labels (CBPE)"):
        assert "UNKNOWN" in line(lost, name)


def test_a_sentence_says_what_is_missing_and_names_no_whole_as_a_feature() -> None:
    few = diagnosed(cases.evidence(cases.FEW)).verdict
    assert few.sentence.startswith("Too little to judge the model: ")
    none = cases.finding("rows", estimate=0.0, floor=1000.0)
    assert "No label of what the model served is mature yet" in (
        diagnosed(cases.evidence(("volume", none))).verdict.sentence
    )
    whole = cases.finding("domain", subject="all")
    drifted = diagnosed(cases.evidence(("covariates", whole))).verdict
    assert drifted.sentence == "The features drifted as a whole without harm: benign."


def test_a_story_names_its_partitions_as_people_do() -> None:
    verdict = ("2020-01-06", "none", "", "Nothing is wrong that could be seen.")
    first = ("2020-01-01", "first", "v1", "ada", "passed <its> gates")
    weekly = story_html("m", "2020-02-01", b"", [verdict], [], [first], "week")
    assert "loss by week" in weekly and "<th>week</th>" in weekly and "No verdict asked" in weekly
    assert "<td>v1</td><td>ada</td><td>passed &lt;its&gt; gates</td>" in weekly
    action = ("2020-02-01", "retrain", "refused", "too early")
    acted = story_html("m", "2020-02-01", b"", [verdict], [action], [])
    assert "<th>day</th>" in acted and "<td>too early</td>" in acted and "No verdict" not in acted


def test_the_story_names_days_that_are_known_to_be_unlike_others() -> None:
    story = ("shop/late", "2024-05-01", b"png", [("2024-04-02", "none", "", "All is well.")], [], [], "day")
    told = story_html(*story, [("2024-04-01", "Easter <Monday>")])
    assert "<td>2024-04-01</td><td>Easter &lt;Monday&gt;</td>" in told
    assert "unlike" not in story_html(*story)


@pytest.mark.parametrize("shown", SHOWN)
def test_each_line_tells_its_unit_and_what_it_is_compared_with(shown: Callable[[Diagnosis], str]) -> None:
    apart = cases.finding("domain_auc", state="PASS", estimate=0.49, floor=0.1)
    enough = cases.finding("rows", state="PASS", estimate=103_900.0, floor=1000.0)
    text = shown(diagnosed(cases.evidence(("covariates", apart), ("volume", enough))))
    drift = line(text, "9. Did the features")
    assert "0.49" in drift and "0.6" in drift and "AUC; 0.5 tells nothing apart" in drift
    volume = line(text, "6. Is there enough")
    assert "103,900" in volume and "below 1,000" in volume and "e+05" not in text


@pytest.mark.parametrize("shown", SHOWN)
def test_a_pass_beyond_what_counts_says_why_it_is_no_finding(shown: Callable[[Diagnosis], str]) -> None:
    far = cases.finding("bias", state="PASS", estimate=0.08, low=-0.02, high=0.18, floor=0.05)
    text = shown(diagnosed(cases.evidence(("concept", far))))
    assert "Beyond what counts, but not shown" in line(text, "8. Did the outcome")


@pytest.mark.parametrize("shown", SHOWN)
def test_what_was_not_answered_stands_above_the_steps(shown: Callable[[Diagnosis], str]) -> None:
    text = shown(diagnosed(cases.evidence(cases.WEAK_HARM, unknown=("season",))))
    said = "Of 11 questions 9 PASS, 1 UNDERPOWERED (harm), 1 UNKNOWN (season)."
    assert text.replace("\\", "").index(said) < text.index("Steps")
