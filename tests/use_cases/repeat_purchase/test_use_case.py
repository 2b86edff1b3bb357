"""The settings in dates: what trains, what gates, what lies between, and what can be judged at all."""

import datetime as dt

from ml_platform.config import UseCase
from ml_platform.lifecycle.checking import check_data
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.training_data import windows

from .conftest import monday


def test_a_monday_scores_its_own_week_at_six(use_case: UseCase) -> None:
    assert use_case.cutoff("1998-01-05") == monday("1998-01-05")


def test_a_week_matures_when_its_ninety_days_are_over(use_case: UseCase) -> None:
    model = use_case.config.models[0]
    assert use_case.last_mature(model, monday("1998-06-29")) == "1998-03-30"
    for week in use_case.scheme.keys("1997-01-06", "1998-03-30"):
        over = dt.datetime.fromisoformat(week).replace(tzinfo=dt.UTC) + dt.timedelta(days=90, hours=4)
        ripe = use_case.cutoff(use_case.scheme.shift(week, model.label.maturity_partitions))
        assert over <= ripe < over + dt.timedelta(weeks=1)


def test_the_check_asks_for_no_longer_lookback_where_labels_follow_from_later_rows(use_case: UseCase) -> None:
    """Outcomes come with the weeks of later purchases; no week is asked for again to learn them."""
    told = [r.what for r in check_data(use_case) if r.level != "note"]
    assert told and not [what for what in told if "lookback" in what or "come later" in what]


def test_no_outcome_of_the_training_weeks_is_shared_with_the_gate(use_case: UseCase) -> None:
    demo, target = use_case.config.demo, Target(use_case, use_case.config.models[0])
    assert demo is not None
    found = windows(target, demo.promote_at)
    assert (found.train[0], found.train[-1]) == ("1997-04-28", "1997-06-16")
    assert (found.gate[0], found.gate[-1]) == ("1997-09-15", "1997-10-06")
    last_outcome = dt.date.fromisoformat(found.train[-1]) + dt.timedelta(days=89)
    assert last_outcome < dt.date.fromisoformat(found.gate[0])


def test_the_demo_judges_what_it_served(use_case: UseCase) -> None:
    demo, model = use_case.config.demo, use_case.config.models[0]
    assert demo is not None and use_case.config.timeline.start == demo.promote_at
    assert use_case.last_mature(model, demo.judge_at) >= demo.serve_last.isoformat()


def test_late_labels_are_declared(use_case: UseCase) -> None:
    for model in use_case.config.models:
        assert model.diagnosis.block_partitions == model.label.maturity_partitions == 13
        assert model.retraining.freshness_partitions >= 13 + model.retraining.freshness_gate
        assert model.sample == "entity"
