"""From a verdict to an action: guards, attempts, and the actions themselves. Nothing acts without an attempt.

An attempt is claimed by its unique run key in one transaction, so that two sensors, a restarted daemon and a
duplicate tick make one training. Every guard is judged again when the attempt begins, whoever asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from time import perf_counter
from typing import Any, Literal

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError as DuplicateError

from ml_platform.diagnosis.guards import (
    Guard,
    GuardFacts,
    Override,
    RetrainRequest,
    allowed,
    calibration_guard,
    guards,
)
from ml_platform.diagnosis.value import expected_value
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.errors import ConflictError, GateError, NotReadyError, PlatformError
from ml_platform.lifecycle import caching, scoring
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.asked import (
    ACTIONS,
    DONE,
    FAILED,
    REFUSED,
    RUNNING,
    attempts,
    attempts_on,
    run_key,
)
from ml_platform.lifecycle.guard.challenger import Challenge, as_facts, challenge, plan
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.recalibration import recalibrate
from ml_platform.lifecycle.guard.records import diagnosis_of, verdict_by_id
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.promotion import roll_back
from ml_platform.lifecycle.training_data import held_partitions
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Promotion, Verdict

Action = Literal["retrain", "recalibrate", "rollback"]
POLICY = "policy: guarded retraining"
_USUAL_SECONDS = 60.0


@dataclass(frozen=True)
class Explained:
    """All guards on an action, and whether it may be taken.

    Attributes:
        action: The action.
        guards: Each with value, limit, sentence and the date on which it could pass.
        allowed: Every guard passes.
    """

    action: Action
    guards: tuple[Guard, ...]
    allowed: bool

    @property
    def refusals(self) -> list[Guard]:
        """The guards that refuse."""
        return [g for g in self.guards if not (g.passed or g.overridden)]

    def sentence(self) -> str:
        """For people."""
        if self.allowed:
            return f"every guard agrees to {self.action}"
        return f"no {self.action}: " + "; ".join(g.sentence for g in self.refusals)


def explain(
    platform: Platform,
    target: Target,
    diagnosis: Diagnosis,
    as_of: datetime,
    *,
    action: Action = "retrain",
    override: Override | None = None,
    ignoring: int | None = None,
) -> Explained:
    """Judge every guard on an action.

    Args:
        platform: The stores.
        target: The model.
        diagnosis: What the action rests on.
        as_of: The present of the timeline.
        action: Safety actions (recalibrate, rollback) bypass the budget; a retrain never does.
        override: A person's order.
        ignoring: The attempt that asks, which does not run beside itself.
    """
    facts = guard_facts(platform, target, diagnosis, as_of, ignoring)
    request = RetrainRequest(diagnosis, _usual_seconds(platform, target), override)
    settings = target.model.retraining
    judged = guards(request, facts, settings)
    if action != "retrain":
        judged = tuple(_for_safety(g, action, diagnosis) for g in judged if g.name in _SAFETY)
    if action == "recalibrate":
        judged = (*judged, calibration_guard(request, facts, settings))
    return Explained(action, judged, allowed(judged))


_SAFETY = ("verdict", "nothing_running", "mode", "one_attempt")


def _for_safety(guard: Guard, action: Action, diagnosis: Diagnosis) -> Guard:
    if guard.name != "verdict":
        return guard
    said = diagnosis.verdict.name
    return Guard("verdict", said == action, said, action, f"the verdict is {said}", None, guard.overridden)


def guard_facts(
    platform: Platform, target: Target, diagnosis: Diagnosis, as_of: datetime, ignoring: int | None = None
) -> GuardFacts:
    """What the ledger knows of earlier attempts and of the training window."""
    use_case, settings = target.use_case, target.model.retraining
    scheme, last = use_case.scheme, use_case.last_mature(target.model, as_of)
    made = [a for a in attempts(platform, target) if a.as_of <= as_of and a.id != ignoring]
    begun = [a for a in made if a.status in (DONE, RUNNING, FAILED)]
    tried = [a for a in begun if not _failed_before(target, diagnosis, a, as_of)]
    champion = promotions.champion(platform.ledger, target.key, as_of)
    change = max([a.as_of for a in tried] + ([champion.as_of] if champion else []), default=None)
    same = [a for a in tried if a.fingerprint == diagnosis.verdict.fingerprint]
    retrained = [a for a in begun if a.action == "retrain"]
    ages = [scheme.whole(as_of - a.as_of) for a in retrained]
    recent = [a for a, age in zip(retrained, ages, strict=True) if age < settings.budget_partitions]
    window = set(use_case.trained_on(target.model, last))
    held = held_partitions(platform, target, only_open=True)
    head = platform.ledger.heads(predictions_asset(target))
    volume = float(head[max(head)].rows) if head else None
    return GuardFacts(
        not_green=sorted(k for k in held if k in window),
        partitions_since_change=scheme.whole(as_of - change) if change else None,
        matured_since_change=_matured_between(target, change, as_of) if change else None,
        matured_since_attempt=_matured_between(target, max(a.as_of for a in same), as_of)
        if same
        else "never",
        attempts_ages=ages,
        compute_spent=sum(a.seconds for a in recent),
        running=sum(a.status == RUNNING for a in made),
        onset_partitions=_after_onset(target, diagnosis, last),
        value=expected_value(
            _loss_reduction(diagnosis, target), volume, _usual_seconds(platform, target), settings.value
        ),
        calibration_partitions=len(Live(platform, target, as_of, champion).matured) if champion else None,
        scheme=scheme,
    )


def _failed_before(target: Target, diagnosis: Diagnosis, attempt: Attempt, as_of: datetime) -> bool:
    """A failed attempt on the same incident and data: trying again is no new one, but for the budget."""
    last = target.use_case.last_mature
    return (
        attempt.status == FAILED
        and attempt.fingerprint == diagnosis.verdict.fingerprint
        and last(target.model, attempt.as_of) == last(target.model, as_of)
    )


def _matured_between(target: Target, earlier: datetime, later: datetime) -> int:
    use_case, scheme = target.use_case, target.use_case.scheme
    first, last = (use_case.last_mature(target.model, t) for t in (earlier, later))
    return max(0, scheme.distance(first, last))


def _after_onset(target: Target, diagnosis: Diagnosis, last: str) -> int | None:
    """Matured partitions after the onset that could train: those that judge are not among them."""
    onset = diagnosis.verdict.onset
    if onset is None:
        return None
    scheme = target.use_case.scheme
    after = scheme.distance(onset, last) + 1
    return max(0, after - target.model.retraining.incident_gate)


def _loss_reduction(diagnosis: Diagnosis, target: Target) -> float | None:
    """What a retraining could save: the measured rise of the loss, at least what a renewal usually saves.

    In units of :meth:`.Kind.loss_scale`, as what a unit is worth.
    """
    usual = target.model.retraining.value.usual_gain
    harm = next((s.headline for s in diagnosis.steps if s.name == "harm"), None)
    if diagnosis.verdict.kind == "freshness" or harm is None or harm.estimate is None:
        return usual
    # A diagnosis of a number from before its scale was kept says nothing about worth.
    scale: float = harm.facts.get("loss_scale", 1.0 if target.kind.bounded else math.inf)
    return max(usual, harm.estimate / scale)


def _usual_seconds(platform: Platform, target: Target) -> float:
    """The last retraining's duration; a minute before there was one."""
    done = [a.seconds for a in attempts(platform, target) if a.action == "retrain" and a.status == DONE]
    return done[-1] if done else _USUAL_SECONDS


