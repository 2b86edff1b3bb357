from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ml_platform.diagnosis.evidence import TrainingFacts
from ml_platform.diagnosis.guards import Guard, GuardFacts, Override, RetrainRequest, allowed, guards
from ml_platform.diagnosis.procedure import diagnose
from ml_platform.diagnosis.value import expected_value
from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig, ValueConfig
from ml_platform.partitions import PartitionScheme

from . import cases

SETTINGS = RetrainingConfig()
PRICED = ValueConfig(per_loss_unit=1)
WORTH = expected_value(0.03, 900, 60, PRICED)
FINE = GuardFacts((), 20, 13, "never", (), 0.0, 0, 7, WORTH)


def request(*broken: Any, **more: Any) -> RetrainRequest:
    seen = cases.evidence(*(broken or (cases.CONTRAST,)), **more)
    return RetrainRequest(diagnose(seen, DiagnosisConfig(), SETTINGS), 60)


def judged(facts: GuardFacts = FINE, wanted: RetrainRequest | None = None) -> dict[str, Guard]:
    return {g.name: g for g in guards(wanted or request(), facts, SETTINGS)}


def test_a_sound_request_passes_all() -> None:
    assert allowed(list(judged().values()))


@pytest.mark.parametrize(
    ("change", "name", "passed", "could_pass"),
    [
        ({"not_green": ("2013-04-02",)}, "training_window", False, None),
        ({"not_green": None}, "training_window", None, None),
        ({"partitions_since_change": 5}, "cooldown", False, "2013-06-11"),
        ({"partitions_since_change": None}, "cooldown", None, None),
        ({"matured_since_change": 3}, "newly_matured", False, "2013-06-13"),
        ({"matured_since_attempt": 13}, "one_attempt", False, "2013-06-10"),
        ({"matured_since_attempt": 14}, "one_attempt", True, None),
        ({"matured_since_attempt": None}, "one_attempt", None, None),
        ({"attempts_ages": (1, 9, 25)}, "budget", False, "2013-06-14"),
        ({"attempts_ages": (1, 9, 30)}, "budget", True, None),
        ({"attempts_ages": None}, "budget", None, None),
        ({"compute_spent": 3550.0}, "compute", False, None),
        ({"compute_spent": None}, "compute", None, None),
        ({"running": 1}, "nothing_running", False, None),
        ({"running": None}, "nothing_running", None, None),
        ({"onset_partitions": 4}, "onset", False, "2013-06-12"),
        ({"onset_partitions": None}, "onset", None, None),
        ({"value": None}, "value", None, None),
        ({"value": expected_value(None, 900, 60, PRICED)}, "value", None, None),
        ({"value": expected_value(0.0, 900, 60, PRICED)}, "value", False, None),
    ],
)
def test_each_guard_refuses(change: dict[str, Any], name: str, passed: Any, could_pass: str | None) -> None:
    found = judged(replace(FINE, **change))
    assert (found[name].passed, found[name].could_pass) == (passed, could_pass)
    assert allowed(list(found.values())) == (passed is True)


def test_a_date_beyond_the_end_of_the_data_is_none() -> None:
    """Waiting does not help where the file ends before."""
    until = {
        d: PartitionScheme("daily", "UTC", date(2013, 1, 1), d)
        for d in (date(2013, 6, 10), date(2013, 6, 11))
    }
    short, enough = (
        judged(replace(FINE, partitions_since_change=5, scheme=s))["cooldown"] for s in until.values()
    )
    assert (short.could_pass, enough.could_pass) == (None, "2013-06-11")
    assert "it could pass on 2013-06-11, but the data end with 2013-06-10" in short.sentence
    assert not short.passed


def test_the_date_is_a_partition_of_the_width() -> None:
    months = PartitionScheme("monthly", "UTC", date(2013, 1, 1))
    asked = request()
    monthly = replace(asked, diagnosis=replace(asked.diagnosis, partition="2013-06-01"))
    facts = replace(FINE, partitions_since_change=0, scheme=months)
    assert judged(facts, monthly)["cooldown"].could_pass == "2014-01-01"


def test_a_mode_and_a_verdict_that_do_not_allow_it() -> None:
    off = {g.name: g for g in guards(request(), FINE, RetrainingConfig(mode="off"))}
    assert off["mode"].passed is False
    assert judged(wanted=request(cases.YOUNG))["verdict"].passed is False
    assert judged(wanted=request(cases.YOUNG))["labels_mature"].could_pass == "2013-06-16"
    assert judged(wanted=request(unknown=("skew",)))["evidence"].passed is None


def test_an_override_passes_all_but_corrupted_data() -> None:
    order = Override("Ada", "a strike")
    young = replace(request(cases.YOUNG), override=order)
    found = guards(young, replace(FINE, running=None), SETTINGS)
    assert allowed(found)
    assert any("overridden by Ada: a strike" in g.sentence for g in found)
    spoilt = guards(replace(request(cases.NULLS), override=order), FINE, SETTINGS)
    assert not allowed(spoilt)
    assert "no override" in spoilt[0].sentence
    held = guards(replace(request(), override=order), replace(FINE, not_green=("2013-04-02",)), SETTINGS)
    assert not allowed(held)


def test_a_renewal_has_no_onset() -> None:
    wanted = RetrainRequest(
        diagnose(
            cases.evidence(promotion=cases.OLD, training=TrainingFacts(partitions=90)),
            DiagnosisConfig(),
            SETTINGS,
        )
    )
    assert judged(replace(FINE, onset_partitions=None), wanted)["onset"].passed is True


def test_the_value_is_the_sum_of_its_parts() -> None:
    worth = expected_value(
        0.01, 1000, 1800, ValueConfig(per_loss_unit=2, horizon_partitions=10, compute_hour=4, review=20)
    )
    assert (worth.gain, worth.compute, worth.review, worth.regression) == (pytest.approx(200), 2, 20, 5)
    assert worth.value == pytest.approx(173)
    assert worth.state == "PASS"
    assert expected_value(0.01, None, 0, ValueConfig(per_loss_unit=2)).state == "UNKNOWN"


def test_a_price_that_nobody_named_decides_nothing() -> None:
    worth = expected_value(0.01, 1, 1800, ValueConfig(review=1e9))
    assert (worth.state, worth.value) == (None, None)
    found = judged(replace(FINE, value=worth))["value"]
    assert (found.passed, found.value) == (True, "not set")
    assert "not weighed" in found.sentence and "retraining.value.per_loss_unit" in found.sentence
    named = expected_value(0.01, 1, 1800, ValueConfig(per_loss_unit=1, review=1e9))
    assert judged(replace(FINE, value=named))["value"].passed is False
