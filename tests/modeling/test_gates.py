"""Gates pass what is shown, fail what is shown, and never pass what cannot be judged."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from ml_platform.kinds.binary import Binary
from ml_platform.model_config import GateConfig, SliceConfig
from ml_platform.modeling.comparison import Missing
from ml_platform.modeling.evaluate import Evaluation, evaluate
from ml_platform.modeling.frames import Floats, log_odds
from ml_platform.modeling.gates import Assessment, Gate, assess, choose, decide, holm

from .parcels import DEPOTS, parcels

SLICES = (SliceConfig(column="depot"),)
SETTINGS = GateConfig(slices=SLICES)
TABLE = parcels(days=28, rows=250, seed=12, shock=0.2)
TRUTH = TABLE["truth"].to_numpy()
BASE_RATE = float(TABLE["late"].mean())


def _evaluated(scores: Floats, table: pd.DataFrame = TABLE) -> Evaluation:
    return evaluate(table, scores, kind=Binary(), label="late", slices=SLICES)


def _blurred(by: float, seed: int = 1) -> Floats:
    """The truth with noise on its log-odds."""
    noise = np.random.default_rng(seed).normal(size=TRUTH.size)
    return np.asarray(special.expit(log_odds(TRUTH) + by * noise))


GOOD = _evaluated(TRUTH)
FAIR = _evaluated(_blurred(0.35))
POOR = _evaluated(_blurred(1.2))


def _assess(candidate: Any, **given: Any) -> Assessment:
    options = {"baseline": FAIR, "champion": None, "kind": Binary(), "constant": (BASE_RATE,), **given}
    return assess(candidate, options.pop("settings", SETTINGS), **options)


def _gate(assessment: Assessment, name: str) -> Gate:
    return next(g for g in assessment.gates if g.name == name)


def test_a_good_first_candidate_passes_every_gate() -> None:
    found = _assess(GOOD)
    assert [g.name for g in found.gates] == ["auc", "base_rate", "bias", "baseline", "slices"]
    assert {g.state for g in found.gates} == {"PASS"}
    assert found.contender == "candidate"
    assert found.decision.promote
    assert found.decision.reasons == ()


def test_a_later_candidate_meets_the_champion_instead_of_absolute_gates() -> None:
    found = _assess(GOOD, champion=FAIR)
    assert [g.name for g in found.gates] == ["bias", "baseline", "champion", "slices"]
    assert found.decision.promote


def test_a_low_auc_fails_the_first_champion_only() -> None:
    strict = SETTINGS.model_copy(update={"minimum_auc": 0.99})
    assert _gate(_assess(GOOD, settings=strict), "auc").state == "FAIL"
    assert not _assess(GOOD, settings=strict).decision.promote
    assert _assess(GOOD, settings=strict, champion=FAIR).decision.promote


def test_a_model_no_better_than_the_base_rate_fails() -> None:
    constant = _evaluated(np.full(TRUTH.size, BASE_RATE + 0.02))
    gate = _gate(_assess(constant, baseline=None), "base_rate")
    assert gate.state == "FAIL"
    assert gate.measured is not None
    assert gate.limit is not None
    assert gate.measured > gate.limit


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_that_days_show_fails_in_both_directions(sign: int) -> None:
    scores = np.clip(TRUTH + sign * 0.12, 0.001, 0.999)
    gate = _gate(_assess(_evaluated(scores), baseline=None), "bias")
    assert gate.state == "FAIL"
    assert gate.measured is not None
    assert 0.05 < gate.measured < abs(gate.evidence["bias"])


def test_a_bias_that_a_few_wild_days_explain_does_not_fail() -> None:
    table = parcels(days=28, rows=250, seed=13, shock=0.0)
    wild = table["partition_key"].isin(sorted(set(table["partition_key"]))[4:8])
    table.loc[wild, "late"] = True
    gate = _gate(_assess(_evaluated(table["truth"].to_numpy(), table), baseline=None), "bias")
    assert abs(gate.evidence["bias"]) > SETTINGS.maximum_bias
    assert gate.state == "PASS"


def test_a_candidate_just_better_than_the_baseline_passes_and_a_wide_margin_is_needed_for_a_tie() -> None:
    assert _gate(_assess(GOOD), "baseline").state == "PASS"
    tied = _evaluated(_blurred(0.35, seed=2))
    strict = SETTINGS.model_copy(update={"baseline_margin": 0.0})
    better, worse = (tied, FAIR) if tied.loss < FAIR.loss else (FAIR, tied)
    found = _assess(better, baseline=worse, settings=strict)
    assert found.contender == "candidate"
    failed = _gate(found, "baseline")
    assert failed.state == "FAIL"
    assert re.search(r"; point estimate \S+ less, standard error \S+ over \d+ blocks$", failed.description)
    assert _gate(_assess(better, baseline=worse), "baseline").state == "PASS"


def test_a_better_baseline_is_judged_instead_and_passes_the_same_gates() -> None:
    found = _assess(POOR, baseline=GOOD)
    assert choose(POOR, GOOD) == found.contender == "baseline"
    assert _gate(found, "auc").measured == GOOD.quality
    assert _gate(found, "baseline").measured == 0
    assert found.decision.promote


def test_a_better_baseline_may_fail_the_gates_too() -> None:
    biased = _evaluated(np.clip(TRUTH + 0.12, 0.001, 0.999))
    found = _assess(POOR, baseline=biased)
    assert found.contender == "baseline"
    assert _gate(found, "bias").state == "FAIL"
    assert not found.decision.promote


def test_a_candidate_worse_than_the_champion_fails() -> None:
    gate = _gate(_assess(POOR, baseline=None, champion=GOOD), "champion")
    assert gate.state == "FAIL"
    assert gate.measured is not None
    assert gate.limit == -0.015
    assert gate.measured < gate.limit


def test_a_candidate_a_little_worse_than_the_champion_is_not_inferior() -> None:
    little = _evaluated(_blurred(0.1))
    gate = _gate(_assess(little, baseline=None, champion=GOOD), "champion")
    assert little.loss > GOOD.loss
    assert gate.state == "PASS"
    assert gate.measured is not None
    assert -0.015 < gate.measured < 0


def test_shown_harm_in_one_slice_fails_and_names_it() -> None:
    scores = TRUTH.copy()
    east = (TABLE["depot"] == "east").to_numpy()
    scores[east] = _blurred(1.5)[east]
    found = _assess(_evaluated(scores), champion=GOOD, baseline=None)
    gate = _gate(found, "slices")
    assert gate.state == "FAIL"
    assert gate.evidence["failed"] == ["depot=east"]
    assert gate.measured is not None
    assert gate.measured > SETTINGS.slice_margin
    assert {s["value"] for s in gate.evidence["segments"]} == set(DEPOTS)


def test_slices_with_few_rows_are_not_judged() -> None:
    strict = SETTINGS.model_copy(update={"slice_minimum_rows": 100_000})
    gate = _gate(_assess(POOR, champion=GOOD, baseline=None, settings=strict), "slices")
    assert gate.state == "PASS"
    assert gate.evidence["segments"] == []
    assert "0 of 5 judged" in gate.description or "0 of 4 judged" in gate.description


def test_slices_of_equal_models_do_not_fail_by_chance() -> None:
    failed = 0
    for seed in range(6):
        one, other = _evaluated(_blurred(0.5, seed=100 + seed)), _evaluated(_blurred(0.5, seed=200 + seed))
        failed += _gate(_assess(one, champion=other, baseline=None), "slices").state == "FAIL"
    assert failed == 0


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_without_champion_and_baseline_slices_are_held_to_the_base_rate() -> None:
    assert _gate(_assess(GOOD, baseline=None), "slices").state == "PASS"
    assert _gate(_assess(_evaluated(1 - TRUTH), baseline=None), "slices").state == "FAIL"


def test_a_missing_evaluation_is_unknown_everywhere() -> None:
    found = _assess(Missing("the run was killed"))
    assert {g.state for g in found.gates} == {"UNKNOWN"}
    assert all("the run was killed" in g.description for g in found.gates)
    assert not found.decision.promote


def test_an_unreadable_champion_is_unknown_and_never_counts_as_the_first() -> None:
    found = _assess(GOOD, champion=Missing("its bundle is damaged"))
    assert _gate(found, "champion").state == _gate(found, "slices").state == "UNKNOWN"
    assert "auc" not in [g.name for g in found.gates]
    assert not found.decision.promote
    assert any("its bundle is damaged" in r for r in found.decision.reasons)


def test_a_missing_baseline_is_unknown() -> None:
    found = _assess(GOOD, baseline=Missing("it could not be scored"))
    assert found.contender == "candidate"
    assert _gate(found, "baseline").state == "UNKNOWN"
    assert not found.decision.promote


def test_rows_without_a_score_are_unknown() -> None:
    scores = TRUTH.copy()
    scores[7] = np.nan
    found = _assess(_evaluated(scores))
    assert {g.state for g in found.gates} == {"UNKNOWN"}
    assert not found.decision.promote


def test_evaluations_of_other_rows_are_unknown() -> None:
    fewer = _evaluated(TRUTH[250:], TABLE[250:])
    found = _assess(GOOD, champion=fewer)
    assert _gate(found, "champion").state == "UNKNOWN"
    assert not found.decision.promote


def test_numbers_that_are_none_are_unknown() -> None:
    broken = replace(GOOD, loss=float("nan"))
    assert {g.state for g in _assess(broken, baseline=None).gates} == {"UNKNOWN"}
    days = (replace(GOOD.days[0], loss=float("inf")), *GOOD.days[1:])
    assert _gate(_assess(replace(GOOD, days=days)), "baseline").state == "UNKNOWN"


def test_a_crashed_check_is_unknown_and_the_others_are_still_judged() -> None:
    broken = replace(GOOD, values={"auc": "high"})  # type: ignore[dict-item]
    found = _assess(broken)
    assert _gate(found, "auc").state == "UNKNOWN"
    assert "crashed" in _gate(found, "auc").description
    assert _gate(found, "bias").state == "PASS"
    assert not found.decision.promote


def test_too_few_days_are_unknown() -> None:
    three = TABLE["partition_key"] <= sorted(set(TABLE["partition_key"]))[2]
    short = [_evaluated(s[three], TABLE[three]) for s in (TRUTH, _blurred(0.35))]
    found = _assess(short[0], baseline=short[1])
    assert _gate(found, "bias").state == _gate(found, "baseline").state == "UNKNOWN"
    assert not found.decision.promote


def test_one_class_in_the_gates_rows_is_unknown() -> None:
    found = _assess(_evaluated(TRUTH, TABLE.assign(late=False)), baseline=None)
    assert _gate(found, "auc").state == "UNKNOWN"


def test_no_gates_never_promote() -> None:
    assert not decide([]).promote


@pytest.mark.parametrize("state", ["FAIL", "UNKNOWN"])
def test_one_gate_that_did_not_pass_is_enough(state: Any) -> None:
    gates = [*_assess(GOOD).gates, Gate("more", state, None, "<", None, "for a reason")]
    decision = decide(gates)
    assert not decision.promote
    assert decision.reasons == (f"more: {state}, for a reason",)
