"""Recalibration: the champion's estimator with a new calibrator, kept only where later days are better.

Platt scaling (Platt 1999) of a yes or no, bias-corrected temperature (Alexandari et al. 2020) of several
classes, a straight line of a number: on the matured partitions before the last few, judged on those last
ones, then fitted again up to the last matured one. On few days it hurts (measured: 14 days took .505 to
.529), so it asks for many.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from time import perf_counter

import numpy as np
import pyarrow as pa

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle.evaluation import with_scores
from ml_platform.lifecycle.guard.challenger import Challenge, Outcome
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.promotion import promote_by_policy
from ml_platform.lifecycle.scoring import load_champion
from ml_platform.modeling import bundle
from ml_platform.modeling.calibration import RECALIBRATIONS, Calibrator
from ml_platform.modeling.day_bounds import MINIMUM_DAYS, mean_of_days
from ml_platform.modeling.frames import Floats, mean_by
from ml_platform.modeling.gates import Gate, State, as_record
from ml_platform.modeling.model import Model
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Evaluation, Promotion
from ml_platform.storage.tables import Model as ModelRow


def recalibrate(platform: Platform, target: Target, as_of: datetime, *, who: str, why: str) -> Challenge:
    """Fit a new calibrator to the champion, judge it on later days, and promote it where it improves.

    Raises:
        NoChampionError: There is no champion.
        NotReadyError: Too few matured partitions were served by the champion.
    """
    started = perf_counter()
    settings = target.model.retraining
    promotion = promotions.require_champion(platform.ledger, target.key)
    rows = _matured_rows(Live(platform, target, as_of, promotion))
    keys = sorted(set(rows["partition_key"].to_pylist()))
    champion = load_champion(platform, promotion.model_digest)
    raw = champion.fitted.predict(champion.encoder.encode(rows))
    labels, fit = rows[target.model.label.column].to_numpy(), RECALIBRATIONS[target.kind.name]
    later = np.isin(rows["partition_key"].to_numpy(), keys[-settings.calibration_gate :])
    judged = fit(raw[~later], labels[~later])
    gate = _gate(target, rows.filter(pa.array(later)), champion, judged, raw[later], labels[later])
    final = fit(raw, labels) if gate.state == "PASS" else None
    if final is None:
        final = judged or champion.calibrator
    model = replace(champion, calibrator=final)
    evaluation = _record(platform, target, promotion, model, rows, gate, as_of)
    done = promote_by_policy(platform, target, evaluation, as_of, who, why)
    outcome: Outcome = "promoted" if done else "waiting" if evaluation.passed else "rejected"
    return Challenge(outcome, evaluation, done, 1.0, perf_counter() - started)


def _matured_rows(live: Live) -> pa.Table:
    """The last matured rows that the champion served.

    Raises:
        NotReadyError: There are too few partitions of them.
    """
    settings = live.target.model.retraining
    needed = settings.calibration_partitions + settings.calibration_gate
    keys = live.matured[-needed:]
    if len(keys) < needed:
        raise NotReadyError(
            f"{len(keys)} matured partitions were served by the champion; {needed} are needed",
            where=live.target.key,
            fix=f"wait for {needed - len(keys)} more to mature",
        )
    labels = live.labels(keys)
    rows = live.judged(keys, labels) if labels is not None else None
    if rows is None or not rows.num_rows:
        raise NotReadyError("no label of the served partitions is known", where=live.target.key)
    return rows


def _gate(
    target: Target, rows: pa.Table, champion: Model, judged: Calibrator | None, raw: Floats, labels: Floats
) -> Gate:
    confidence = target.model.retraining.incident_confidence
    words = f"{confidence:.0%} lower bound of the {target.kind.loss_words} saved on later days, paired by day"
    if judged is None:
        return Gate("recalibrated", "UNKNOWN", None, ">", 0.0, "no calibrator could be fitted")
    _, days = np.unique(rows["partition_key"].to_pylist(), return_inverse=True)
    before = target.kind.losses(labels, champion.calibrator.apply(raw))
    after = target.kind.losses(labels, judged.apply(raw))
    gain = mean_of_days(mean_by(days, before - after, int(days.max()) + 1))
    if gain.days < MINIMUM_DAYS:
        return Gate("recalibrated", "UNKNOWN", None, ">", 0.0, f"{gain.days} later days say too little")
    lower = gain.lower(confidence)
    state: State = "PASS" if lower > 0 else "FAIL"
    facts = {"gain": gain.value, "days": gain.days, "standard_error": gain.se}
    return Gate("recalibrated", state, lower, ">", 0.0, words, facts)


def _record(
    platform: Platform,
    target: Target,
    promotion: Promotion,
    model: Model,
    rows: pa.Table,
    gate: Gate,
    as_of: datetime,
) -> Evaluation:
    """Keep the model, and an evaluation whose dataset is the champion's own."""
    old = promotions.model(platform.ledger, promotion.model_digest)
    digest = platform.lake.put(bundle.to_bytes(model))
    row = ModelRow(
        digest=digest,
        model_key=target.key,
        dataset_version=old.dataset_version,
        estimator=old.estimator,
        metrics=dict(old.metrics),
        scores_digest=old.scores_digest,
        mlflow_run_id=old.mlflow_run_id,
        as_of=as_of,
        recorded_at=wall_now(),
    )
    promotions.record_model(platform.ledger, row)
    evaluation = Evaluation(
        model_key=target.key,
        model_digest=digest,
        against_digest=promotion.model_digest,
        dataset_version=old.dataset_version,
        passed=gate.state == "PASS",
        gates=[as_record(gate)],
        evidence_digest=platform.lake.put(write_table(_evidence(target, model, rows))),
        as_of=as_of,
        recorded_at=wall_now(),
    )
    promotions.record_evaluation(platform.ledger, evaluation)
    return evaluation


def _evidence(target: Target, model: Model, rows: pa.Table) -> pa.Table:
    """Scores of the recalibrated model on the rows it was fitted to and judged on, with the features."""
    keys = ["partition_key", *target.use_case.config.views.key, *target.model.feature_names]
    table = rows.select(list(dict.fromkeys([*keys, target.model.label.column])))
    table = with_scores(target, table, "candidate", model.predict(rows))
    return with_scores(target, table, "champion", target.kind.scores(rows))
