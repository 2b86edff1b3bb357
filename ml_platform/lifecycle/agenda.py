"""What is due next on a use case's timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry.promotions import champion
from ml_platform.storage.tables import Head


@dataclass(frozen=True)
class Due:
    """The next partition to score, or why there is none.

    Attributes:
        partition: Its key; ``None`` when nothing is due.
        reason: For people.
    """

    partition: str | None
    reason: str


def predictions_asset(target: Target) -> str:
    """The ledger's name of a model's predictions."""
    return target.asset("predictions")


def last_scored(platform: Platform, target: Target) -> str | None:
    """The latest partition with published predictions."""
    query = select(func.max(Head.partition)).where(Head.asset == predictions_asset(target))
    with platform.ledger.begin() as session:
        return session.scalar(query)


def left_out(platform: Platform, target: Target, *, needs: Literal["champion", "predictions"]) -> str:
    """Why a run of a use case goes on without one of its models; empty where the model takes part.

    A model that has no champion yet, or whose champion has scored nothing yet, holds up no other. Where no
    model of the use case has one there is nothing to go on with: the stage says so itself, as an error.
    """

    def has(each: Target) -> bool:
        if needs == "champion":
            return champion(platform.ledger, each.key) is not None
        return last_scored(platform, each) is not None

    if has(target):
        return ""
    others = [m for m in target.use_case.config.models if m.name != target.model.name]
    if not any(has(Target(target.use_case, m)) for m in others):
        return ""
    if champion(platform.ledger, target.key) is None:
        return (
            f"{target.key} has no champion yet, and is left out: run the job "
            f"{target.use_case.name}_train_and_promote; `ml-platform champion history` tells what "
            "was refused"
        )
    return f"{target.key} has no predictions yet, and is left out until its champion scores a partition"


def next_due(platform: Platform, use_case: UseCase, *, may_advance: bool) -> Due:
    """The partition after the last one scored, once its cutoff is reached.

    Args:
        platform: The stores.
        use_case: Whose timeline.
        may_advance: On a replay clock the cutoff need not be reached: scoring moves the clock to it.
    """
    scheme, now = use_case.scheme, platform.clock(use_case).now()
    targets = [Target(use_case, m) for m in use_case.config.models]
    with_champion = [t for t in targets if champion(platform.ledger, t.key) is not None]
    if not with_champion:
        return Due(None, f"{use_case.name} has no champion yet: run {use_case.name}_lifecycle first")
    scored = [s for t in with_champion if (s := last_scored(platform, t)) is not None]
    following = scheme.shift(max(scored), 1) if scored else _first_after(use_case, platform)
    if scheme.last_key is not None and following > scheme.last_key:
        return Due(None, f"the timeline of {use_case.name} ends with {scheme.last}")
    if not may_advance and use_case.cutoff(following) > now:
        return Due(None, f"partition {following} is due at {use_case.cutoff(following).isoformat()}")
    return Due(following, f"partition {following} is due")


def _first_after(use_case: UseCase, platform: Platform) -> str:
    """The first partition whose cutoff is not past."""
    now = platform.clock(use_case).now()
    key = use_case.scheme.key_at(now)
    while use_case.cutoff(key) < now:
        key = use_case.scheme.shift(key, 1)
    return key
