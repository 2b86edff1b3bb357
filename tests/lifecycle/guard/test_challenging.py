"""Challengers and recalibrations: judged on later days, promoted only where every gate passes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from guarded import Replayed, champion, copied, diagnosed, easy, guarded, live, returns, within, world
from library import Library

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import monitors, promotion
from ml_platform.lifecycle import reference as reading
from ml_platform.lifecycle.guard.challenger import Challenge, challenge, plan
from ml_platform.lifecycle.guard.recalibration import recalibrate
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.reference import reference_of
from ml_platform.lifecycle.scoring import load_champion
from ml_platform.modeling import bundle
from ml_platform.modeling.calibration import Calibrator
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Evaluation, Model, Promotion

ONSET, LATER = "2020-09-14", "2020-11-16"


@pytest.fixture(autouse=True)
def _no_reference_in_memory(monkeypatch: pytest.MonkeyPatch, unchecked: None) -> None:
    monkeypatch.setattr(reading, "_REFERENCES", {})


@pytest.fixture(scope="module")
def drifted_home(replayed: Replayed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a week on, two branches' loans come back just the other way round."""
    library = copied(replayed.early, tmp_path_factory.mktemp("drifted"))
    weeks = library.weeks(ONSET, LATER)
    other = within(library, world(returns=returns(weeks, ("harbour", "station"), late=None)))
    live(other, guarded(library), weeks[1:])
    library.close()
    return library.platform.home


@pytest.fixture
def drifted(drifted_home: Path, tmp_path: Path) -> Library:
    return copied(drifted_home, tmp_path)


def fight(library: Library, target: Target, kind: Any = "freshness", onset: str | None = None) -> Challenge:
    made = plan(target, library.now, kind, onset)
    return challenge(library.platform, target, library.now, made, who="policy", why="a test")


def gates(done: Challenge) -> dict[str, str]:
    return {g["name"]: g["state"] for g in done.evaluation.gates}


# --- plans ------------------------------------------------------------------------------------------


def test_a_challenger_is_judged_on_the_last_mature_weeks_and_trained_before_them(lived: Library) -> None:
    target = guarded(lived)
    made = plan(target, lived.now, "freshness")
    last = lived.use_case.last_mature(target.model, lived.now)
    assert last == "2020-10-12" and made.onset is None
    assert made.window.gate == lived.weeks("2020-09-21", last)
    assert len(made.window.train) == target.model.windows.train and made.window.train[-1] == "2020-09-14"
    assert len(made.refit) == target.model.windows.train and made.refit[-1] == last


def test_an_incident_trains_on_both_sides_of_its_onset(lived: Library) -> None:
    target = guarded(lived)
    made = plan(target, lived.now, "incident", "2020-09-07")
    assert made.after_onset(made.window.train) == ["2020-09-07", "2020-09-14"]
    assert len(made.window.gate) == target.model.retraining.incident_gate


@pytest.mark.parametrize("onset", [None, "2020-09-14", "2020-10-05", "2020-11-09"])
def test_too_few_weeks_after_the_onset_are_not_ready(lived: Library, onset: str | None) -> None:
    with pytest.raises(NotReadyError, match="2 are needed before the 4 that judge"):
        plan(guarded(lived), lived.now, "incident", onset)


# --- challengers ------------------------------------------------------------------------------------


def test_a_rejected_challenger_leaves_every_gate_and_the_champion(lived: Library) -> None:
    before = champion(lived)
    done = fight(lived, guarded(lived, freshness_margin=0.0))
    assert (done.outcome, done.promotion, done.evaluation.passed) == ("rejected", None, False)
    assert set(gates(done)) == {"bias", "champion", "slices"} and gates(done)["champion"] == "FAIL"
    assert done.evaluation.against_digest == before.model_digest and "champion FAIL" in done.sentence()
    assert champion(lived).id == before.id
    kept = promotions.latest_evaluation(lived.platform.ledger, lived.target.key)
    assert kept is not None and kept.id == done.evaluation.id and kept.gates == done.evaluation.gates


