"""Builders of evidence, and the table of cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ml_platform.diagnosis.evidence import Evidence, IncidentFacts, PromotionFacts, TrainingFacts
from ml_platform.diagnosis.steps import STEPS
from ml_platform.statistics.finding import ROWS_NEEDED, Finding, Findings

DAY = "2013-06-09"


def finding(statistic: str, subject: str = "all", state: Any = "FAIL", **more: Any) -> Finding:
    return Finding(statistic, subject, state, f"{statistic} of {subject}", **more)


def promotion(age: int = 20, partition: str = "2013-05-20", **more: Any) -> PromotionFacts:
    return PromotionFacts(
        "7", datetime(2013, 5, 20, tzinfo=UTC), partition, age, age, max(age - 7, 0), **more
    )


def incident(since: int, **more: Any) -> IncidentFacts:
    return IncidentFacts("abc", "2013-05-01", since, **more)


def evidence(*broken: tuple[str, Finding], unknown: tuple[str, ...] = (), **more: Any) -> Evidence:
    items: dict[str, list[Finding]] = {s.name: [finding("check", state="PASS")] for s in STEPS}
    for step, item in broken:
        items[step] = [*(f for f in items[step] if f.statistic != "check"), item]
    found = {k: Findings.of(k, v) for k, v in items.items() if k not in unknown}
    more.setdefault("promotion", promotion())
    more.setdefault("training", TrainingFacts(partitions=90))
    more.setdefault("matured_partitions", 14)
    return Evidence("orders/late", DAY, datetime(2013, 6, 10, 5, tzinfo=UTC), found, **more)


NULLS = (
    "contract",
    finding("null_rate", "stock.temp", estimate=0.6, floor=0.05, partitions=("2013-06-08", DAY)),
)
UNIT = ("units", finding("unit", "stock.temp", estimate=0.9, floor=0.2, partitions=("2013-06-08",)))
SKEW = ("skew", finding("mismatch", "temp", estimate=0.5, floor=0.01, partitions=(DAY,)))
LABEL = ("label_definition", finding("mismatch", estimate=0.2, floor=0.01))
HAZARD = ("maturity", finding("delay_hazard", estimate=1.5))
FEWER = ("maturity", finding("positive_hazard", estimate=-0.4, partitions=(DAY,)))
YOUNG = ("maturity", finding("share_known", estimate=0.6, floor=0.95))
FEW = ("volume", finding("rows", estimate=500.0, floor=1000.0, blocks=5))
HARM = ("harm", finding("loss_change", estimate=0.08, floor=0.05))
WEAK_HARM = ("harm", finding("loss_change", state="UNDERPOWERED", minimal_detectable_effect=0.1, floor=0.05))
BIAS = ("concept", finding("bias", estimate=0.08, floor=0.05))
CONTRAST = ("concept", finding("contrast", "branch=UA", estimate=0.1, floor=0.03))
SLOPE = ("concept", finding("slope", estimate=-0.5, floor=0.3))
X_LOSS = ("covariates", finding("estimated_loss_change", estimate=0.07, floor=0.05))
X_LESS = ("covariates", finding("estimated_loss_change", state="PASS", estimate=0.01, floor=0.05))
WEIGHTED = ("covariates", finding("density_weighted_loss_change", estimate=0.07, floor=0.05))
WEIGHTED_LESS = (
    "covariates",
    finding("density_weighted_loss_change", state="PASS", estimate=0.01, floor=0.05),
)
WEIGHTED_UNKNOWN = ("covariates", finding("density_weighted_loss_change", state="UNKNOWN"))
DRIFT = ("covariates", finding("domain_auc", "distance", estimate=0.8, floor=0.6))
REGION = ("covariates", finding("unseen_region", "place=XYZ", facts={"labelled_rows": 400}))
NEW_REGION = ("covariates", finding("unseen_region", "place=XYZ", facts={"labelled_rows": 40}))
LEAK = ("leakage", finding("known_after_cutoff", "wait_minutes"))
GAP = ("leakage", finding("live_gap", estimate=0.1))
HOLIDAYS = ("season", finding("known_events", partitions=("2013-06-01", "2013-06-02")))
YEARLY = ("season", finding("same_season"))
RARE = ("season", finding("single_day", partitions=("2013-06-01",)))


def weak(mde: float, **more: Any) -> tuple[str, Finding]:
    numbers = {"minimal_detectable_effect": mde, "floor": 0.03, "estimate": 0.05, "blocks": 42} | more
    return "concept", finding("contrast", "branch=B6", "UNDERPOWERED", **numbers)


def suspicion(mde: float) -> tuple[str, Finding]:
    return weak(mde, suspicion=True)


def small(rows: int) -> tuple[str, Finding]:
    """A segment that stands out, and is tested from 200 rows on."""
    facts = {ROWS_NEEDED: 200}
    return weak(0.3, suspicion=True, facts=facts, rows=rows)


@dataclass(frozen=True)
class Case:
    name: str
    evidence: Evidence
    verdict: str
    cause: str
    more: dict[str, Any] = field(default_factory=dict)


def case(name: str, seen: Evidence, verdict: str, cause: str, **more: Any) -> Case:
    return Case(name, seen, verdict, cause, more)


E = evidence
T = frozenset({"temp"})
OLD = promotion(45)
HELD = TrainingFacts({"2013-04-02": "incident x"}, 90)
LATE = "2013-06-05"
LONG = {"skew": "2013-05-01"}
CASES = [
    case("nothing", E(), "none", "", kind=None),
    case(
        "null spike",
        E(NULLS),
        "fix_data",
        "data:contract",
        onset="2013-06-08",
        quarantined=("2013-06-08", DAY),
    ),
    case("null spike + immature labels", E(NULLS, YOUNG), "fix_data", "data:contract"),
    case(
        "null spike in serving only",
        E(("contract", finding("null_rate", "temp")), broken_served=T),
        "fix_serving",
        "data:serving",
    ),
    case("unit change", E(UNIT), "fix_data", "data:units"),
    case("unit change, not a covariate shift", E(UNIT, DRIFT, X_LOSS, HARM), "fix_data", "data:units"),
    case(
        "unit change + concept drift",
        E(UNIT, HARM, CONTRAST, concept_kind="concept"),
        "fix_data",
        "data:units",
    ),
    case("skew: served only", E(SKEW, broken_served=T), "fix_serving", "data:serving"),
    case("skew: rebuilt only", E(SKEW, broken_rebuilt=T), "block_training", "data:training"),
    case("skew: both is upstream", E(SKEW, broken_served=T, broken_rebuilt=T), "fix_data", "data:skew"),
    case("skew without a broken side", E(SKEW), "fix_serving", "data:serving"),
    case("2x2 alone: both", E(broken_served=T, broken_rebuilt=T), "fix_data", "data:features"),
    case("2x2 alone: served", E(broken_served=T), "fix_serving", "data:serving", quarantined=(DAY,)),
    case("2x2 alone: rebuilt", E(broken_rebuilt=T), "block_training", "data:training"),
    case("upstream before skew", E(NULLS, SKEW, broken_served=T), "fix_data", "data:contract"),
    case(
        "label definition, not a prior shift",
        E(LABEL, BIAS, concept_kind="prior"),
        "fix_data",
        "data:label_definition",
    ),
    case("delay hazard", E(HAZARD), "fix_data", "data:label_delay"),
    case("positives of young cohorts stay away", E(FEWER, HARM), "escalate", "positive_hazard", onset=DAY),
    case("delay hazard before immaturity", E(HAZARD, YOUNG, HARM), "fix_data", "data:label_delay"),
    case(
        "immature, not degraded",
        E(YOUNG, HARM),
        "wait_for_labels",
        "immature_labels",
        recheck_at_partitions=7,
    ),
    case(
        "immature and concept",
        E(YOUNG, CONTRAST, concept_kind="concept"),
        "wait_for_labels",
        "immature_labels",
    ),
    case("too few", E(FEW), "wait_for_labels", "volume", recheck_at_partitions=5),
    case("volume unknown", E(CONTRAST, unknown=("volume",)), "wait_for_labels", "volume"),
    case("leak needs no live labels", E(FEW, LEAK), "rollback", "leakage"),
    case(
        "concept",
        E(HARM, CONTRAST, concept_kind="concept", concept_onset=LATE),
        "retrain",
        "concept",
        kind="incident",
        onset=LATE,
        subjects=("branch=UA",),
    ),
    case("concept without visible harm", E(WEAK_HARM, SLOPE), "retrain", "concept"),
    case("concept + benign drift elsewhere", E(DRIFT, CONTRAST), "retrain", "concept"),
    case("bias first: prior", E(HARM, BIAS, concept_kind="prior"), "recalibrate", "prior_shift"),
    case(
        "bias, and a segment that is still too small to be tested",
        E(HARM, BIAS, small(180), concept_kind="prior"),
        "wait_for_labels",
        "prior_shift",
        subjects=("branch=B6",),
        recheck_at_partitions=2,
    ),
    case(
        "bias, and a segment that stays too small",
        E(HARM, BIAS, small(20), concept_kind="prior"),
        "recalibrate",
        "prior_shift",
    ),
    case("bias and a contrast on recalibrated residuals", E(BIAS, CONTRAST), "retrain", "concept"),
    case("harder days", E(HARM, X_LOSS), "none", "covariate_shift"),
    case("harder days, concept underpowered", E(HARM, X_LOSS, weak(0.05)), "none", "covariate_shift"),
    case("harder days, seen with the density alone", E(HARM, X_LESS, WEIGHTED), "none", "covariate_shift"),
    case(
        "harder by the score, not by the density", E(HARM, X_LOSS, WEIGHTED_LESS), "escalate", "contradiction"
    ),
    case("harder days, density unknown", E(HARM, X_LOSS, WEIGHTED_UNKNOWN), "none", "covariate_shift"),
    case("harm unexplained, density unknown", E(HARM, X_LESS, WEIGHTED_UNKNOWN), "escalate", "contradiction"),
    case("benign drift", E(DRIFT), "none", "benign_drift"),
    case("benign drift of an old model", E(DRIFT, promotion=OLD), "retrain", "freshness"),
    case("benign drift of every year", E(DRIFT, YEARLY), "none", "benign_drift"),
    case("benign drift of every year, old model", E(DRIFT, YEARLY, promotion=OLD), "retrain", "freshness"),
    case("new region with labels", E(REGION), "retrain", "new_region", kind="incident"),
    case("new region without labels", E(NEW_REGION), "wait_for_labels", "new_region"),
    case("leakage", E(LEAK, HARM), "rollback", "leakage"),
    case("gap from the first day", E(GAP, HARM), "rollback", "regression", onset="2013-05-20"),
    case(
        "gap, concept from the first day",
        E(GAP, CONTRAST, concept_onset="2013-05-22"),
        "rollback",
        "regression",
    ),
    case("gap, concept began later", E(GAP, CONTRAST, concept_onset=LATE), "escalate", "contradiction"),
    case(
        "leakage of a first champion",
        E(LEAK, promotion=promotion(previous_exists=False)),
        "escalate",
        "leakage",
    ),
    case("skew, not leakage", E(SKEW, GAP, broken_served=T), "fix_serving", "data:serving"),
    case("season", E(HARM, CONTRAST, older_season_model_wins=True), "rollback", "season"),
    case(
        "season, an older model than the one before",
        E(HARM, CONTRAST, older_season_model_wins=True, older_season_model="v2"),
        "rollback",
        "season",
        restores="v2",
    ),
    case("older model loses", E(HARM, CONTRAST, older_season_model_wins=False), "retrain", "concept"),
    case("rare day", E(HARM, RARE), "none", "rare_day"),
    case("rare day of an old model", E(CONTRAST, RARE, promotion=OLD), "none", "rare_day"),
    case(
        "a known event of several days",
        E(HARM, HOLIDAYS, events={"2013-06-01": "Fair", "2013-06-02": "Fair"}),
        "none",
        "rare_day",
        subjects=("2013-06-01", "2013-06-02"),
        sentence="A rare day, not a trend: without 2013-06-01 (Fair), 2013-06-02 (Fair) the alarm vanishes.",
    ),
    case("a known event beside a calm loss", E(HOLIDAYS), "none", ""),
    case("suspicion", E(suspicion(0.033)), "wait_for_labels", "concept", recheck_at_partitions=5),
    case("suspicion nobody can decide", E(suspicion(0.09)), "none", "undecidable_suspicion"),
    case(
        "suspicion for a long window",
        E(
            suspicion(0.04),
        ),
        "wait_for_labels",
        "concept",
        recheck_at_partitions=27,
    ),
    case(
        "suspicion, window is full", E(weak(0.04, suspicion=True, blocks=70)), "none", "undecidable_suspicion"
    ),
    case("underpowered is no suspicion", E(weak(0.05), WEAK_HARM), "none", ""),
    case(
        "harm, concept can be decided",
        E(HARM, weak(0.033)),
        "wait_for_labels",
        "harm",
        recheck_at_partitions=5,
    ),
    case("harm, concept never", E(HARM, weak(0.09)), "escalate", "harm"),
    case("harm unexplained", E(HARM), "escalate", "contradiction"),
    case("harm, concept unknown", E(HARM, unknown=("concept",)), "wait_for_labels", "harm"),
    case("harm, covariates unknown", E(HARM, unknown=("covariates",)), "wait_for_labels", "harm"),
    case("kind none, contrast fails", E(CONTRAST, concept_kind="none"), "escalate", "contradiction"),
    case("kind prior, slope fails", E(SLOPE, concept_kind="prior"), "escalate", "contradiction"),
    case("kind concept, nothing fails", E(concept_kind="concept"), "escalate", "contradiction"),
    *(
        case(f"concept, {s} unknown", E(CONTRAST, unknown=(s,)), "wait_for_labels", "concept", kind=None)
        for s in ("contract", "units", "skew", "label_definition", "maturity")
    ),
    case(
        "prior, labels not replayed", E(BIAS, unknown=("label_definition",)), "wait_for_labels", "prior_shift"
    ),
    case("all unknown", E(unknown=tuple(s.name for s in STEPS)), "wait_for_labels", "volume"),
    case("all unknown in 1-5", E(unknown=tuple(s.name for s in STEPS[:5]), promotion=OLD), "none", ""),
    case(
        "unknown for long", E(CONTRAST, unknown=("skew",), open_incident=incident(29)), "escalate", "concept"
    ),
    case(
        "unanswered for eight partitions",
        E(unknown=("skew",), unanswered_since={"skew": "2013-06-02"}),
        "escalate",
        "unknown_evidence",
        subjects=("skew",),
        onset="2013-06-02",
    ),
    case("unanswered for seven", E(unknown=("skew",), unanswered_since={"skew": "2013-06-03"}), "none", ""),
    case(
        "unanswered, the longest counts",
        E(unknown=("skew", "units"), unanswered_since={"skew": "2013-06-09", "units": "2013-05-20"}),
        "escalate",
        "unknown_evidence",
        subjects=("units",),
    ),
    case(
        "unanswered, and drifting",
        E(DRIFT, unknown=("skew",), unanswered_since=LONG),
        "escalate",
        "unknown_evidence",
    ),
    case(
        "unanswered, and too few",
        E(FEW, unknown=("maturity",), unanswered_since={"maturity": "2013-05-01"}),
        "escalate",
        "unknown_evidence",
    ),
    case(
        "unanswered, and broken",
        E(NULLS, unknown=("skew",), unanswered_since=LONG),
        "fix_data",
        "data:contract",
    ),
    case(
        "unanswered, and a concept",
        E(CONTRAST, unknown=("skew",), unanswered_since=LONG),
        "wait_for_labels",
        "concept",
    ),
    case(
        "unanswered, and an incident tells somebody",
        E(unknown=("skew",), unanswered_since=LONG, open_incident=incident(3, cause="concept")),
        "none",
        "",
    ),
    case(
        "still unanswered",
        E(unknown=("skew",), unanswered_since=LONG, open_incident=incident(3, cause="unknown_evidence")),
        "escalate",
        "unknown_evidence",
    ),
    case("unanswered season", E(unknown=("season",), unanswered_since={"season": "2012-01-01"}), "none", ""),
    case("window not green", E(CONTRAST, training=HELD), "fix_data", "concept", quarantined=("2013-04-02",)),
    case("window not known", E(CONTRAST, training=TrainingFacts()), "wait_for_labels", "concept"),
    case("freshness", E(promotion=OLD), "retrain", "freshness", kind="freshness"),
    case("freshness at 42", E(promotion=promotion(42)), "retrain", "freshness"),
    case("not yet due", E(promotion=promotion(41)), "none", ""),
    case("freshness, window not green", E(promotion=OLD, training=HELD), "none", ""),
    case("freshness, incident open", E(promotion=OLD, open_incident=incident(3)), "none", ""),
    case("no champion", E(promotion=None), "none", ""),
    case("deadline", E(CONTRAST, open_incident=incident(29)), "escalate", "concept"),
    case("deadline, today", E(CONTRAST, open_incident=incident(28)), "retrain", "concept"),
    case("deadline, decided", E(CONTRAST, open_incident=incident(40, decided=True)), "retrain", "concept"),
    case(
        "deadline never hides broken data", E(NULLS, open_incident=incident(40)), "fix_data", "data:contract"
    ),
]
