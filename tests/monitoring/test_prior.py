"""A new prior of several classes, told from a changed rule."""

import numpy as np
import pandas as pd
import pytest
from scipy import special
from test_concept import DEPOTS, FEATURES, key

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.kinds.multiclass import Multiclass
from ml_platform.kinds.regression import Regression
from ml_platform.monitoring.concept import ConceptReport, concept_change
from ml_platform.monitoring.prior import to_level, to_shares

BANDS = Multiclass(("on_time", "late", "very_late", "lost"))
ONSET = 28
RNG = np.random.default_rng(2)


def drawn(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One class of each row."""
    return (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def parcels(
    seed: int,
    *,
    odds: tuple[float, ...] = (1, 1, 1, 1),
    inverted: tuple[int, ...] = (),
    rows: int = 900,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """28 days and 28 more: odds multiplied, or risks exchanged in some depots."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(56), rows)
    late = (day >= ONSET)[:, None]
    depot, hour = rng.integers(0, 6, day.size), rng.integers(6, 22, day.size)
    risk = 0.15 * (hour - 14) + 0.4 * np.sin(depot) + rng.normal(0, 0.7, day.size)
    slopes, base = np.array([0.0, 0.8, 1.4, 1.0]), np.array([1.6, 0.0, -0.7, -1.6])
    logits = base + risk[:, None] * slopes
    shocks = 0.12 * rng.standard_normal(56)[day][:, None] * (slopes > 0)
    truth = np.where(late & np.isin(depot, inverted)[:, None], base - risk[:, None] * slopes, logits)
    shares = special.softmax(truth + shocks + np.log(odds) * late, axis=1)
    label = drawn(shares, rng)
    scores = special.softmax(logits, axis=1)
    names = np.array([key(d) for d in range(56)])[day]
    frame = pd.DataFrame({"partition_key": names, "label": label, "depot": DEPOTS[depot], "hour": hour})
    frame = frame.assign(**BANDS.columns(scores))
    return frame[day < ONSET], frame[day >= ONSET]


def compare(reference: pd.DataFrame, current: pd.DataFrame) -> ConceptReport:
    return concept_change(
        reference,
        current,
        label="label",
        kind=BANDS,
        features=FEATURES,
        segments=["depot", "hour"],
        settings=DiagnosisConfig(),
    )


def test_the_same_rule_is_no_change() -> None:
    assert sum(compare(*parcels(seed)).kind != "none" for seed in range(6)) <= 1


@pytest.mark.parametrize("odds", [(1, 2.2, 2.2, 2.2), (1, 0.35, 2.5, 1)])
def test_new_shares_of_the_classes_are_a_prior_shift(odds: tuple[float, ...]) -> None:
    reports = [compare(*parcels(seed, odds=odds)) for seed in range(5)]
    assert sum(r.kind == "prior" for r in reports) >= 4
    assert {r.onset for r in reports if r.kind == "prior"} == {key(ONSET)}
    assert all({f.statistic for f in r.findings().failed} == {"bias"} for r in reports if r.kind == "prior")


def test_one_class_against_the_rest_would_take_it_for_another_rule() -> None:
    reference, current = parcels(1, odds=(1, 3, 8, 3))
    alone = concept_change(
        *(
            f.assign(label=(f["label"] == 1).astype(int), probability=f["probability_late"])
            for f in (reference, current)
        ),
        label="label",
        kind=Binary(),
        features=FEATURES,
        segments=["depot", "hour"],
        settings=DiagnosisConfig(),
    )
    assert alone.kind == "concept"
    assert compare(reference, current).kind == "prior"


def test_exchanged_risks_are_another_rule_whatever_the_shares() -> None:
    for odds in ((1, 1, 1, 1), (1, 2.2, 2.2, 2.2)):
        reports = [compare(*parcels(seed, odds=odds, inverted=(1, 4))) for seed in range(3)]
        assert {r.kind for r in reports} == {"concept"}
        assert all(any("depot=D01" in f.subject for f in r.findings().failed) for r in reports)
        assert {r.onset for r in reports} == {key(ONSET)}


def test_a_rare_class_is_told_so_and_the_others_are_judged() -> None:
    reference, current = (f[(f["label"] != 3) | (f.index % 100 == 0)] for f in parcels(1))
    report = compare(reference, current)
    rare = next(f for f in report.others if f.subject == "lost")
    assert rare.state == "UNDERPOWERED" and "too few" in rare.detail and "lost" in report.reason
    assert {f.subject for f in report.others} == set(BANDS.classes)
    assert not any(f.subject.startswith("lost") for f in report.deciding)


def test_the_factors_of_a_new_prior_are_found_again() -> None:
    rows, factors = 60_000, np.array([1.0, 0.3, 4.0, 8.0])
    expected = special.softmax(RNG.normal([3, 1, 0, -1], 1.5, (rows, 4)), axis=1)
    truth = expected * factors / (expected * factors).sum(axis=1, keepdims=True)
    outcomes, weight = np.eye(4)[drawn(truth, RNG)], RNG.random(rows) + 0.5
    shifted = to_shares(expected, outcomes, weight)
    found = (shifted / expected)[:, 1:] / (shifted / expected)[:, :1]
    assert np.ptp(found, axis=0) == pytest.approx(0, abs=1e-6), "the same factor everywhere"
    assert found[0] == pytest.approx(factors[1:], rel=0.06)
    assert weight @ shifted == pytest.approx(weight @ outcomes), "the likelihood is at its maximum"


def test_a_class_that_never_came_keeps_a_probability() -> None:
    expected = np.tile([[0.7, 0.2, 0.1]], (500, 1))
    outcomes = np.eye(3)[np.arange(500) % 2]
    shifted = to_shares(expected, outcomes, np.ones(500))
    assert shifted[0] == pytest.approx([0.5, 0.5, 0.001], abs=1e-3) and (shifted > 0).all()


def test_a_yes_or_no_moves_in_logits_and_a_number_by_a_constant() -> None:
    probabilities = RNG.uniform(0.05, 0.9, (3000, 1))
    outcomes = (RNG.random((3000, 1)) < 0.6).astype(float)
    weight = RNG.random(3000)
    level = to_level(probabilities, outcomes, weight, bounded=True)
    assert np.ptp(special.logit(level) - special.logit(probabilities)) < 1e-8
    assert weight @ level == pytest.approx(weight @ outcomes)


def test_numbers_move_along_the_line_that_fits_them() -> None:
    scores, weight = RNG.normal(5, 2, (3000, 1)), RNG.random(3000)
    outcomes = 1.5 * scores + 2 + RNG.normal(0, 1, scores.shape)
    slope, level = np.polyfit(scores[:, 0], outcomes[:, 0], 1, w=np.sqrt(weight))
    moved = to_level(scores, outcomes, weight, bounded=False)
    assert moved[:, 0] == pytest.approx(slope * scores[:, 0] + level)
    # What falls, or has nothing to fall along, moves by a constant only.
    assert to_level(scores, -outcomes, weight, bounded=False) - scores == pytest.approx(
        np.average((-outcomes - scores)[:, 0], weights=weight)
    )
    same = np.full_like(scores, 3.0)
    assert to_level(same, outcomes, weight, bounded=False) == pytest.approx(
        np.average(outcomes[:, 0], weights=weight)
    )


def hours(seed: int, *, growth: float = 1.0, inverted: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """28 days and 28 more of a number: everything grows, or it falls where it rose in some depots."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(56), 600)
    depot, load = rng.integers(0, 6, day.size), rng.gamma(3, 1, day.size)
    expected = 2 + load + 0.3 * depot
    truth = np.where(inverted & (day >= ONSET) & (depot < 2), 12 - expected, expected)
    shock = 0.15 * rng.standard_normal(56)[day]
    label = (truth + shock) * np.where(day >= ONSET, growth, 1) + rng.normal(0, 1, day.size)
    names = np.array([key(d) for d in range(56)])[day]
    frame = pd.DataFrame(
        {"partition_key": names, "label": label, "depot": DEPOTS[depot], "prediction": expected}
    )
    return frame[day < ONSET], frame[day >= ONSET]


@pytest.mark.parametrize(
    ("growth", "inverted", "kind"),
    [(1, False, "none"), (1.5, False, "prior"), (1, True, "concept"), (1.5, True, "concept")],
)
def test_a_number_that_grows_everywhere_is_recalibrated_and_another_rule_is_not(
    growth: float, inverted: bool, kind: str
) -> None:
    for seed in range(3):
        assert of_numbers(*hours(seed, growth=growth, inverted=inverted)).kind == kind, seed


def of_numbers(reference: pd.DataFrame, current: pd.DataFrame) -> ConceptReport:
    return concept_change(
        reference,
        current,
        label="label",
        kind=Regression(),
        features=FEATURES,
        segments=["depot"],
        settings=DiagnosisConfig(),
    )


def bills(seed: int, *, growth: float = 1.0, inverted: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """28 days and 14 more of amounts whose spread grows with them; in the last six days something changed."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(42), 90)
    depot, load, late = rng.integers(0, 6, day.size), rng.gamma(3, 1, day.size), day >= 36
    expected = 2 + load + 1.2 * depot
    truth = np.where(inverted & late & (depot < 2), 12 - expected, expected)
    shock = 0.15 * rng.standard_normal(42)[day]
    label = (truth * rng.gamma(12, 1 / 12, day.size) + shock) * np.where(late, growth, 1)
    names = np.array([key(d) for d in range(42)])[day]
    frame = pd.DataFrame(
        {"partition_key": names, "label": label, "depot": DEPOTS[depot], "prediction": expected}
    )
    return frame[day < ONSET], frame[day >= ONSET]


def test_a_level_that_moves_amid_the_window_is_a_suspicion_before_the_days_can_tell() -> None:
    """Segments that are larger grow by more, which contrasts see before the bias does."""
    reports = [of_numbers(*bills(seed, growth=1.5)) for seed in range(12)]
    assert not [r for r in reports if r.kind == "concept"]
    suspicions = [f for r in reports for f in r.findings().suspicions]
    assert any("A level that moved everywhere could explain it" in f.detail for f in suspicions)
    assert all(f.state == "UNDERPOWERED" for f in suspicions)


def test_another_rule_amid_the_window_is_found_as_before() -> None:
    assert sum(of_numbers(*bills(seed, inverted=True)).kind == "concept" for seed in range(12)) >= 9


def test_a_steeper_line_alone_is_recalibrated() -> None:
    """What a calibrator mends, the mean unmoved: numbers lie along a line, so the slope is a part of it."""
    reference, current = hours(1)
    centre = reference["prediction"].mean()
    steeper = current.assign(label=current["label"] + 0.6 * (current["prediction"] - centre))
    report = of_numbers(reference, steeper)
    assert report.kind == "prior"
    assert abs(report.bias.estimate or 0) < report.bias.floor
    assert report.bias.detail.startswith("The slope of residuals on the score changed by +")
    assert report.findings().failed == (report.bias,)
