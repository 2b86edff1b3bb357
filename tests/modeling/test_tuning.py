"""A search is seeded, never worse than where it began, and stops when its budget is spent."""

import time
from collections.abc import Mapping

from ml_platform.model_config import TuningConfig
from ml_platform.modeling.parameters import Parameter, Value
from ml_platform.modeling.tuning import TuningReport, tune

SPACE = {
    "leaves": Parameter(8, 2, 64, (4, 32), log=True),
    "rate": Parameter(0.1, 0.001, 1.0, (0.01, 0.5), log=True),
    "kept": Parameter(1.0, 0.0, 2.0),
}
START: dict[str, Value] = {"leaves": 8, "rate": 0.1, "kept": 1.5}


def _bowl(parameters: Mapping[str, Value]) -> float:
    return abs(float(parameters["leaves"]) - 20) / 20 + abs(float(parameters["rate"]) - 0.3)


def _search(seed: int = 1, trials: int = 25) -> TuningReport:
    return tune(_bowl, START, SPACE, TuningConfig(trials=trials, seconds=60), seed)


def test_the_same_seed_tries_the_same() -> None:
    assert _search() == _search()
    assert _search(seed=2).trials != _search().trials


def test_the_start_is_the_first_trial_and_the_best_is_kept() -> None:
    report = _search()
    assert report.trials[0].parameters == START
    assert _bowl(report.parameters) == min(t.loss for t in report.trials) < _bowl(START)
    assert not report.out_of_time


def test_where_nothing_is_better_the_start_is_kept() -> None:
    report = tune(lambda p: float(p != START), START, SPACE, TuningConfig(trials=5), 1)
    assert report.parameters == START


def test_parameters_without_a_range_or_chosen_by_a_person_stay() -> None:
    report = tune(_bowl, START, SPACE, TuningConfig(trials=8), 1, fixed=frozenset({"rate"}))
    assert {(t.parameters["rate"], t.parameters["kept"]) for t in report.trials} == {(0.1, 1.5)}
    assert len({t.parameters["leaves"] for t in report.trials}) > 1


def test_the_budget_of_seconds_ends_it() -> None:
    def slow(parameters: Mapping[str, Value]) -> float:
        time.sleep(0.02)
        return _bowl(parameters)

    report = tune(slow, START, SPACE, TuningConfig(trials=1000, seconds=0.2), 1)
    assert report.out_of_time
    assert 1 <= len(report.trials) < 100


def test_each_trial_is_told() -> None:
    told: list[int] = []
    tune(_bowl, START, SPACE, TuningConfig(trials=3), 1, on_trial=lambda t: told.append(t.number))
    assert told == [0, 1, 2]
