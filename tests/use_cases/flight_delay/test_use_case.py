"""The settings: what they mean in dates, and that they name what there is."""

import datetime as dt

from ml_platform.config import UseCase
from ml_platform.features.dbt import CompiledViews


def test_an_evening_scores_the_next_day(use_case: UseCase) -> None:
    assert use_case.cutoff("2013-06-09") == dt.datetime(2013, 6, 9, 2, tzinfo=dt.UTC)
    assert use_case.cutoff("2013-03-11") == dt.datetime(2013, 3, 11, 2, tzinfo=dt.UTC)
    assert use_case.cutoff("2013-03-10") == dt.datetime(2013, 3, 10, 3, tzinfo=dt.UTC)
    assert use_case.cutoff("2013-01-01") == dt.datetime(2013, 1, 1, 3, tzinfo=dt.UTC)


def test_the_demo_trains_on_february_to_april_and_gates_on_may(use_case: UseCase) -> None:
    demo, model = use_case.config.demo, use_case.model("arrival_delay")
    assert demo is not None and use_case.config.timeline.start == demo.promote_at
    last = use_case.last_mature(model, demo.promote_at)
    gate = use_case.scheme.shift(last, 1 - model.windows.gate)
    train = use_case.scheme.shift(gate, -model.windows.train)
    assert (train, gate, last) == ("2013-02-01", "2013-05-01", "2013-05-28")
    assert use_case.cutoff(demo.serve_first.isoformat()) == demo.promote_at
    served = (demo.serve_last - demo.serve_first).days + 1
    assert served == 28
    assert use_case.last_mature(model, demo.judge_at) >= demo.serve_last.isoformat()


def test_every_feature_of_the_model_is_a_column_with_a_description(
    use_case: UseCase, views: CompiledViews
) -> None:
    for feature in use_case.model("arrival_delay").features:
        assert feature.name in views.features.columns
        assert feature.description and feature.feeds, feature.name


def test_the_label_is_a_column(use_case: UseCase, views: CompiledViews) -> None:
    assert use_case.model("arrival_delay").label.column in views.labels.columns


def test_features_look_back_no_further_than_they_are_given(use_case: UseCase) -> None:
    """60 days that end 11 days before the cutoff, which lies on the day before the partition."""
    assert use_case.config.views.history_partitions is not None
    assert use_case.config.views.history_partitions >= 11 + 60 + 1


def test_outcomes_are_asked_for_as_long_as_they_may_arrive(use_case: UseCase) -> None:
    wait = use_case.model("arrival_delay").label.maturity_partitions
    feed = use_case.feed("flight_outcomes")
    assert feed.lookback > wait - 1 and feed.arrival.complete_days >= wait
    for name in ("flight_schedule", "weather_observations"):
        due = use_case.due_at(use_case.feed(name), "2013-06-09")
        assert due <= use_case.cutoff("2013-06-10"), name