def test_what_is_promoted_is_the_refit_of_what_was_judged(lived: Library) -> None:
    before, target = champion(lived), easy(lived)
    done = fight(lived, target)
    assert done.outcome == "promoted" and gates(done) == dict.fromkeys(gates(done), "PASS")
    assert set(gates(done)) == {"bias", "champion", "slices", "refit"}
    now = champion(lived)
    assert now.id != before.id and now.model_digest == done.evaluation.model_digest
    model = load_champion(lived.platform, now.model_digest)
    last = lived.use_case.last_mature(target.model, lived.now)
    assert model.provenance.partitions[1] == last and model.provenance.partition_count == 18
    evidence = read_table(lived.platform.lake.get(done.evaluation.evidence_digest))
    assert {"candidate", "out_of_sample", "champion"} <= set(evidence.column_names)
    # Its reference is what the judged model said of the judged weeks, topped up to the window asked for.
    frozen = reference_of(lived.platform, target, now)
    assert frozen.rows is not None and frozen.partitions[-4:] == lived.weeks("2020-09-21", last)
    gate = frozen.rows.filter(pc.greater_equal(frozen.rows["partition_key"], "2020-09-21"))
    assert gate["probability"].to_pylist() == evidence["out_of_sample"].to_pylist()
    assert len(frozen.partitions) == target.model.diagnosis.reference_partitions


def test_a_person_is_waited_for_where_the_policy_asks_for_one(lived: Library) -> None:
    before = champion(lived)
    changes = easy(lived).model
    policy = changes.promotion.model_copy(update={"policy": "approval"})
    target = Target(lived.use_case, changes.model_copy(update={"promotion": policy}))
    done = fight(lived, target)
    assert (done.outcome, done.promotion, done.evaluation.passed) == ("waiting", None, True)
    assert champion(lived).id == before.id and "waits for a person" in done.sentence()
    promoted = promotion.approve_waiting(lived.platform, target, "ada", "looks right")
    assert promoted.model_digest == done.evaluation.model_digest == champion(lived).model_digest


def test_an_incident_is_won_against_the_champion_and_its_recalibration(drifted: Library) -> None:
    target = guarded(drifted, {"maximum_bias": 1.0}, segment_harm=9.0, onset_weights=(1.0, 15.0))
    done = fight(drifted, target, "incident", ONSET)
    assert {"bias", "slices", "champion", "recalibrated", "refit"} == set(gates(done)), gates(done)
    assert gates(done)["champion"] == "PASS"
    (line,) = [x for x in done.log if "weight after the onset" in x]
    losses = {w: float(v) for w, v in (p.split(" → ") for p in line.split(": ")[1].split(", "))}
    assert set(losses) == {"1", "15"} and losses[f"{done.weight:g}"] == min(losses.values())
    assert (done.outcome == "promoted") == (set(gates(done).values()) == {"PASS"})
    assert (champion(drifted).version == 2) == (done.outcome == "promoted")


def test_the_only_weight_in_the_settings_is_taken(drifted: Library) -> None:
    done = fight(drifted, guarded(drifted, onset_weights=(5.0,)), "incident", ONSET)
    assert done.weight == 5.0 and "5 → " in " ".join(done.log)


def test_a_world_that_turned_round_is_seen(drifted: Library) -> None:
    found = diagnosed(drifted, guarded(drifted))
    known = {s.name: s.state for s in found.diagnosis.steps}
    assert known["harm"] == "FAIL" or known["concept"] == "FAIL", known
    assert found.verdict.verdict not in {"none", "fix_data", "fix_serving", "block_training"}


# --- recalibration ----------------------------------------------------------------------------------


