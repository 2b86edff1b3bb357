"""Incidents by kind of target: what each changes, and which do not apply."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from library import FOLDER, NAME

from ml_platform.config import load_use_case
from ml_platform.diagnosis.evidence import DELAY_HAZARD, Evidence
from ml_platform.lifecycle.drills.incidents import BenignShift, CleanWorld, LabelRedefinition, LateLabels
from ml_platform.lifecycle.drills.judging import Settings
from ml_platform.lifecycle.drills.mapping import drill_map
from ml_platform.lifecycle.drills.running import in_effect, inapplicable
from ml_platform.lifecycle.drills.scenario import FRESHNESS, DrillContext, Scenario, with_numbers
from ml_platform.lifecycle.drills.world_incidents import PriorShift
from ml_platform.lifecycle.platform import Target
from ml_platform.model_config import ModelConfig
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.states import State

USE_CASE = load_use_case(FOLDER / NAME / "use_case.yaml")
MORE = yaml.safe_load((FOLDER / NAME / "more_models.yaml").read_text(encoding="utf-8"))["models"]
MODELS = [USE_CASE.config.models[0], *(ModelConfig.model_validate(m) for m in MORE)]
KEYS = "'2020-10-05' as partition_key, 'north' as branch, i as loan_no"
BEFORE = {"binary": "i % 2", "regression": "i % 2 * 8.0", "multiclass": "['in_time', 'late'][i % 2 + 1]"}


class NoWorld:
    def clean(self, feed: str, key: str) -> pa.Table:
        raise AssertionError("not asked")


def context(model: ModelConfig) -> DrillContext:
    return DrillContext(USE_CASE, model, drill_map(Target(USE_CASE, model)), "2020-10-05", 2.0, 1, NoWorld())


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.kind)
def test_a_label_is_redefined_in_the_terms_of_its_kind(model: ModelConfig) -> None:
    label, scenario = model.label.column, LabelRedefinition()
    before = f"select {KEYS}, {BEFORE[model.kind]} as {label}, 'same' as other from range(2000) r(i)"
    sql = scenario.label_sql(before, context(model))
    assert sql is not None
    both = f"({before}) b join ({sql}) a using (loan_no)"
    pairs = duckdb.sql(f"select b.{label}, a.{label}, a.other from {both}").fetchall()
    changed = [(was, now) for was, now, _ in pairs if was != now]
    expected = {"binary": {(1, 0)}, "regression": {(8.0, 4.0)}, "multiclass": {("late", "in_time")}}
    assert {(w, n) for w, n in changed} == expected[model.kind]
    assert 0.4 < len(changed) / 1000 < 0.6 and {o for *_, o in pairs} == {"same"}
    assert scenario.amount(context(model)).startswith("50%")


def test_a_model_may_ask_for_the_real_order_of_partitions(own_use_case: Path) -> None:
    file = own_use_case / "drills.py"
    file.write_text(file.read_text() + "\nDRILLS['in_order'] = ['days_late']\n")
    use_case = load_use_case(own_use_case / "use_case.yaml")
    settings = [in_effect(Target(use_case, m), Settings(seed=4)) for m in MODELS]
    assert [s.calendar for s in settings] == [False, True, False] and settings[1].seed == 4


def test_what_does_not_apply_to_a_kind_says_why(own_use_case: Path) -> None:
    file = own_use_case / "drills.py"
    reason = "the till was closed"
    unsuited: dict[str, Any] = {"days_late/benign_shift": reason, "unit_change": "pages are pages"}
    file.write_text(file.read_text() + f"\nDRILLS['unsuited'] = {unsuited!r}\n")
    use_case = load_use_case(own_use_case / "use_case.yaml")
    names = ["clean", "prior_shift", "benign_shift", "unit_change", "concept_drift"]
    binary, number, band = (inapplicable(Target(use_case, m), names) for m in MODELS)
    assert binary == band == {"unit_change": "pages are pages"}
    assert set(number) == {"prior_shift", "benign_shift", "unit_change"} and number["benign_shift"] == reason
    assert number["prior_shift"].endswith("has no amount, which it asks of a regression target")


def test_whole_numbers_have_decimals_in_another_unit_where_the_contract_lets_them() -> None:
    """Ages of a file are whole: rounded again, nothing would tell pounds from kilograms."""
    ages = pa.table({"age": ["27.0", "41", None, "x"]})

    def halved(**how: bool) -> list[str | None]:
        changed = with_numbers(ages, "age", lambda old: pc.multiply(old, 0.45), **how)["age"]
        return [str(v) if v is not None else None for v in changed.to_pylist()]

    assert [float(v or 0) for v in halved(decimals=True)[:2]] == pytest.approx([12.15, 18.45])
    assert halved(decimals=True)[2:] == halved()[2:] == [None, "x"]
    assert [float(v or 0) for v in halved()[:2]] == [12, 18], "an integer column stays one"


def day(question: str, statistic: str, state: State) -> Evidence:
    """Evidence of a day on which one statistic says something."""
    found = Findings.of(question, [Finding(statistic, "all", state, "as measured")])
    return Evidence("library/late", "2020-10-05", datetime(2020, 10, 12, tzinfo=UTC), {question: found})


@pytest.mark.parametrize("scenario", [CleanWorld(), BenignShift()], ids=lambda s: s.name)
@pytest.mark.parametrize("question", ["maturity", "harm", "concept", "leakage", "units"])
def test_waiting_is_right_in_a_harmless_world_unless_something_is_found_wrong(
    scenario: Scenario, question: str
) -> None:
    wrong, unclear = day(question, "x", "FAIL"), day(question, "x", "UNDERPOWERED")
    assert not scenario.is_right("wait_for_labels", [unclear, wrong])
    assert scenario.is_right("wait_for_labels", [wrong, unclear]), "the last day counts"
    assert scenario.is_right("wait_for_labels", [day("covariates", "x", "FAIL")]), "features may move"
    assert scenario.is_right("none", [wrong]) and scenario.is_right(FRESHNESS, [wrong])
    assert not scenario.is_right("retrain", [unclear])


def test_waiting_is_no_answer_to_late_labels_where_delays_can_be_compared() -> None:
    silent, compared = (day("maturity", DELAY_HAZARD, s) for s in ("UNKNOWN", "PASS"))
    overdue, scenario = day("maturity", "usable", "FAIL"), LateLabels()
    assert scenario.is_right("wait_for_labels", [silent, overdue])
    assert not scenario.is_right("wait_for_labels", [compared, overdue])
    assert scenario.is_right("fix_data", [compared]) and not scenario.is_right("none", [silent])


def test_waiting_is_never_the_answer_to_a_prior_shift() -> None:
    scenario = PriorShift()
    assert "wait_for_labels" in scenario.meanwhile and not scenario.is_right("wait_for_labels", [])
    assert scenario.is_right("recalibrate", [])
