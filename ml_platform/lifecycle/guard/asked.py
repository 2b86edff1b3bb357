"""What a sensor should ask for next: read from ledger and run records alone, so that a tick costs little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select, update

from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import COMMITTED, Attempt, Promotion, Verdict

ACTIONS = ("retrain", "recalibrate", "rollback")
RUNNING, DONE, REFUSED, FAILED = "running", "done", "refused", "failed"
MOST_ATTEMPTS = 3
"""Failed runs on one verdict before it is left to a person."""
RunState = Literal["under way", "succeeded", "failed"]


@dataclass(frozen=True)
class Ask:
    """A run to ask for.

    Attributes:
        action: ``retrain``, ``recalibrate``, ``rollback``, or ``recheck``.
        model_key: The model.
        verdict_id: The verdict it carries out.
        fingerprint: Of the incident.
        number: Attempt, from 1.
        run_key: Equal for equal asks: two sensors and a duplicate tick ask for one run.
        partition: The day of the verdict.
    """

    action: str
    model_key: str
    verdict_id: int
    fingerprint: str
    number: int
    run_key: str
    partition: str


@dataclass(frozen=True)
class Silence:
    """Nothing to ask for, and why; ``settled``: the verdict needs no further look."""

    reason: str
    settled: bool


def next_ask(
    platform: Platform, target: Target, runs: Mapping[str, RunState], now: datetime, settled: int = 0
) -> Ask | Silence:
    """What the newest verdict on a model asks for.

    Args:
        platform: The stores.
        target: The model.
        runs: State of each run that was asked for this verdict, by run key, from the run records: failed
            and aborted ones are counted there and nowhere else.
        now: The present of the timeline.
        settled: The last verdict that needs no further look: the sensor's cursor.
    """
    verdict = newest_verdict(platform, target)
    if verdict is None:
        return Silence(f"{target.key}: no verdict has been given yet", settled=False)
    day = f"{target.key} {verdict.partition}"
    if verdict.id <= settled:
        return Silence(f"{day}: {verdict.verdict}, settled before: {verdict.sentence}", settled=True)
    if verdict.verdict not in ACTIONS:
        return _recheck(target, verdict, runs, now)
    return _settled_attempt(platform, verdict, day) or _next_attempt(platform, target, verdict, runs, day)


def _settled_attempt(platform: Platform, verdict: Verdict, day: str) -> Silence | None:
    for attempt in attempts_on(platform, verdict):
        if attempt.status == REFUSED:
            return Silence(f"{day}: refused: {attempt.outcome}", settled=True)
        if attempt.status == DONE:
            return Silence(f"{day}: {attempt.action} done: {attempt.outcome}", settled=True)
    return None


def _next_attempt(
    platform: Platform, target: Target, verdict: Verdict, runs: Mapping[str, RunState], day: str
) -> Ask | Silence:
    under_way = [k for k, state in runs.items() if state == "under way"]
    if under_way:
        return Silence(f"{day}: {verdict.verdict} is under way ({under_way[0]})", settled=False)
    if any(a.status == RUNNING for a in attempts_on(platform, verdict)):
        if not runs:
            return Silence(
                f"{day}: {verdict.verdict} is being carried out by a person (ml-platform doctor closes an "
                "attempt whose process was killed)",
                settled=False,
            )
        close_ended(platform, verdict.id)
        ended = _settled_attempt(platform, verdict, day)
        if ended is not None:
            return ended
    failed = sum(state == "failed" for state in runs.values())
    if failed >= MOST_ATTEMPTS:
        return Silence(
            f"{day}: {verdict.verdict} failed {failed} times and is left to a person: read the last run, "
            "mend the cause, launch the job by hand",
            settled=False,
        )
    number = failed + 1
    key = run_key(target, verdict, number)
    return Ask(verdict.verdict, target.key, verdict.id, verdict.fingerprint, number, key, verdict.partition)


def _recheck(target: Target, verdict: Verdict, runs: Mapping[str, RunState], now: datetime) -> Ask | Silence:
    said = f"{target.key} {verdict.partition}: {verdict.verdict}: {verdict.sentence}"
    if verdict.recheck_at is None:
        return Silence(said, settled=True)
    if now < verdict.recheck_at:
        return Silence(f"{said} It is judged again at {verdict.recheck_at.isoformat()}.", settled=False)
    key = f"{target.key}:recheck:{verdict.id}:{len(runs) + 1}"
    if any(state in ("under way", "succeeded") for state in runs.values()):
        return Silence(f"{said} It is being judged again.", settled=False)
    if len(runs) >= MOST_ATTEMPTS:
        return Silence(f"{said} Judging it again failed {len(runs)} times.", settled=False)
    return Ask("recheck", target.key, verdict.id, verdict.fingerprint, len(runs) + 1, key, verdict.partition)


def newest_verdict(platform: Platform, target: Target) -> Verdict | None:
    """The verdict given last."""
    query = select(Verdict).where(Verdict.model_key == target.key).order_by(Verdict.id.desc()).limit(1)
    with platform.ledger.begin() as session:
        return session.scalars(query).first()


def attempts(platform: Platform, target: Target) -> list[Attempt]:
    """All attempts on a model, oldest first."""
    query = select(Attempt).where(Attempt.model_key == target.key).order_by(Attempt.id)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def attempts_on(platform: Platform, verdict: Verdict) -> list[Attempt]:
    """Attempts that a verdict asked for, oldest first."""
    query = select(Attempt).where(Attempt.verdict_id == verdict.id).order_by(Attempt.id)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def is_settled(made: Sequence[Attempt]) -> bool:
    """Done, refused, or failed so often that it is left to a person."""
    ended = any(a.status in (DONE, REFUSED) for a in made)
    return ended or sum(a.status == FAILED for a in made) >= MOST_ATTEMPTS


def run_key(target: Target, verdict: Verdict, number: int) -> str:
    """Model, incident, data version and attempt: what makes two attempts the same."""
    data = target.use_case.last_mature(target.model, verdict.as_of)
    return f"{target.key}:{verdict.verdict}:{verdict.fingerprint}:{data}:{number}"


def running(platform: Platform, target: Target) -> list[Attempt]:
    """Attempts on a model that have not said how they ended."""
    query = select(Attempt).where(Attempt.model_key == target.key, Attempt.status == RUNNING)
    with platform.ledger.begin() as session:
        return list(session.scalars(query))


def close_ended(platform: Platform, verdict_id: int) -> None:
    """Close the attempts on a verdict whose runs are all over: they would refuse all others for good."""
    with platform.ledger.begin() as session:
        query = select(Attempt).where(Attempt.verdict_id == verdict_id, Attempt.status == RUNNING)
        left = list(session.scalars(query))
    for attempt in left:
        mark_ended(platform, attempt, "its run ended without saying how")


def mark_ended(platform: Platform, attempt: Attempt, why: str) -> Promotion | None:
    """Close an attempt whose run is over: failed, or done where it had come as far as its promotion.

    Returns:
        The promotion that it made before it ended.
    """
    with platform.ledger.begin() as session:
        made = session.scalars(
            select(Promotion)
            .where(
                Promotion.model_key == attempt.model_key,
                Promotion.status == COMMITTED,
                Promotion.who == attempt.who,
                Promotion.as_of == attempt.as_of,
                Promotion.recorded_at >= attempt.recorded_at,
            )
            .order_by(Promotion.id.desc())
        ).first()
        values: dict[str, Any] = {"status": FAILED, "outcome": why, "finished_at": wall_now()}
        if made is not None:
            outcome = "rolled_back" if made.action == "rollback" else "promoted"
            details = {"warning": f"{why}, after its promotion"}
            values |= {"status": DONE, "outcome": outcome, "promotion_id": made.id, "details": details}
        session.execute(
            update(Attempt).where(Attempt.id == attempt.id, Attempt.status == RUNNING).values(**values)
        )
    return made
