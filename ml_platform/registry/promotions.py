"""Champions: who serves, since when, why, and how to go back. The ledger decides; nothing is updated.

A promotion and a rollback are both new entries; the latest committed one is in force. A rollback may bring
a cache generation along, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from ml_platform.errors import ConflictError, GateError, NoChampionError, NotFoundError
from ml_platform.storage.ledger import Ledger, one_writer, wall_now
from ml_platform.storage.tables import (
    ABANDONED,
    COMMITTED,
    REQUESTED,
    Approval,
    Evaluation,
    Model,
    Promotion,
)

InTransaction = Callable[[Session, Promotion], None]


@dataclass(frozen=True)
class Story:
    """One chapter of a model's history: a promotion with its evaluation and approval."""

    promotion: Promotion
    evaluation: Evaluation | None
    approval: Approval | None
    in_force: bool


def champion(ledger: Ledger, model_key: str, as_of: datetime | None = None) -> Promotion | None:
    """The promotion in force, now or as of an instant of the timeline."""
    query = _committed(model_key)
    if as_of is not None:
        query = query.where(Promotion.as_of <= as_of)
    with ledger.begin() as session:
        return session.scalars(query.limit(1)).first()


def require_champion(ledger: Ledger, model_key: str, as_of: datetime | None = None) -> Promotion:
    """The promotion in force.

    Raises:
        NoChampionError: There is none.
    """
    found = champion(ledger, model_key, as_of)
    if found is None:
        when, use_case = f" as of {as_of.isoformat()}" if as_of else "", model_key.split("/", maxsplit=1)[0]
        raise NoChampionError(
            f"{model_key} has no champion{when}",
            where="ledger",
            fix=f"`ml-platform run {use_case}` (in the UI the job {use_case}_train_and_promote); "
            f"`ml-platform champion history {model_key}` tells what was refused",
        )
    return found


def record_model(ledger: Ledger, model: Model) -> None:
    """Keep a trained model; the same digest again changes nothing."""
    with ledger.begin() as session:
        if session.get(Model, model.digest) is None:
            session.add(model)


def record_evaluation(ledger: Ledger, evaluation: Evaluation) -> int:
    """Keep an evaluation; returns its id."""
    with ledger.begin() as session:
        session.add(evaluation)
        session.flush()
        return evaluation.id


def model(ledger: Ledger, digest: str) -> Model:
    """A trained model by its digest.

    Raises:
        NotFoundError: The ledger does not know it: a foreign bundle.
    """
    with ledger.begin() as session:
        found = session.get(Model, digest)
    if found is None:
        raise NotFoundError(
            f"the ledger knows no model {digest[:12]}…",
            where="ledger",
            fix="only models trained by this platform can be promoted or served",
        )
    return found


def latest_model(ledger: Ledger, model_key: str, dataset_version: str | None = None) -> Model | None:
    """The model trained last (on one dataset version, if named)."""
    query = select(Model).where(Model.model_key == model_key).order_by(Model.recorded_at.desc()).limit(1)
    if dataset_version:
        query = query.where(Model.dataset_version == dataset_version)
    with ledger.begin() as session:
        return session.scalars(query).first()


def latest_evaluation(ledger: Ledger, model_key: str) -> Evaluation | None:
    """The evaluation made last."""
    query = (
        select(Evaluation).where(Evaluation.model_key == model_key).order_by(Evaluation.id.desc()).limit(1)
    )
    with ledger.begin() as session:
        return session.scalars(query).first()


def evaluation(ledger: Ledger, evaluation_id: int) -> Evaluation:
    """An evaluation by its id.

    Raises:
        NotFoundError: There is none.
    """
    with ledger.begin() as session:
        found = session.get(Evaluation, evaluation_id)
    if found is None:
        raise NotFoundError(
            f"there is no evaluation {evaluation_id}", where="ledger", fix="`ml-platform champion history`"
        )
    return found


