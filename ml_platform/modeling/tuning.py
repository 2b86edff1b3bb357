"""A seeded Optuna search over an estimator's parameters, judged on folds blocked by partition.

The defaults are the first trial, so that the choice is never worse than they are on the folds. A search
that runs into its budget of seconds may stop at another trial on a slower machine; the report says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from ml_platform.model_config import TuningConfig
from ml_platform.modeling.parameters import Parameter, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of parameters and its out-of-fold loss, the mean over partitions."""

    number: int
    parameters: Mapping[str, Value]
    loss: float


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What a search tried.

    Attributes:
        parameters: The parameters with the lowest loss (the first of equals).
        trials: All trials in order; the first has the parameters that the search began with.
        out_of_time: Whether the budget of seconds ended it before the last trial.
    """

    parameters: Mapping[str, Value]
    trials: tuple[Trial, ...]
    out_of_time: bool


def tune(
    loss: Callable[[Mapping[str, Value]], float],
    start: Mapping[str, Value],
    space: Mapping[str, Parameter],
    settings: TuningConfig,
    seed: int,
    *,
    fixed: frozenset[str] = frozenset(),
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> TuningReport:
    """Search for parameters with a lower loss.

    Args:
        loss: Out-of-fold loss of a full set of parameters.
        start: The parameters to begin with.
        space: All parameters with the ranges to search.
        settings: Trials and seconds; the trial of the ``start`` is one of them.
        seed: Seed of the sampler.
        fixed: Parameters that keep their value, for example because a person chose it.
        on_trial: Called after each trial.
    """
    searched = {n: p for n, p in space.items() if p.search is not None and n not in fixed}
    trials = [Trial(0, dict(start), loss(start))]
    on_trial(trials[0])
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    deadline = time.monotonic() + settings.seconds
    while searched and len(trials) < settings.trials and time.monotonic() < deadline:
        asked = study.ask()
        parameters = {**start, **{n: _suggest(asked, n, p) for n, p in searched.items()}}
        trials.append(Trial(len(trials), parameters, loss(parameters)))
        study.tell(asked, trials[-1].loss)
        on_trial(trials[-1])
    best = min(trials, key=lambda t: t.loss)
    return TuningReport(best.parameters, tuple(trials), bool(searched) and len(trials) < settings.trials)


def _suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    assert parameter.search is not None
    low, high = parameter.search
    if isinstance(parameter.default, int):
        return int(trial.suggest_int(name, int(low), int(high), log=parameter.log))
    return float(trial.suggest_float(name, low, high, log=parameter.log))
