"""What an action or a refusal was worth: losses of two models on the same matured days, in money.

An action is what a verdict asked for, and also a promotion or a rollback that a person or the policy made
beside any verdict.

A promotion is compared with the champion it replaced, a rejected challenger with the champion that stayed:
the challenger's scores of later days, on the features as they were served, are what a shadow would have
said. A refusal that trained nothing left nothing to compare with, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from ml_platform.errors import PlatformError
from ml_platform.lifecycle.guard.asked import attempts
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import Attempt, Effect, Promotion

if TYPE_CHECKING:
    import pyarrow as pa

    from ml_platform.modeling.model import Model

KNOWN, PENDING, UNKNOWN = "known", "pending", "unknown"
_LEAST = 3


@dataclass(frozen=True)
class Worth:
    """One action's effect.

    Attributes:
        attempt_id: Its number; None where no verdict had asked for it.
        as_of: When it was taken.
        action: What was done.
        outcome: What came of it.
        state: ``known``, ``pending`` until labels are mature, ``unknown`` where it never will be.
        loss_change: Mean loss saved by what was done, against what else would have served; by day; of a
            regression as a share of the label's variance.
        partitions: Matured partitions that were compared.
        rows: Predictions on them.
        worth: Value of that, in the currency of the settings.
        cost: Computing and review.
        reason: How it is known, or why not.
    """

    attempt_id: int | None
    as_of: datetime
    action: str
    outcome: str
    state: str
    loss_change: float | None
    partitions: int
    rows: int
    worth: float | None
    cost: float
    reason: str


@dataclass(frozen=True)
class Reckoning:
    """All effects of a model."""

    effects: tuple[Worth, ...]
    currency: str
    refusals: int

    @property
    def gained(self) -> float:
        """Worth of all actions that is known."""
        return sum(e.worth for e in self.effects if e.worth is not None)

    @property
    def net(self) -> float:
        """That, less what the same actions cost: what others cost may have gained something, too."""
        return sum(e.worth - e.cost for e in self.effects if e.worth is not None)

    @property
    def cost(self) -> float:
        """Computing and review of all actions."""
        return sum(e.cost for e in self.effects)

    def sentence(self) -> str:
        """The sum, for people."""
        if not self.effects and not self.refusals:
            return "no verdict has asked for an action yet, and no champion was replaced"
        known = [e for e in self.effects if e.worth is not None]
        told = []
        if known:
            told += [f"{len(known)} action(s) gained {self.gained:,.2f} {self.currency}, net {self.net:,.2f}"]
        if others := len(self.effects) - len(known):
            told += [f"what {others} action(s) gained is not known"]
        if self.effects:
            told += [f"all cost {self.cost:,.2f} {self.currency}"]
        if self.refusals:
            told += [f"{self.refusals} refusal(s) trained nothing, so what they were worth cannot be known"]
        return "; ".join(told)


@dataclass(frozen=True)
class _Action:
    """Something that was decided, and the two models that it was between.

    Attributes:
        attempt: What carried it out; None of a promotion or a rollback that no verdict had asked for.
        promotion: What came of it; None where the champion stayed.
        chosen, other: Digests of the model that served because of it and of the one that would have; None
            where none was kept.
    """

    attempt: Attempt | None
    promotion: Promotion | None
    as_of: datetime
    what: str
    outcome: str
    chosen: str | None
    other: str | None


def reckon(platform: Platform, target: Target, as_of: datetime) -> Reckoning:
    """Reckon every action on the days that have matured since; that of an attempt is kept in the ledger."""
    made = attempts(platform, target)
    line = promotions.history(platform.ledger, target.key)
    actions = _actions([a for a in made if a.status == "done"], line)
    found = [_worth(platform, target, a, _until(target, a, line, as_of), as_of) for a in actions]
    for worth in found:
        if worth.attempt_id is not None:
            _keep(platform, target, worth, as_of)
    refusals = sum(a.status == "refused" for a in made)
    return Reckoning(tuple(found), target.model.retraining.value.currency, refusals)


def _actions(done: Sequence[Attempt], line: Sequence[Promotion]) -> list[_Action]:
    """What verdicts asked for, and what was promoted or taken back beside them, in order."""
    by_id = {p.id: p for p in line}
    judged = {p.evaluation_id: p for p in line if p.action != "rollback" and p.evaluation_id is not None}
    found = []
    for a in done:
        # What passed its gates may have waited for a person, who promoted it later.
        promotion = by_id.get(a.promotion_id or 0) or judged.get(a.details.get("evaluation_id", 0))
        found.append(_asked(a, promotion, by_id))
    covered = {a.promotion.id for a in found if a.promotion is not None}
    for p in line:
        before = by_id.get(p.previous_id or 0)
        if p.id not in covered and before is not None:
            outcome = f"v{before.version} → v{p.version}, by {p.who}"
            found.append(_Action(None, p, p.as_of, p.action, outcome, p.model_digest, before.model_digest))
    return sorted(found, key=lambda a: a.as_of)


def _asked(attempt: Attempt, promotion: Promotion | None, by_id: Mapping[int, Promotion]) -> _Action:
    challenger, against = attempt.details.get("challenger"), attempt.details.get("against")
    if promotion is not None and attempt.action == "rollback":
        before = by_id.get(promotion.previous_id or 0)
        challenger, against = promotion.model_digest, before.model_digest if before else None
    outcome = attempt.outcome
    if promotion is not None and attempt.promotion_id is None:
        outcome = f"{outcome}, then promoted by {promotion.who}"
    as_of = promotion.as_of if promotion is not None else attempt.as_of
    pair = (challenger, against) if promotion is not None else (against, challenger)
    return _Action(attempt, promotion, as_of, attempt.action, outcome, *pair)


def _until(target: Target, action: _Action, line: Sequence[Promotion], as_of: datetime) -> datetime:
    """An action is judged up to the next change of the champion, and no longer than its horizon."""
    horizon = target.model.retraining.value.horizon_partitions * target.use_case.scheme.days
    ends = [p.as_of for p in line if p.as_of > action.as_of]
    return min([*ends, as_of, action.as_of + timedelta(days=horizon)])


def _worth(platform: Platform, target: Target, action: _Action, until: datetime, as_of: datetime) -> Worth:
    value = target.model.retraining.value
    seconds = action.attempt.seconds if action.attempt else 0.0
    cost = seconds / 3600 * value.compute_hour + value.review
    number = action.attempt.id if action.attempt else None

    def said(state: str, reason: str) -> Worth:
        return Worth(number, action.as_of, action.what, action.outcome, state, None, 0, 0, None, cost, reason)

    if not action.chosen or not action.other:
        return said(UNKNOWN, "no second model was kept to compare with")
    champion = promotions.champion(platform.ledger, target.key, as_of)
    assert champion is not None
    live = Live(platform, target, as_of, champion)
    use_case = target.use_case
    keys = [k for k in live.heads if action.as_of <= use_case.cutoff(k) <= until and k <= live.last_mature]
    if len(keys) < _LEAST:
        return said(PENDING, f"{len(keys)} matured partitions since; at least {_LEAST} are needed")
    labels = live.labels(keys)
    rows = live.judged(keys, labels) if labels is not None else None
    if rows is None or not rows.num_rows:
        return said(PENDING, "no label of the days since is known")
    # Reading a model imports estimators for two seconds, and most installations have no pair yet.
    from ml_platform.modeling import bundle

    try:
        pair = [bundle.from_bytes(platform.lake.get(d), d) for d in (action.chosen, action.other)]
    except PlatformError as error:
        return said(UNKNOWN, error.what)
    chosen, other = (_loss(target, m, rows) for m in pair)
    # A unit of loss is worth the same whatever the label's unit is.
    saved = (other - chosen) / target.kind.loss_scale(rows[target.model.label.column].to_numpy())
    worth = None if value.per_loss_unit is None else value.per_loss_unit * rows.num_rows * saved
    words = "against the model it replaced" if action.promotion else "against the challenger it rejected"
    return Worth(
        number,
        action.as_of,
        action.what,
        action.outcome,
        KNOWN,
        saved,
        len(keys),
        rows.num_rows,
        worth,
        cost,
        f"{words}, on the same {len(keys)} matured partitions{_unpriced(worth)}",
    )


def _unpriced(worth: float | None) -> str:
    unset = "; nobody has said what that is worth (retraining.value.per_loss_unit)"
    return unset if worth is None else ""


def _loss(target: Target, model: Model, rows: pa.Table) -> float:
    from ml_platform.modeling.frames import daily_losses

    codes = rows[target.model.label.column].to_numpy()
    daily = daily_losses(target.kind, rows["partition_key"].to_numpy(), codes, model.predict(rows))
    return sum(daily.values()) / len(daily)


def _keep(platform: Platform, target: Target, worth: Worth, as_of: datetime) -> None:
    """Enter or renew an effect; one that is final keeps its number."""
    with platform.ledger.begin() as session:
        row = session.scalars(select(Effect).where(Effect.attempt_id == worth.attempt_id)).first()
        if row is None:
            row = Effect(model_key=target.key, attempt_id=worth.attempt_id)
            session.add(row)
        row.state, row.loss_change, row.partitions = worth.state, worth.loss_change, worth.partitions
        row.rows, row.worth, row.cost, row.reason = worth.rows, worth.worth, worth.cost, worth.reason
        row.as_of, row.recorded_at = as_of, wall_now()
