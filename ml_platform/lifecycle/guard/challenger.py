"""A challenger: the recipe judged on days after its training window, then refitted up to the last mature day.

A gate on held-out days judges the *recipe*: the model that is promoted is its refit, because a model that
stops before the gate's days is stale by their number (measured over 15 origins: .586 against .568).
Features are built as of each day's own cutoff, so scores of later days are those that a shadow deployment
would have published: no second serving path is needed to have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.errors import NotReadyError, PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle.evaluation import judged_by_slices, with_scores
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.promotion import promote_by_policy
from ml_platform.lifecycle.training import keep_model
from ml_platform.lifecycle.training_data import Windows, assemble, ensure_views
from ml_platform.model_config import GateConfig
from ml_platform.modeling import bundle
from ml_platform.modeling.calibration import RECALIBRATIONS, Calibrator, cross_fitted
from ml_platform.modeling.comparison import Evidence, Missing
from ml_platform.modeling.frames import daily_losses
from ml_platform.modeling.gates import Gate, as_record, decide, judge
from ml_platform.modeling.model import Model
from ml_platform.modeling.train import TrainedModel, train
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Dataset, Evaluation, Promotion

Kind = Literal["incident", "freshness"]
Outcome = Literal["promoted", "rejected", "waiting"]
Floats = npt.NDArray[np.float64]
REFIT_DAYS = 7
"""Last matured days on which the refit is held against the model that was gated."""


@dataclass(frozen=True)
class Plan:
    """What a challenger is trained and judged on.

    Attributes:
        kind: ``incident``: it must beat the champion; ``freshness``: it must not be worse.
        window: Partitions to train on and to judge on; the judged ones come later.
        refit: Partitions of the refit: as many, up to the last mature one.
        onset: First partition of the new world, for an incident.
    """

    kind: Kind
    window: Windows
    refit: list[str]
    onset: str | None = None

    def after_onset(self, keys: Sequence[str]) -> list[str]:
        """The partitions of the new world."""
        return [k for k in keys if self.onset is not None and k >= self.onset]


@dataclass(frozen=True)
class Challenge:
    """What came of a challenger.

    Attributes:
        outcome: ``promoted``, ``rejected``, or ``waiting`` for a person where the policy is approval.
        evaluation: The ledger's entry, with every gate.
        promotion: The new champion, if it was promoted.
        weight: Weight of rows after the onset that was chosen.
        seconds: Of training and judging.
        log: What was done, in order.
    """

    outcome: Outcome
    evaluation: Evaluation
    promotion: Promotion | None
    weight: float
    seconds: float
    log: tuple[str, ...] = field(default=())

    def sentence(self) -> str:
        """For people."""
        failed = [f"{g['name']} {g['state']}" for g in self.evaluation.gates if g["state"] != "PASS"]
        if self.outcome == "waiting":
            return "the challenger passed its gates and waits for a person (`ml-platform approve | reject`)"
        if self.promotion is not None:
            return f"the challenger passed its gates and serves as version {self.promotion.version}"
        return f"the challenger was rejected by {', '.join(failed)}; the champion goes on"


def plan(target: Target, as_of: datetime, kind: Kind, onset: str | None = None) -> Plan:
    """The windows of a challenger as of an instant; T is the last mature partition.

    Raises:
        NotReadyError: An incident without an onset, or with too few days after it.
    """
    scheme, settings = target.use_case.scheme, target.model.retraining
    last = target.use_case.last_mature(target.model, as_of)
    size = settings.incident_gate if kind == "incident" else settings.freshness_gate
    first_judged = scheme.shift(last, 1 - size)
    last_train = scheme.shift(first_judged, -1 - target.model.windows.embargo)
    train_keys = target.use_case.trained_on(target.model, last_train)
    made = Plan(
        kind,
        Windows(train_keys, scheme.keys(first_judged, last)),
        target.use_case.trained_on(target.model, last),
        onset if kind == "incident" else None,
    )
    if kind == "incident":
        after = len(made.after_onset(train_keys))
        if onset is None or after < settings.onset_minimum or onset > first_judged:
            raise NotReadyError(
                f"{after} matured partitions after the onset ({onset or 'unknown'}) can train, "
                f"{settings.onset_minimum} are needed before the {size} that judge",
                where=target.key,
                fix="wait until more partitions are mature",
            )
    return made


def challenge(
    platform: Platform,
    target: Target,
    as_of: datetime,
    made: Plan,
    *,
    who: str,
    why: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Challenge:
    """Train, judge, refit and, where every gate passes, promote.

    Raises:
        NoChampionError: There is no champion to challenge.
        NotReadyError: Too few partitions can be used.
        IntegrityError: The refit's bundle fails the check in a fresh process; the champion stays.
    """
    started = perf_counter()
    log: list[str] = []

    def tell(what: str) -> None:
        log.append(what)
        progress(what)

    champion = promotions.require_champion(platform.ledger, target.key)
    built = ensure_views(platform, target, sorted({*made.window.train, *made.window.gate}), as_of)
    tell(f"features and labels of {len(built)} partition(s) were missing and are built")
    report, dataset = assemble(platform, target, as_of, made.window)
    tell(
        f"dataset {report.version}: {report.train.partitions} partitions to train on, "
        f"{report.gate.partitions} to judge on, {len(report.left_out)} left out"
    )
    manifest = versions.manifest_of(platform.lake, dataset)
    rows = versions.load(platform.lake, manifest, "train")
    later = versions.load(platform.lake, manifest, "gate")
    weight, gated = _weighted(target, made, rows, dataset, tell)
    incumbent = _champion_model(platform, champion)
    gates = _gates(target, made, gated.model, incumbent, later)
    tell("; ".join(f"{g.name} {g.state}" for g in gates))
    promoted = gated
    passed = decide(gates).promote
    if passed:
        keep_model(platform, target, gated, dataset, as_of, None)  # its scores top up the reference
        promoted, refit_dataset = _refit(platform, target, as_of, made, weight)
        gates = [*gates, _refit_gate(target, promoted.model, gated.model, later)]
        passed = decide(gates).promote
        tell(f"refitted to {made.refit[-1]} on dataset {refit_dataset.version}")
        keep_model(platform, target, promoted, refit_dataset, as_of, None)
    digest = keep_model(platform, target, gated, dataset, as_of, None) if not passed else _digest(promoted)
    evaluation = _record(
        platform,
        target,
        digest,
        champion,
        dataset,
        gates,
        _evidence(target, later, promoted.model, gated.model, incumbent),
        passed=passed,
        as_of=as_of,
    )
    promotion = promote_by_policy(platform, target, evaluation, as_of, who, why)
    outcome: Outcome = "promoted" if promotion else "waiting" if passed else "rejected"
    return Challenge(outcome, evaluation, promotion, weight, perf_counter() - started, tuple(log))


def _train(target: Target, rows: pa.Table, dataset: Dataset, made: Plan, weight: float) -> TrainedModel:
    weights = dict.fromkeys(made.after_onset(sorted(set(rows["partition_key"].to_pylist()))), weight)
    code = dict(compiled_views(target.use_case).by_name)
    if weights and weight != 1:
        code["onset_weight"] = f"{weight:g} from {made.onset}"
    return train(
        rows,
        target.model,
        model_key=target.key,
        dataset_version=dataset.version,
        code_versions=code,
        keys=target.use_case.config.views.key,
        weights=weights if weight != 1 else None,
    )


def _weighted(
    target: Target, made: Plan, rows: pa.Table, dataset: Dataset, tell: Callable[[str], None]
) -> tuple[float, TrainedModel]:
    """The weight of rows after the onset with the least cross-fitted loss on those days, and its model."""
    if made.kind != "incident":
        return 1.0, _train(target, rows, dataset, made, 1.0)
    tried: dict[float, tuple[float, TrainedModel]] = {}
    for weight in target.model.retraining.onset_weights:
        trained = _train(target, rows, dataset, made, weight)
        new = trained.out_of_sample.filter(
            pc.greater_equal(trained.out_of_sample["partition_key"], made.onset)
        )
        labels = new["label"].to_numpy().astype(np.float64)
        scores = target.kind.scores(new, "score")
        daily = daily_losses(target.kind, new["partition_key"].to_numpy(), labels, scores)
        tried[weight] = float(np.mean(list(daily.values()))), trained
    best = min(tried, key=lambda w: (tried[w][0], w))
    tell("weight after the onset: " + ", ".join(f"{w:g} → {loss:.4f}" for w, (loss, _) in tried.items()))
    return best, tried[best][1]


def _champion_model(platform: Platform, champion: Promotion) -> Model | Missing:
    try:
        return bundle.from_bytes(platform.lake.get(champion.model_digest), champion.model_digest)
    except PlatformError as error:
        return Missing(f"the champion cannot be read: {error.what}")


def _gates(
    target: Target, made: Plan, model: Model, incumbent: Model | Missing, later: pa.Table
) -> list[Gate]:
    """Bias, champion and slices; absolute gates bind the first champion only."""
    settings = target.model.retraining
    base = target.model.gates.model_copy(update={"slice_margin": settings.segment_harm})
    if made.kind == "freshness":
        limits = base.model_copy(update={"champion_margin": settings.freshness_margin})
        return _judge(target, limits, model, incumbent, later)
    harmless = _judge(target, base, model, incumbent, later)
    better = base.model_copy(
        update={"champion_margin": 0.0, "confidence": settings.incident_confidence, "slices": ()}
    )
    beats = [g for g in _judge(target, better, model, incumbent, later) if g.name == "champion"]
    found = [g for g in harmless if g.name != "champion"] + beats
    if isinstance(incumbent, Model):
        found += _beats_recalibrated(target, better, model, incumbent, later)
    return found


def _judge(
    target: Target, limits: GateConfig, model: Model, incumbent: Model | Missing, later: pa.Table
) -> list[Gate]:
    own = judged_by_slices(target, later, model.predict(later))
    if isinstance(incumbent, Missing):
        return _against(own, limits, model, incumbent)
    other = judged_by_slices(target, later, incumbent.predict(later))
    gates = _against(own, limits, model, other)
    return [_relative_bias(g, own.bias.value, other.bias.value) for g in gates]


def _against(own: Evidence, limits: GateConfig, model: Model, champion: Evidence) -> list[Gate]:
    return judge(own, limits, kind=model.kind, baseline=None, champion=champion, constant=model.constant)


def _relative_bias(gate: Gate, own: float, incumbent: float) -> Gate:
    """Where the base rate has moved, a challenger fails only if it is more biased than the champion.

    An absolute limit would reject every challenger in a season with half the base rate; its refit, which
    knows the new level, is what would serve.
    """
    if gate.name != "bias" or gate.state != "FAIL" or abs(own) > abs(incumbent):
        return gate
    words = f"{gate.description}; less than the champion's {incumbent:+.4f}"
    return replace(gate, state="PASS", description=words)


def _beats_recalibrated(
    target: Target, limits: GateConfig, model: Model, incumbent: Model, later: pa.Table
) -> list[Gate]:
    """The challenger against the champion with a calibrator fitted, by cross-fitting, on the same days.

    Fitted on the very days that judge it (each on the others), it is the hardest recalibration to beat.
    """
    scores = incumbent.predict(later)
    labels = target.kind.labels(later, target.model.label.column)
    _, folds = np.unique(later["partition_key"].to_pylist(), return_inverse=True)

    def fit(inside: Floats, known: Floats) -> Calibrator:
        return RECALIBRATIONS[target.kind.name](inside, known) or Calibrator()

    recalibrated = cross_fitted(fit, scores, labels, folds)
    assert recalibrated is not None
    own = judged_by_slices(target, later, model.predict(later))
    other = judged_by_slices(target, later, recalibrated)
    found = _against(own, limits, model, other)
    words = "the same, against the champion recalibrated on the other judged days"
    return [
        Gate("recalibrated", g.state, g.measured, g.comparison, g.limit, words, g.evidence)
        for g in found
        if g.name == "champion"
    ]


def _refit(
    platform: Platform, target: Target, as_of: datetime, made: Plan, weight: float
) -> tuple[TrainedModel, Dataset]:
    """The same recipe on as many partitions, up to the last mature one."""
    tail = made.refit[-max(2, len(made.window.gate)) :]
    head = [k for k in made.refit if k not in set(tail)]
    # A version names a role for each partition; a refit trains on both.
    _, dataset = assemble(platform, target, as_of, Windows(head, tail))
    rows = versions.load(platform.lake, versions.manifest_of(platform.lake, dataset))
    return _train(target, rows, dataset, made, weight), dataset


def _refit_gate(target: Target, refit: Model, gated: Model, later: pa.Table) -> Gate:
    """The refit must not lose to the model that was judged on the last matured days, in all and per slice.

    It was fitted to these days too, so that it has no excuse. That it says something else is no fault: it
    has learnt what came after the judged model's window.
    """
    keys = sorted(set(later["partition_key"].to_pylist()))[-REFIT_DAYS:]
    last = later.filter(pc.is_in(later["partition_key"], pa.array(keys, pa.string())))
    new, old = (judged_by_slices(target, last, m.predict(last)) for m in (refit, gated))
    limit = target.model.retraining.segment_harm * new.loss_scale
    losses = {"all": (new.loss - old.loss, limit)}
    for one, other in zip(new.segments, old.segments, strict=True):
        if one.rows >= target.model.gates.slice_minimum_rows:
            losses[f"{one.column}={one.value}"] = (one.loss - other.loss, 2 * limit)
    worst = max(losses, key=lambda k: losses[k][0] / losses[k][1])
    measured, allowed = losses[worst]
    loss = target.kind.loss_words
    words = f"{loss} of the refit over the judged model's on the last {len(keys)} days, largest in {worst}"
    return Gate("refit", "PASS" if measured <= allowed else "FAIL", measured, "<=", allowed, words)


def _evidence(
    target: Target, later: pa.Table, promoted: Model, gated: Model, incumbent: Model | Missing
) -> pa.Table:
    """Scores of the judged rows: ``candidate`` by what is promoted, ``out_of_sample`` by what was gated."""
    keys = ["partition_key", *target.use_case.config.views.key, target.model.label.column]
    table = later.select(list(dict.fromkeys(keys)))
    table = with_scores(target, table, "candidate", promoted.predict(later))
    table = with_scores(target, table, "out_of_sample", gated.predict(later))
    if isinstance(incumbent, Model):
        table = with_scores(target, table, "champion", incumbent.predict(later))
    return table


def _record(
    platform: Platform,
    target: Target,
    digest: str,
    champion: Promotion,
    dataset: Dataset,
    gates: Sequence[Gate],
    evidence: pa.Table,
    *,
    passed: bool,
    as_of: datetime,
) -> Evaluation:
    row = Evaluation(
        model_key=target.key,
        model_digest=digest,
        against_digest=champion.model_digest,
        dataset_version=dataset.version,
        passed=passed,
        gates=[as_record(g) for g in gates],
        evidence_digest=platform.lake.put(write_table(evidence)),
        as_of=as_of,
        recorded_at=wall_now(),
    )
    promotions.record_evaluation(platform.ledger, row)
    return row


def _digest(trained: TrainedModel) -> str:
    return bundle.digest(bundle.to_bytes(trained.model))


def as_facts(made: Plan) -> Mapping[str, Any]:
    """The plan as plain values, for the ledger."""
    first, last = made.window.train[0], made.window.train[-1]
    return {
        "kind": made.kind,
        "onset": made.onset,
        "train": f"{first} to {last}",
        "gate": f"{made.window.gate[0]} to {made.window.gate[-1]}",
        "refit": f"{made.refit[0]} to {made.refit[-1]}",
    }
