"""Reasons to refuse a retraining. All are judged, so that a refusal names everything at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ml_platform.diagnosis.steps import DATA_STEPS, TERMINATING
from ml_platform.diagnosis.value import ExpectedValue
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.guard_config import RetrainingConfig
from ml_platform.partitions import PartitionScheme
from ml_platform.statistics.states import State

_DAYS = PartitionScheme("daily", "UTC", date(1970, 1, 1))
CORRUPTED = frozenset({"data_sound", "training_window"})
"""The guards that no override passes: to train on corrupted data is the worst outcome of all."""


@dataclass(frozen=True)
class Override:
    """A person's order to retrain in spite of the guards.

    Attributes:
        who: Name of the person.
        why: Reason, for the ledger.
    """

    who: str
    why: str


@dataclass(frozen=True)
class RetrainRequest:
    """A retraining that someone or something asks for.

    Attributes:
        diagnosis: What it rests on.
        compute_seconds: Expected cost.
        override: Given by a person, or None.
    """

    diagnosis: Diagnosis
    compute_seconds: float = 0.0
    override: Override | None = None


@dataclass(frozen=True)
class GuardFacts:
    """What the ledger knows. None means that it could not be read, which blocks.

    Attributes:
        not_green: Partitions of the training window that are held or quarantined.
        partitions_since_change: Since the last attempt or promotion.
        matured_since_change: Newly matured ones since then.
        matured_since_attempt: Newly matured ones since the last attempt on this fingerprint; ``never`` when
            there was none.
        attempts_ages: Age in partitions of each attempt within the budget's window.
        compute_spent: Seconds of training in the budget's window.
        running: Retrainings that run now.
        onset_partitions: Matured partitions after the onset; None when the onset is not known.
        calibration_partitions: Matured ones that the champion served, for a recalibration.
        value: Expected value of the retraining.
        scheme: The use case's partitions; days that go on when left out.
    """

    not_green: Sequence[str] | None
    partitions_since_change: int | None
    matured_since_change: int | None
    matured_since_attempt: int | str | None
    attempts_ages: Sequence[int] | None
    compute_spent: float | None
    running: int | None
    onset_partitions: int | None
    value: ExpectedValue | None
    calibration_partitions: int | None = None
    scheme: PartitionScheme = _DAYS


@dataclass(frozen=True)
class Guard:
    """One guard's answer.

    Attributes:
        name: The guard.
        passed: None is UNKNOWN, which blocks.
        value: What was found.
        limit: What is asked for.
        sentence: Both in words.
        could_pass: First partition on which it could pass by waiting; None when waiting does not help.
        overridden: It refused, and a person's order passes it.
    """

    name: str
    passed: bool | None
    value: float | str | None
    limit: float | str | None
    sentence: str
    could_pass: str | None = None
    overridden: bool = False


def allowed(judged: Sequence[Guard]) -> bool:
    """Every guard passes, by itself or by an override."""
    return all(g.passed is True or g.overridden for g in judged)


def guards(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> tuple[Guard, ...]:
    """All guards on a retraining, in a fixed order."""
    known: tuple[Callable[[RetrainRequest, GuardFacts, RetrainingConfig], Guard], ...] = (
        _data_sound,
        _verdict_allows,
        _evidence_complete,
        _training_green,
        _labels_mature,
        _cooldown,
        _newly_matured,
        _attempts,
        _budget,
        _compute,
        _running,
        _onset,
        _value,
        _mode,
    )
    judged = tuple(_by_waiting(facts, guard(request, facts, settings)) for guard in known)
    return tuple(_overridden(g, request.override) for g in judged) if request.override else judged


def calibration_guard(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    """A recalibration needs many matured days to be fitted on and some later ones to be judged on."""
    limit = settings.calibration_partitions + settings.calibration_gate
    what = "matured partitions served by the champion"
    guard = _at_least("calibration", what, facts.calibration_partitions, limit, request, facts)
    return _by_waiting(facts, guard)


def _overridden(guard: Guard, override: Override | None) -> Guard:
    if override is None or guard.passed is True:
        return guard
    if guard.name in CORRUPTED:
        sentence = f"{guard.sentence}; no override passes corrupted data"
        return Guard(guard.name, guard.passed, guard.value, guard.limit, sentence, guard.could_pass)
    sentence = f"{guard.sentence}; overridden by {override.who}: {override.why}"
    return Guard(guard.name, guard.passed, guard.value, guard.limit, sentence, guard.could_pass, True)


def _states(request: RetrainRequest, names: Sequence[str]) -> dict[str, State]:
    found = {s.name: s.state for s in request.diagnosis.steps}
    return {n: found.get(n, "UNKNOWN") for n in names}


def _later(request: RetrainRequest, facts: GuardFacts, partitions: int) -> str:
    return facts.scheme.shift(request.diagnosis.partition, partitions)


def _by_waiting(facts: GuardFacts, guard: Guard) -> Guard:
    """The guard, which waiting does not help where the partitions end before."""
    last = facts.scheme.last_key
    if guard.could_pass is None or last is None or guard.could_pass <= last:
        return guard
    end = f"it could pass on {guard.could_pass}, but the data end with {last} (`partitions: end`)"
    return replace(guard, sentence=f"{guard.sentence}; {end}", could_pass=None)


def _data_sound(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    broken = [n for n, s in _states(request, DATA_STEPS).items() if s == "FAIL"]
    is_broken = bool(broken) or request.diagnosis.verdict.cause.startswith("data:")
    what = ", ".join(broken) or request.diagnosis.verdict.cause
    sentence = f"the data are corrupted ({what})" if is_broken else "no data check fails"
    return Guard("data_sound", not is_broken, what if is_broken else "sound", "sound", sentence)


def _verdict_allows(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    name = request.diagnosis.verdict.name
    return Guard("verdict", name == "retrain", name, "retrain", f"the verdict is {name}")


def _evidence_complete(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    missing = [n for n, s in _states(request, TERMINATING).items() if s == "UNKNOWN"]
    sentence = f"evidence is missing: {', '.join(missing)}" if missing else "all of steps 1 to 5 were judged"
    return Guard("evidence", None if missing else True, len(missing), 0, sentence)


def _training_green(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    name = "training_window"
    if facts.not_green is None:
        return Guard(name, None, None, 0, "the state of the training window is not known")
    count = len(facts.not_green)
    names = f" ({', '.join(list(facts.not_green)[:3])}{', …' if count > 3 else ''})" if count else ""
    return Guard(name, not count, count, 0, f"{count} training partition(s) are not green{names}")


def _labels_mature(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    state = _states(request, ["maturity"])["maturity"]
    passed = None if state == "UNKNOWN" else state == "PASS"
    wait = request.diagnosis.verdict.recheck_at_partitions
    later = _later(request, facts, wait) if wait and not passed else None
    return Guard("labels_mature", passed, state, "PASS", f"label maturity is {state}", later)


def _at_least(
    name: str, what: str, value: int | None, limit: int, request: RetrainRequest, facts: GuardFacts
) -> Guard:
    if value is None:
        return Guard(name, None, None, limit, f"{what} are not known")
    short = limit - value
    later = _later(request, facts, short) if short > 0 else None
    return Guard(name, short <= 0, value, limit, f"{value} {what}, {limit} are asked for", later)


def _cooldown(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    what = "partitions since the last attempt or promotion"
    limit = settings.cooldown_partitions
    return _at_least("cooldown", what, facts.partitions_since_change, limit, request, facts)


def _newly_matured(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    what = "newly matured partitions since the last attempt or promotion"
    limit = settings.cooldown_partitions
    return _at_least("newly_matured", what, facts.matured_since_change, limit, request, facts)


def _attempts(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    name, limit, since = "one_attempt", settings.attempt_partitions, facts.matured_since_attempt
    if isinstance(since, str):
        return Guard(name, True, since, limit, "no attempt on this incident yet")
    what = "newly matured partitions since the last attempt on this incident"
    return _at_least(name, what, since, limit, request, facts)


def _budget(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    window = settings.budget_partitions
    if facts.attempts_ages is None:
        return Guard("budget", None, None, settings.budget, "past attempts are not known")
    ages = sorted(a for a in facts.attempts_ages if a < window)
    passed = len(ages) < settings.budget
    # The attempt whose leaving the window frees a token.
    later = None if passed else _later(request, facts, window - ages[settings.budget - 1])
    sentence = f"{len(ages)} of {settings.budget} retrainings used in {window} partitions"
    return Guard("budget", passed, len(ages), settings.budget, sentence, later)


def _compute(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    limit = settings.compute_seconds
    if facts.compute_spent is None:
        return Guard("compute", None, None, limit, "the computing time used is not known")
    total = facts.compute_spent + request.compute_seconds
    return Guard("compute", total <= limit, total, limit, f"{total:.0f} of {limit:.0f} s of computing")


def _running(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    if facts.running is None:
        return Guard("nothing_running", None, None, 0, "whether a retraining runs is not known")
    count = facts.running
    return Guard("nothing_running", not count, count, 0, f"{count} retraining(s) are running")


def _onset(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    name, limit = "onset", settings.onset_minimum
    if request.diagnosis.verdict.kind == "freshness":
        return Guard(name, True, None, limit, "a renewal has no onset")
    what = "matured partitions after the onset"
    return _at_least(name, what, facts.onset_partitions, limit, request, facts)


def _value(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    worth = facts.value
    if worth is None or worth.state == "UNKNOWN":
        return Guard("value", None, None, 0.0, worth.sentence if worth else "no value was estimated")
    if worth.state is None:
        return Guard("value", True, "not set", 0.0, worth.sentence)
    return Guard("value", worth.state == "PASS", round(worth.value or 0.0, 2), 0.0, worth.sentence)


def _mode(request: RetrainRequest, facts: GuardFacts, settings: RetrainingConfig) -> Guard:
    mode = settings.mode
    return Guard("mode", mode == "automatic", mode, "automatic", f"the retraining mode is {mode}")