def decide(ledger: Ledger, evaluation: Evaluation, decision: str, who: str, why: str) -> Approval:
    """Keep a person's word, ``approved`` or ``rejected``, on an evaluation.

    Raises:
        GateError: The evaluation failed; a person cannot approve past a gate.
        ConflictError: Somebody has decided already.
    """
    if decision == "approved" and not evaluation.passed:
        raise GateError(
            f"evaluation {evaluation.id} did not pass its gates",
            where=evaluation.model_key,
            fix="train a better candidate; gates are never overruled by an approval",
        )
    if (known := approval_of(ledger, evaluation.id)) is not None:
        raise ConflictError(
            f"evaluation {evaluation.id} was {known.decision} by {known.who} already",
            where=evaluation.model_key,
            fix="train and evaluate again to decide anew",
        )
    row = Approval(
        model_key=evaluation.model_key,
        evaluation_id=evaluation.id,
        decision=decision,
        who=who,
        why=why,
        recorded_at=wall_now(),
    )
    with ledger.begin() as session:
        session.add(row)
    return row


def approval_of(ledger: Ledger, evaluation_id: int) -> Approval | None:
    """The word given on an evaluation."""
    with ledger.begin() as session:
        return session.scalars(select(Approval).where(Approval.evaluation_id == evaluation_id)).first()


def promote(
    ledger: Ledger,
    evaluation: Evaluation,
    *,
    as_of: datetime,
    who: str,
    why: str,
    verify: Callable[[], None] = lambda: None,
) -> Promotion:
    """Make an evaluated candidate the champion.

    Args:
        ledger: The ledger.
        evaluation: What the gates said of the candidate.
        as_of: The instant on the timeline from which it serves.
        who: Who promotes: a person or the policy.
        why: The reason to keep.
        verify: Called between request and commit; it raises to stop the promotion.

    Raises:
        GateError: The evaluation did not pass, or judged against another champion than is in force.
        NotFoundError: The ledger knows no such model: a foreign bundle.
        ConflictError: Another promotion came first.
    """
    if not evaluation.passed:
        failed = [g["name"] for g in evaluation.gates if g["state"] != "PASS"]
        raise GateError(
            f"the candidate does not pass: {', '.join(failed) or 'no gate was evaluated'}",
            where=f"{evaluation.model_key}, evaluation {evaluation.id}",
            fix="read the evaluation in the UI; nothing was promoted, the last champion still serves",
        )
    _require_own(ledger, evaluation)
    before = champion(ledger, evaluation.model_key)
    if (before.model_digest if before else None) != evaluation.against_digest:
        raise GateError(
            "the candidate was judged against another champion than the one in force",
            where=f"{evaluation.model_key}, evaluation {evaluation.id}",
            fix="evaluate it again",
        )
    action = "promotion" if before else "first"
    row = _request(ledger, evaluation, action, before, as_of=as_of, who=who, why=why)
    verify()
    _commit(ledger, row, before)
    return row


def _require_own(ledger: Ledger, evaluation: Evaluation) -> None:
    """Refuse a bundle that was not trained here, or for another model."""
    owner = model(ledger, evaluation.model_digest).model_key
    if owner != evaluation.model_key:
        raise NotFoundError(
            f"model {evaluation.model_digest[:12]}… was trained for {owner}",
            where=evaluation.model_key,
            fix="only models trained for it can be promoted",
        )


def rollback_target(
    ledger: Ledger, model_key: str, version: int | None = None
) -> tuple[Promotion, Promotion]:
    """The champion in force and the promotion that a rollback would restore.

    The champion that the one in force followed: going back twice goes further back, and what was rolled back
    is passed over; or the one with a version, whatever became of it.

    Raises:
        NoChampionError: There is no champion, or none before it, or none of that version.
    """
    current = require_champion(ledger, model_key)
    everything = history(ledger, model_key)
    if version is not None:
        line = [p for p in everything if p.action != "rollback"]
        position = next(i for i, p in enumerate(line) if p.version == current.version)
        named = [p for p in line[position + 1 :] if p.version == version]
        if not named:
            raise NoChampionError(
                f"{model_key} has no champion of version {version} before the one in force",
                where="ledger",
                fix="`ml-platform champion history` shows the versions",
            )
        return current, named[0]
    followed: list[Promotion] = []
    for each in reversed(everything):
        if each.version not in [p.version for p in followed]:
            followed.append(each)  # a new champion, or one that was rolled back and is named
        while followed[-1].version != each.version:
            followed.pop()
    if len(followed) < 2:
        raise NoChampionError(
            f"{model_key} has no champion before the one in force",
            where="ledger",
            fix="there is nothing to go back to; train and promote another model",
        )
    return current, followed[-2]


