"""Promotion, approval and rollback: the ledger decides, the cache and MLflow follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from ml_platform.datasets import versions
from ml_platform.errors import NotReadyError, StoreError
from ml_platform.lifecycle import caching, scoring
from ml_platform.lifecycle.bundle_check import SAMPLE_ROWS, check_bundle
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.serving.generations import Generation
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Evaluation, Promotion

POLICY = "policy: automatic"


@dataclass(frozen=True)
class PromotionReport:
    """What came of a candidate.

    Attributes:
        outcome: ``promoted``, ``in_force`` already, ``refused`` by the gates, ``waiting`` for a person,
            ``rejected`` by one.
        champion: The promotion in force afterwards.
        evaluation: What was judged.
        warning: What could not be projected, for example MLflow being down.
    """

    outcome: str
    champion: Promotion | None
    evaluation: Evaluation
    warning: str = ""

    @property
    def candidate_serves(self) -> bool:
        """The newest candidate is the champion."""
        return self.outcome in {"promoted", "in_force"}

    def sentence(self) -> str:
        """For people."""
        failed = [f"{g['name']} {g['state']}" for g in self.evaluation.gates if g["state"] != "PASS"]
        serving = f"version {self.champion.version} serves" if self.champion else "nothing serves yet"
        return {
            "promoted": f"promoted: {serving}",
            "in_force": f"the candidate is the champion already: {serving}",
            "refused": f"refused by the gates ({', '.join(failed) or 'none evaluated'}): {serving}",
            "waiting": f"waits for a person (`ml-platform approve` or `reject`): {serving}",
            "rejected": f"rejected by a person: {serving}",
        }[self.outcome] + (f"; {self.warning}" if self.warning else "")

    def shown(self) -> dict[str, Any]:
        """Facts for the UI."""
        champion = self.champion
        return {
            "outcome": self.outcome,
            "candidate": self.evaluation.model_digest,
            "dataset_version": self.evaluation.dataset_version,
            "champion": champion.model_digest if champion else "none",
            "champion_version": champion.version if champion else 0,
            "action": champion.action if champion else "none",
            "who": champion.who if champion else "nobody",
            "why": champion.why if champion else "",
        }


@dataclass(frozen=True)
class RollbackReport:
    """What a rollback restored."""

    promotion: Promotion
    generation: Generation | None
    rescored: list[str]
    warning: str = ""

    def sentence(self) -> str:
        """For people."""
        cache = f"generation {self.generation.id} is served" if self.generation else "the cache was empty"
        again = f", {', '.join(self.rescored)} scored again by it" if self.rescored else ""
        return (
            f"{self.promotion.model_key}: version {self.promotion.version} "
            f"(model {self.promotion.model_digest[:12]}) is restored; {cache}{again}"
            + (f"; {self.warning}" if self.warning else "")
        )


def promote_candidate(platform: Platform, target: Target, as_of: datetime) -> PromotionReport:
    """Promote the last evaluated candidate if its gates passed and the policy allows.

    Raises:
        NotReadyError: Nothing has been evaluated.
        IntegrityError: The bundle fails the check in a fresh process; the last champion stays.
    """
    evaluation = promotions.latest_evaluation(platform.ledger, target.key)
    if evaluation is None:
        raise NotReadyError(
            "no candidate has been evaluated, and without an evaluation nothing is promoted",
            where=target.key,
            fix=f"`ml-platform run {target.use_case.name}`, or its job train_and_promote",
        )
    current = promotions.champion(platform.ledger, target.key)
    if current is not None and current.model_digest == evaluation.model_digest:
        return PromotionReport("in_force", current, evaluation, _project(platform, target, current))
    if not evaluation.passed:
        return PromotionReport("refused", current, evaluation)
    if target.model.promotion.policy == "approval":
        word = promotions.approval_of(platform.ledger, evaluation.id)
        if word is None:
            return PromotionReport("waiting", current, evaluation)
        if word.decision == "rejected":
            return PromotionReport("rejected", current, evaluation)
        return _promote(platform, target, evaluation, as_of, word.who, word.why)
    return _promote(platform, target, evaluation, as_of, POLICY, "all gates passed")


def promote_by_policy(
    platform: Platform, target: Target, evaluation: Evaluation, as_of: datetime, who: str, why: str
) -> Promotion | None:
    """Promote what passed its gates; ``None`` where it did not, or where the policy asks a person first.

    Raises:
        IntegrityError: The bundle fails the check in a fresh process; the last champion stays.
    """
    if not evaluation.passed or target.model.promotion.policy == "approval":
        return None
    return _promote(platform, target, evaluation, as_of, who, why).champion


def approve_waiting(platform: Platform, target: Target, who: str, why: str) -> Promotion:
    """Approve the candidate that waits, and promote it.

    Raises:
        NotReadyError: None waits.
        GateError: Its gates did not pass.
    """
    evaluation = _waiting(platform, target)
    promotions.decide(platform.ledger, evaluation, "approved", who, why)
    now = platform.clock(target.use_case).now()
    champion = _promote(platform, target, evaluation, now, who, why or "approved").champion
    assert champion is not None
    return champion


def reject_waiting(platform: Platform, target: Target, who: str, why: str) -> None:
    """Reject the candidate that waits; the champion in force stays."""
    promotions.decide(platform.ledger, _waiting(platform, target), "rejected", who, why)


def roll_back(
    platform: Platform, target: Target, who: str, why: str, version: int | None = None
) -> RollbackReport:
    """Restore the champion before this one (or of a version) and a cache that it stands behind, in one step.

    Partitions still to come, and the one that is served now, are scored again with the restored champion, on
    the features as served. Other past partitions keep the predictions that were served: they are evidence.
    """
    now = platform.clock(target.use_case).now()
    _, restored = promotions.rollback_target(platform.ledger, target.key, version)
    row = caching.committed_generation(platform, target.key)
    before = caching.as_generation(row) if row else None
    again = _still_to_come(target, before, now)
    prepared = scoring.prepare_again(platform, target, restored, again, now)
    planned = caching.plan_rollback(target, before, prepared.rows, restored.model_digest, now)
    if planned is not None:
        caching.write_segments(platform, target, planned, prepared.rows)

    def together(session: Session, promotion: Promotion) -> None:
        prepared.publish_in(platform, session)
        if planned is not None:
            caching.record_in(session, planned, promotion.id)

    promotion = promotions.roll_back(
        platform.ledger,
        target.key,
        as_of=now,
        who=who,
        why=why or "no reason given",
        verify=lambda p: _check_again(platform, target, p),
        together=together,
        version=version,
    )
    warning = _project(platform, target, promotion)
    if planned is not None:
        caching.project(platform, target, planned)
    return RollbackReport(promotion, planned, again, warning)


def _promote(
    platform: Platform, target: Target, evaluation: Evaluation, as_of: datetime, who: str, why: str
) -> PromotionReport:
    promotion = promotions.promote(
        platform.ledger,
        evaluation,
        as_of=as_of,
        who=who,
        why=why,
        verify=lambda: verify_bundle(platform, target, evaluation),
    )
    return PromotionReport("promoted", promotion, evaluation, _project(platform, target, promotion))


def _waiting(platform: Platform, target: Target) -> Evaluation:
    evaluation = promotions.latest_evaluation(platform.ledger, target.key)
    current = promotions.champion(platform.ledger, target.key)
    if evaluation is None or (current and current.model_digest == evaluation.model_digest):
        raise NotReadyError(
            "no candidate waits for a decision",
            where=target.key,
            fix="`ml-platform champion history` shows where things stand",
        )
    return evaluation


def _check_again(platform: Platform, target: Target, promotion: Promotion) -> None:
    if promotion.evaluation_id is not None:
        verify_bundle(platform, target, promotions.evaluation(platform.ledger, promotion.evaluation_id))


def verify_bundle(platform: Platform, target: Target, evaluation: Evaluation) -> None:
    """Load the bundle in a fresh process and compare its scores with the evaluation's."""
    judged = read_table(platform.lake.get(evaluation.evidence_digest))
    if set(target.model.feature_names) <= set(judged.column_names):  # a recalibration brings its own rows
        sample = judged.slice(max(0, judged.num_rows - SAMPLE_ROWS))
        expected = target.kind.scores(sample, "candidate")
        check_bundle(platform.lake, evaluation.model_digest, sample, expected, target.key)
        return
    dataset = versions.find(platform.ledger, evaluation.dataset_version)
    manifest = versions.manifest_of(platform.lake, dataset)
    part = manifest.of("gate")[-1]
    sample = versions.load_partition(platform.lake, manifest, part).slice(0, SAMPLE_ROWS)
    mask = np.asarray(judged["partition_key"].to_pylist()) == part.partition
    expected = target.kind.scores(judged, "candidate")[mask][:SAMPLE_ROWS]
    check_bundle(platform.lake, evaluation.model_digest, sample, expected, target.key)


def _project(platform: Platform, target: Target, promotion: Promotion) -> str:
    """Let MLflow follow; when it is down the promotion stands, and the doctor catches up."""
    if not platform.outside.tracked:
        return ""
    model = promotions.model(platform.ledger, promotion.model_digest)
    try:
        platform.tracking.project_champion(target.key, promotion.model_digest, model.mlflow_run_id)
    except StoreError as error:
        return f"MLflow does not show it yet ({error.what}); `ml-platform doctor` repairs that"
    return ""


def _still_to_come(target: Target, generation: Generation | None, now: datetime) -> list[str]:
    """Partitions whose predictions are still to be used, the one that is served now among them.

    Where a prediction is made at the end of its partition, nothing that is served is still to begin.
    """
    if generation is None:
        return []
    keys = [s.partition_key for s in generation.segments]
    starts = target.use_case.scheme.partition
    return [k for k in keys if starts(k).start >= now or k == generation.served_partition]
