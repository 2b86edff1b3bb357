"""One day of production as plain calls: what the daily job and its sensor do, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.caching import refresh
from ml_platform.lifecycle.evaluation import evaluate_candidate
from ml_platform.lifecycle.guard.asked import (
    ACTIONS,
    FAILED,
    REFUSED,
    attempts_on,
    is_settled,
    newest_verdict,
)
from ml_platform.lifecycle.guard.diagnosing import Diagnosed, diagnose_now
from ml_platform.lifecycle.guard.retraining import carry_out, consider
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.promotion import PromotionReport, promote_candidate
from ml_platform.lifecycle.scoring import score
from ml_platform.lifecycle.training import train_candidate
from ml_platform.lifecycle.training_data import build, ensure_views, windows
from ml_platform.lifecycle.views import compute
from ml_platform.registry.promotions import champion
from ml_platform.storage.tables import Attempt, Verdict


@dataclass(frozen=True)
class Day:
    """What a day brought to one model.

    Attributes:
        partition: The partition that was scored, its cutoff being the present.
        rows: Predictions; 0 where there was no champion or nothing to score.
        diagnosed: The day's verdict; None without a champion.
        attempt: What was done about it, if anything was.
        refusal: Why an action that the verdict asks for was not taken.
        note: What else a reader should know, for example that there is no champion yet.
    """

    partition: str
    rows: int
    diagnosed: Diagnosed | None
    attempt: Attempt | None = None
    refusal: str = ""
    note: str = ""


def feature_partitions(platform: Platform, target: Target, key: str) -> list[str]:
    """Partitions whose features a day computes: its own, and those that were served before it."""
    earlier = platform.ledger.digests(predictions_asset(target))
    return [*[k for k in earlier if k < key][-target.model.diagnosis.covariate_partitions :], key]


def play_day(
    platform: Platform,
    target: Target,
    key: str,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> Day:
    """Score and serve a partition at its cutoff, diagnose, decide and act; its feeds have been ingested.

    Raises:
        PlatformError: An action failed; its attempt says so.
    """
    if champion(platform.ledger, target.key, as_of) is None:
        return Day(key, 0, None, note="no champion yet")
    # One run of the SQL gives the features to serve and rebuilds those that were served before.
    features = compute(
        platform, target.use_case, "features", feature_partitions(platform, target, key), as_of
    )
    (scored,) = score(platform, target, [key], as_of, features)
    if scored.rows:
        refresh(platform, target, as_of)
    found = diagnose_now(platform, target, as_of, features)
    attempt, refusal = _act(platform, target, found.verdict, as_of, progress)
    return Day(key, scored.rows, found, attempt, refusal)


def finish_day(
    platform: Platform, target: Target, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> Day | None:
    """Carry out what the present day's verdict asks for, where a kill came between verdict and action.

    Raises:
        PlatformError: The action failed; its attempt says so.
    """
    verdict = newest_verdict(platform, target)
    if verdict is None or verdict.as_of != as_of or verdict.verdict not in ACTIONS:
        return None
    if is_settled(attempts_on(platform, verdict)):
        return None
    attempt, refusal = _act(platform, target, verdict, as_of, progress)
    what = f" → {attempt.outcome}" if attempt else f" → refused: {refusal}"
    return Day(verdict.partition, 0, None, attempt, refusal, f"{verdict.verdict}: {verdict.sentence}{what}")


def _act(
    platform: Platform, target: Target, verdict: Verdict, as_of: datetime, progress: Callable[[str], None]
) -> tuple[Attempt | None, str]:
    """What a verdict's next attempt came to, and why nothing was done."""
    explained = consider(platform, target, verdict)
    if explained is None or not explained.allowed:
        return None, explained.sentence() if explained else ""
    number = sum(a.status == FAILED for a in attempts_on(platform, verdict)) + 1
    attempt = carry_out(platform, target, verdict.id, number, as_of, progress=progress)
    return (None, attempt.outcome) if attempt.status == REFUSED else (attempt, "")


def first_champion(platform: Platform, target: Target, as_of: datetime) -> PromotionReport:
    """Train, judge and, where the gates pass, promote the first champion.

    Raises:
        NotReadyError: Too little is mature.
    """
    window = windows(target, as_of)
    ensure_views(platform, target, [*window.train, *window.gate], as_of)
    build(platform, target, as_of)
    train_candidate(platform, target, as_of)
    evaluate_candidate(platform, target, as_of)
    return promote_candidate(platform, target, as_of)


def describe(day: Day) -> str:
    """One line for people."""
    if day.diagnosed is None:
        return day.note
    said = day.diagnosed.diagnosis.verdict
    text = f"{said.name}{f' ({said.kind})' if said.kind else ''}: {said.sentence}"
    if day.attempt is not None:
        text += f" → {day.attempt.outcome}"
    return text + (f" → refused: {day.refusal}" if day.refusal else "")
