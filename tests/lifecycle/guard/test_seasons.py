"""An earlier champion of the same season against the one in force, and what a season ago brought."""

from typing import Any

import pytest
from guarded import champion, guarded, live
from library import Library, spoil

from ml_platform.lifecycle.guard import seasons
from ml_platform.lifecycle.guard.evidence import gather
from ml_platform.lifecycle.guard.evidence_tables import Tables
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.platform import Target
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import COMMITTED, Model, Promotion

SEASON = 20
"""Weeks: what the first champions were trained on lies so far before the weeks they serve."""
ALARM: dict[str, Any] = {"p_value": 0.999, "false_discovery_rate": 0.999, "bias_floor": 1e-6}
LONG = {"concept_partitions": 8, "maximum_partitions": 8, "season_partitions": SEASON}


def target_of(library: Library, **settings: Any) -> Target:
    return library.model(diagnosis={**guarded(library).model.diagnosis.model_dump(), **settings})


@pytest.fixture
def older(lived: Library) -> Library:
    """The library with a champion before its first one: the other estimator of the same training."""
    now = champion(lived)
    with lived.platform.ledger.begin() as session:
        models = session.query(Model).filter(Model.model_key == lived.target.key).all()
        other = next(m for m in models if m.digest != now.model_digest)
        row = Promotion(
            model_key=lived.target.key,
            action="first",
            model_digest=other.digest,
            version=0,
            evaluation_id=None,
            previous_id=None,
            status=COMMITTED,
            who="ada",
            why="the year before",
            as_of=now.as_of,
            recorded_at=wall_now(),
        )
        session.add(row)
        session.flush()
        # It came before: of two promotions at one instant the later entry is in force.
        session.execute(Promotion.__table__.update().where(Promotion.id == row.id).values(id=-1))  # type: ignore[attr-defined]
    assert champion(lived).id == now.id
    return lived


def found_in(library: Library, target: Target) -> list[Finding]:
    evidence = gather(library.platform, target, library.now).evidence
    return [f for f in evidence.of("season").items if f.statistic == "older_season_model"]


def test_without_a_model_of_the_season_it_is_unknown_with_its_reason(older: Library) -> None:
    target = target_of(older, **LONG | {"season_partitions": None})
    (found,) = found_in(older, target)
    assert found.state == "UNKNOWN" and "no earlier champion was trained on this season" in found.detail
    assert gather(older.platform, target, older.now).evidence.older_season_model_wins is None


def test_without_an_alarm_nobody_is_scored(older: Library) -> None:
    assert found_in(older, target_of(older, **LONG)) == []


def test_where_something_fired_the_older_model_is_compared_on_the_same_days(older: Library) -> None:
    target = target_of(older, **LONG, **ALARM)
    (found,) = found_in(older, target)
    assert found.subject == "v0" and found.blocks == 7 and found.state == "UNDERPOWERED"
    assert found.estimate is not None and abs(found.estimate) < 0.2


def test_the_older_model_that_wins_is_named_and_one_that_cannot_be_read_is_unknown(older: Library) -> None:
    target = target_of(older, **LONG)
    live(older, target, older.weeks("2020-11-16", "2020-11-23"))
    tables = Tables(Live(older.platform, target, older.now, champion(older)))
    losses = seasons.realised(tables, tables.concept_keys)
    assert len(losses) == 8

    def compared(worse: float) -> Finding:
        told = {k: v + worse for k, v in losses.items()}
        (found,) = seasons.older_models(tables, told, floor=0.05, compare=True)
        return found

    fair, won = compared(0.0), compared(0.5)
    assert (won.state, won.subject) == ("FAIL", "v0") and fair.state != "FAIL"
    assert (won.estimate or 0) - (fair.estimate or 0) == pytest.approx(0.5)
    with older.platform.ledger.begin() as session:
        before = session.get(Promotion, -1)
    assert before is not None
    spoil(older, before.model_digest)
    assert compared(0.5).state == "UNKNOWN"


def test_what_came_a_season_ago_is_read_from_what_was_served_then(older: Library) -> None:
    target = target_of(older, **LONG | {"season_partitions": 4})
    tables = Tables(Live(older.platform, target, older.now, champion(older)))
    reference, current = older.weeks("2020-09-28", "2020-10-05"), older.weeks("2020-10-12", "2020-10-19")
    ago = seasons.a_season_ago(tables, reference, current)
    assert not isinstance(ago, str)
    assert [list(p) for p in ago] == [
        older.weeks("2020-08-31", "2020-09-07"),
        older.weeks("2020-09-14", "2020-09-21"),
    ]
    assert ago[0] == seasons.realised(tables, list(ago[0]))
    told = seasons.a_season_ago(tables, older.weeks("2020-08-31", "2020-09-07"), current)
    assert told == (
        "no predictions of the same season before: 0 of 2 weeks (2020-08-03 to 2020-08-10) were served, and "
        "data alone have no loss"
    )


def drift_in(library: Library, target: Target) -> Finding:
    evidence = gather(library.platform, target, library.now).evidence
    return next(f for f in evidence.of("season").items if f.statistic == "same_season")


def test_a_history_of_less_than_a_year_has_no_second_reference_and_says_so(lived: Library) -> None:
    found = drift_in(lived, target_of(lived, season_partitions=None))
    assert found.state == "UNKNOWN" and "the history begins on 2020-01-06" in found.detail
    assert "after 52 partitions" in found.detail


def test_features_of_the_same_season_are_the_second_reference(lived: Library) -> None:
    """Four weeks around the one eight weeks before, against the last three: too few to tell."""
    target = target_of(lived, season_partitions=8, reference_partitions=4)
    tables = Tables(Live(lived.platform, target, lived.now, champion(lived)))
    assert seasons._around_a_season_ago(tables) == lived.weeks("2020-08-31", "2020-09-21")
    drifted = Finding("domain_auc", "all", "FAIL", "it drifted", 0.9)
    found = seasons.drift_of_the_season(tables, Findings.of("covariates", [drifted]))
    assert (found.state, found.blocks) == ("UNDERPOWERED", 7) and "cannot be told" in found.detail
    assert "branch_late_rate" in found.facts["material"] and found.estimate is not None
    calm = Finding("domain_auc", "all", "PASS", "it did not", 0.5)
    assert seasons.drift_of_the_season(tables, Findings.of("covariates", [calm])).state == "PASS"