def spoil_calibrator(library: Library, target: Target) -> Promotion:
    """Promote the champion's trees with a calibrator that says too much, by the ledger's own way."""
    before = champion(library)
    model = load_champion(library.platform, before.model_digest)
    bad = replace(model, calibrator=Calibrator("platt", (3.0,), (2.0,)))
    digest = library.platform.lake.put(bundle.to_bytes(bad))
    old = promotions.model(library.platform.ledger, before.model_digest)
    kept = {c.name: getattr(old, c.name) for c in Model.__table__.columns}
    promotions.record_model(library.platform.ledger, Model(**kept | {"digest": digest}))
    assert before.evaluation_id is not None
    judged = promotions.evaluation(library.platform.ledger, before.evaluation_id)
    row = Evaluation(
        model_key=target.key,
        model_digest=digest,
        against_digest=before.model_digest,
        dataset_version=judged.dataset_version,
        passed=True,
        gates=judged.gates,
        evidence_digest=judged.evidence_digest,
        as_of=library.now,
        recorded_at=wall_now(),
    )
    promotions.record_evaluation(library.platform.ledger, row)
    return promotions.promote(library.platform.ledger, row, as_of=library.now, who="eve", why="spoilt")


def test_too_few_weeks_are_not_recalibrated(early: Library) -> None:
    with pytest.raises(NotReadyError, match="0 matured partitions were served by the champion; 7 are needed"):
        recalibrate(early.platform, guarded(early), early.now, who="policy", why="a test")


@pytest.fixture(scope="module")
def miscalibrated_home(replayed: Replayed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion that says too much has served for as long as a recalibration needs."""
    library = copied(replayed.early, tmp_path_factory.mktemp("miscalibrated"))
    target = guarded(library)
    spoil_calibrator(library, target)
    live(library, target, library.weeks("2020-09-21", "2020-11-30"))
    library.close()
    return library.platform.home


@pytest.fixture
def miscalibrated(miscalibrated_home: Path, tmp_path: Path) -> Library:
    return copied(miscalibrated_home, tmp_path)


def test_a_spoilt_calibrator_is_mended_and_its_reference_can_be_used(miscalibrated: Library) -> None:
    early, target = miscalibrated, guarded(miscalibrated)
    spoilt = champion(early)
    done = recalibrate(early.platform, target, early.now, who="policy", why="a test")
    assert done.outcome == "promoted" and gates(done) == {"recalibrated": "PASS"}, done.evaluation.gates
    assert done.evaluation.gates[0]["measured"] > 0
    now = champion(early)
    assert (now.version, now.model_digest) == (spoilt.version + 1, done.evaluation.model_digest)
    old, new = (load_champion(early.platform, p.model_digest) for p in (spoilt, now))
    assert new.calibrator != old.calibrator and new.provenance == old.provenance
    frozen = reference_of(early.platform, target, now)
    assert frozen.rows is not None, frozen.reason
    assert set(frozen.rows["probability"].to_pylist()) == set(new.predict(frozen.rows).tolist())
    assert len(frozen.partitions) == 7 and {"late", *target.model.feature_names} <= set(
        frozen.rows.column_names
    )
    found = diagnosed(early, target)
    assert found.gathered.evidence.of("contract").state != "UNKNOWN"
    # The monitors read the same reference: they went on to judge after a recalibration as before it.
    assert monitors.drifting(early.platform, target, early.now).report.reference == tuple(frozen.partitions)
    assert monitors.performance(early.platform, target, early.now).report.mature


def test_a_recalibration_that_does_not_help_is_rejected(lived: Library) -> None:
    before = champion(lived)
    target = guarded(lived, incident_confidence=0.999)
    done = recalibrate(lived.platform, target, lived.now, who="policy", why="a test")
    assert (done.outcome, done.promotion) == ("rejected", None) and gates(done) == {"recalibrated": "FAIL"}
    assert champion(lived).id == before.id


def test_a_recalibration_waits_for_a_person_where_the_policy_asks_for_one(miscalibrated: Library) -> None:
    early, target = miscalibrated, guarded(miscalibrated)
    spoilt = champion(early)
    policy = target.model.promotion.model_copy(update={"policy": "approval"})
    by_person = Target(early.use_case, target.model.model_copy(update={"promotion": policy}))
    done = recalibrate(early.platform, by_person, early.now, who="policy", why="a test")
    assert (done.outcome, done.promotion, done.evaluation.passed) == ("waiting", None, True)
    assert champion(early).id == spoilt.id