def roll_back(
    ledger: Ledger,
    model_key: str,
    *,
    as_of: datetime,
    who: str,
    why: str,
    verify: Callable[[Promotion], None] = lambda _: None,
    together: InTransaction = lambda _s, _p: None,
    version: int | None = None,
) -> Promotion:
    """Restore the champion before this one, or of a version, as a new entry.

    Args:
        ledger: The ledger.
        model_key: ``<use_case>/<model>``.
        as_of: The instant on the timeline.
        who: Who asks for it.
        why: The reason to keep.
        verify: Called with the promotion to be restored; raises to stop.
        together: Called inside the committing transaction, for the cache's generation.
        version: The earlier champion to restore; the one before when None.
    """
    current, target = rollback_target(ledger, model_key, version)
    verify(target)
    row = Promotion(
        model_key=model_key,
        action="rollback",
        model_digest=target.model_digest,
        version=target.version,
        evaluation_id=target.evaluation_id,
        previous_id=current.id,
        status=REQUESTED,
        who=who,
        why=why,
        as_of=as_of,
        recorded_at=wall_now(),
    )
    with ledger.begin() as session:
        session.add(row)
    _commit(ledger, row, current, together)
    return row


def next_version(ledger: Ledger, model_key: str) -> int:
    """The version that the next promotion gets."""
    with ledger.begin() as session:
        return _next_version(session, model_key)


def _next_version(session: Session, model_key: str) -> int:
    taken = select(Promotion.version).where(Promotion.model_key == model_key)
    return max(session.scalars(taken), default=0) + 1


def history(ledger: Ledger, model_key: str) -> list[Promotion]:
    """Committed promotions and rollbacks, newest first."""
    with ledger.begin() as session:
        return list(session.scalars(_committed(model_key)))


def stories(ledger: Ledger, model_key: str) -> list[Story]:
    """The history with evaluations and approvals, newest first."""
    told = []
    for index, row in enumerate(history(ledger, model_key)):
        judged = evaluation(ledger, row.evaluation_id) if row.evaluation_id else None
        word = approval_of(ledger, row.evaluation_id) if row.evaluation_id else None
        told.append(Story(row, judged, word, in_force=index == 0))
    return told


def refused(ledger: Ledger, model_key: str) -> list[Evaluation]:
    """Evaluations that did not pass, newest first."""
    query = (
        select(Evaluation)
        .where(Evaluation.model_key == model_key, Evaluation.passed.is_(False))
        .order_by(Evaluation.id.desc())
    )
    with ledger.begin() as session:
        return list(session.scalars(query))


def _committed(model_key: str) -> Select[Promotion]:
    """Committed promotions and rollbacks of a model, the one in force first."""
    return (
        select(Promotion)
        .where(Promotion.model_key == model_key, Promotion.status == COMMITTED)
        .order_by(Promotion.as_of.desc(), Promotion.id.desc())
    )


def _request(
    ledger: Ledger,
    evaluation: Evaluation,
    action: str,
    before: Promotion | None,
    *,
    as_of: datetime,
    who: str,
    why: str,
) -> Promotion:
    with ledger.begin() as session:
        row = Promotion(
            model_key=evaluation.model_key,
            action=action,
            model_digest=evaluation.model_digest,
            version=_next_version(session, evaluation.model_key),
            evaluation_id=evaluation.id,
            previous_id=before.id if before else None,
            status=REQUESTED,
            who=who,
            why=why,
            as_of=as_of,
            recorded_at=wall_now(),
        )
        session.add(row)
    return row


def _commit(
    ledger: Ledger,
    row: Promotion,
    before: Promotion | None,
    together: InTransaction = lambda _s, _p: None,
) -> None:
    """Put a requested promotion in force, unless another came first, in one transaction."""
    try:
        with ledger.begin() as session:
            one_writer(session)
            session.execute(update(Promotion).where(Promotion.id == row.id).values(status=COMMITTED))
            others = _committed(row.model_key).where(Promotion.id != row.id)
            in_force = session.scalars(others.limit(1)).first()
            if (in_force.id if in_force else None) != (before.id if before else None):
                raise ConflictError(
                    "another promotion came first",
                    where=row.model_key,
                    fix="evaluate against the new champion",
                )
            stored = session.get(Promotion, row.id)
            assert stored is not None
            together(session, stored)
    except ConflictError:
        _abandon(ledger, row)
        raise
    row.status = COMMITTED


def _abandon(ledger: Ledger, row: Promotion) -> None:
    with ledger.begin() as session:
        stored = session.get(Promotion, row.id)
        assert stored is not None
        stored.status = ABANDONED