# --- attempts -----------------------------------------------------------------------------------


def action_of(verdict: Verdict, override: Override | None = None) -> Action:
    """What carrying out a verdict means; one that asks for nothing is a retraining, which it refuses."""
    if override is None and verdict.verdict in ACTIONS:
        return verdict.verdict  # type: ignore[return-value]
    return "retrain"


def claim(
    platform: Platform,
    target: Target,
    verdict: Verdict,
    number: int,
    as_of: datetime,
    *,
    who: str = POLICY,
    why: str = "",
    override: Override | None = None,
) -> Attempt:
    """Enter an attempt as running, once.

    Raises:
        ConflictError: It has been claimed before: by another run, sensor or tick.
    """
    key = run_key(target, verdict, number) + (f":{override.who}" if override else "")
    if not number:  # a refusal, which each verdict has of its own
        key += f":{verdict.id}"
    row = Attempt(
        model_key=target.key,
        run_key=key,
        action=action_of(verdict, override),
        kind=verdict.kind,
        verdict_id=verdict.id,
        fingerprint=verdict.fingerprint,
        number=number,
        status=RUNNING,
        outcome="",
        who=who,
        why=why or verdict.sentence,
        override=override is not None,
        guards=[],
        details={},
        seconds=0.0,
        promotion_id=None,
        as_of=as_of,
        recorded_at=wall_now(),
        finished_at=None,
    )
    try:
        with platform.ledger.begin() as session:
            session.add(row)
    except DuplicateError as error:
        raise ConflictError(
            "this attempt has been made already",
            where=key,
            fix="nothing to do: `ml-platform retrain --explain` shows what came of it",
        ) from error
    return row


def finish(
    platform: Platform,
    attempt: Attempt,
    status: str,
    outcome: str,
    explained: Explained | None = None,
    **facts: Any,
) -> Attempt:
    """Close an attempt; one that is closed already stays as it is."""
    values: dict[str, Any] = {"status": status, "outcome": outcome, "finished_at": wall_now(), **facts}
    if explained is not None:
        values["guards"] = [asdict(g) for g in explained.guards]
    with platform.ledger.begin() as session:
        session.execute(
            update(Attempt).where(Attempt.id == attempt.id, Attempt.status == RUNNING).values(**values)
        )
        found = session.get(Attempt, attempt.id, populate_existing=True)
    assert found is not None
    return found


def refuse(platform: Platform, target: Target, verdict: Verdict, explained: Explained) -> Attempt:
    """Keep a refusal with every guard; the same refusal of the same verdict is kept once."""
    for known in attempts_on(platform, verdict):
        if known.status == REFUSED:
            return known
    try:
        attempt = claim(platform, target, verdict, 0, verdict.as_of)
    except ConflictError:  # another run is just keeping it, or was killed while it did
        attempt = next(a for a in attempts_on(platform, verdict) if not a.number)
    return finish(platform, attempt, REFUSED, explained.sentence(), explained)


