import json
from dataclasses import asdict

import numpy as np
import pytest

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.harm import judge_harm

SETTINGS = DiagnosisConfig()
CALM = np.tile([0.49, 0.51, 0.51, 0.49], 7)
KEYS = [f"2024-03-{d:02d}" for d in range(1, 29)]


def test_a_loss_that_rose_fails_with_the_numbers() -> None:
    findings = judge_harm(CALM, CALM + 0.2, KEYS, SETTINGS)
    (finding,) = findings.failed
    assert findings.question == "harm"
    assert finding.estimate == pytest.approx(0.2)
    assert finding.floor == pytest.approx(0.05)
    assert 0 < finding.low < 0.2 < finding.high
    assert finding.partitions == tuple(KEYS)
    assert "+0.2 from 0.5;" in finding.detail


def test_a_loss_that_stayed_passes() -> None:
    findings = judge_harm(CALM, CALM[:14], KEYS[:14], SETTINGS)
    assert findings.state == "PASS"
    assert findings.items[0].minimal_detectable_effect < 0.05


def test_a_rise_below_the_floor_is_no_harm() -> None:
    assert judge_harm(CALM, CALM + 0.03, KEYS, SETTINGS).state == "PASS"


def test_a_wild_loss_is_underpowered_and_the_finding_is_json() -> None:
    wild = np.random.default_rng(0).normal(0.5, 0.3, 29)
    findings = judge_harm(wild[:28], wild[28:], KEYS[:1], SETTINGS)
    assert findings.state == "UNDERPOWERED"
    assert json.loads(json.dumps(asdict(findings), allow_nan=False))["question"] == "harm"


def test_partitions_without_a_loss_are_left_out() -> None:
    losses = [*CALM[:14] + 0.2, np.nan]
    assert judge_harm(CALM, losses, KEYS[:15], SETTINGS).failed[0].partitions == tuple(KEYS[:14])


def test_missing_evidence_is_unknown() -> None:
    assert "reference" in judge_harm([], CALM, KEYS, SETTINGS).reason
    assert "matured" in judge_harm(CALM, [np.nan], KEYS[:1], SETTINGS).reason
    assert judge_harm(CALM, [], [], SETTINGS).state == "UNKNOWN"
    with pytest.raises(ValueError, match="28 partitions for 1"):
        judge_harm(CALM, [0.5], KEYS, SETTINGS)