# --- acting -------------------------------------------------------------------------------------


def consider(platform: Platform, target: Target, verdict: Verdict) -> Explained | None:
    """Guards on what a verdict asks for, a refusal being kept; ``None`` where it asks for nothing."""
    if verdict.verdict not in ACTIONS:
        return None
    action: Action = verdict.verdict  # type: ignore[assignment]
    found = explain(platform, target, diagnosis_of(platform, verdict), verdict.as_of, action=action)
    if not found.allowed:
        refuse(platform, target, verdict, found)
    return found


def carry_out(
    platform: Platform,
    target: Target,
    verdict_id: int,
    number: int,
    as_of: datetime,
    *,
    override: Override | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Attempt:
    """Do what a verdict asks for, once, if every guard agrees now.

    Raises:
        ConflictError: This attempt has been made already.
        PlatformError: The action failed, and the champion in force stays; or it was done, and what follows on
            a promotion failed. The attempt says which.
    """
    verdict = verdict_by_id(platform, verdict_id)
    who = override.who if override else POLICY
    attempt = claim(
        platform,
        target,
        verdict,
        number,
        as_of,
        who=who,
        why=override.why if override else "",
        override=override,
    )
    started, found = perf_counter(), None
    try:
        diagnosis = diagnosis_of(platform, verdict)
        action = action_of(verdict, override)
        found = explain(
            platform, target, diagnosis, as_of, action=action, override=override, ignoring=attempt.id
        )
        progress(found.sentence())
        if not found.allowed:
            return finish(platform, attempt, REFUSED, found.sentence(), found)
        outcome, promotion, facts = _act(platform, target, action, diagnosis, as_of, who, progress)
    except NotReadyError as error:
        # What is missing comes by waiting: no failure, which would be tried again at once.
        outcome = f"{error.what} ({error.fix})"
        return finish(platform, attempt, REFUSED, outcome, found, seconds=perf_counter() - started)
    except GateError as error:
        outcome = f"rejected: {error.what}"
        return finish(platform, attempt, DONE, outcome, found, seconds=perf_counter() - started)
    except PlatformError as error:
        finish(platform, attempt, FAILED, error.what, found, seconds=perf_counter() - started)
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        finish(platform, attempt, FAILED, what, found, seconds=perf_counter() - started)
        raise

    def done(facts: dict[str, Any]) -> Attempt:
        number = promotion.id if promotion else None
        spent = perf_counter() - started
        return finish(
            platform, attempt, DONE, outcome, found, seconds=spent, promotion_id=number, details=facts
        )

    try:
        if promotion is not None:
            follow(platform, target, promotion, as_of)
    except Exception as error:
        # The promotion stands, so the attempt is done and is not made again; the run that raises is red.
        what = error.what if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
        done(facts | {"warning": f"the next predictions are still those of the champion before: {what}"})
        raise
    return done(facts)


def _act(
    platform: Platform,
    target: Target,
    action: Action,
    diagnosis: Diagnosis,
    as_of: datetime,
    who: str,
    progress: Callable[[str], None],
) -> tuple[str, Promotion | None, dict[str, Any]]:
    """The action: its outcome, the promotion that came of it, and facts for the ledger."""
    why = diagnosis.verdict.sentence
    if action == "rollback":
        restores = diagnosis.verdict.restores
        version = int(restores.removeprefix("v")) if restores else None
        report = roll_back(platform, target, who, why, version)
        return "rolled_back", report.promotion, {"sentence": report.sentence()}
    if action == "recalibrate":
        done = recalibrate(platform, target, as_of, who=who, why=why)
        return done.outcome, done.promotion, _facts(done)
    kind = diagnosis.verdict.kind or "freshness"
    made = plan(target, as_of, kind, diagnosis.verdict.onset)
    done = challenge(platform, target, as_of, made, who=who, why=why, progress=progress)
    return done.outcome, done.promotion, {**_facts(done), **as_facts(made)}


def _facts(done: Challenge) -> dict[str, Any]:
    return {
        "sentence": done.sentence(),
        "evaluation_id": done.evaluation.id,
        "challenger": done.evaluation.model_digest,
        "against": done.evaluation.against_digest,
        "weight": done.weight,
        "log": list(done.log),
    }


def follow(platform: Platform, target: Target, promotion: Promotion, as_of: datetime) -> None:
    """Let what is still to come be served by the new champion.

    Where that fails, what was served before stays in the cache, whole and with its own version.
    """
    scheme = target.use_case.scheme
    heads = platform.ledger.heads(predictions_asset(target))
    ahead = [k for k in heads if scheme.partition(k).start >= as_of]
    prepared = scoring.prepare_again(platform, target, promotion, ahead, as_of)
    if prepared.items:
        platform.ledger.commit(prepared.items, [r.id for r in prepared.rows])
    if heads:
        caching.refresh(platform, target, as_of)
