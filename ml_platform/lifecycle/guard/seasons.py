"""The same season a year ago: its models, its losses, and its features as a second reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ml_platform.config import UseCase
from ml_platform.datasets import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard.evidence_tables import Tables
from ml_platform.modeling import bundle
from ml_platform.modeling.frames import daily_losses
from ml_platform.modeling.model import Model
from ml_platform.monitoring.covariates import covariate_shift
from ml_platform.monitoring.season import OLDER_MODEL, SAME_SEASON, DailyValues, older_model, same_season
from ml_platform.registry import promotions
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.storage.tables import Promotion

COVERED = 0.5
"""Least share of the same period a season ago that a model of the same season was trained on."""
_YEAR = 364
"""Days: whole weeks, so that weekdays meet."""


def season_length(use_case: UseCase, partitions: int | None) -> int:
    """Partitions after which a season comes back; a year where the setting is None."""
    return partitions or max(1, round(_YEAR / use_case.scheme.days))


def older_models(
    tables: Tables, champion_losses: Mapping[str, float], *, floor: float, compare: bool
) -> list[Finding]:
    """The champion against earlier ones that were trained on this season, on the same recent matured days.

    Args:
        tables: What the diagnosis looks at.
        champion_losses: The champion's realised losses of the days of P(y|x).
        floor: Least gain that counts.
        compare: Whether something fired; without, nobody has to be scored.

    Returns:
        One finding per older model, its version being the subject; one that is UNKNOWN where there is none.
    """
    keys = sorted(champion_losses)
    found = _of_the_season(tables, keys)
    if not found:
        why = "no earlier champion was trained on this season of an earlier year"
        return [Finding(OLDER_MODEL, "all", "UNKNOWN", why)]
    if not compare:
        return []
    level = tables.settings.p_value / len(found)
    return [_compared(tables, p, champion_losses, floor=floor, level=level) for p in found]


def _of_the_season(tables: Tables, keys: Sequence[str]) -> list[Promotion]:
    """Earlier champions, other than the one in force, the newest first."""
    ledger, current = tables.platform.ledger, tables.live.promotion
    line: dict[str, Promotion] = {}
    for promotion in promotions.history(ledger, tables.target.key):
        older = promotion.action != "rollback" and promotion.version < current.version
        if older and promotion.as_of <= current.as_of and promotion.model_digest != current.model_digest:
            line.setdefault(promotion.model_digest, promotion)
    return [p for p in line.values() if _covers(tables, p, keys)]


def _covers(tables: Tables, promotion: Promotion, keys: Sequence[str]) -> bool:
    """It was trained on at least half of the same period, one season ago or more."""
    scheme = tables.target.use_case.scheme
    length = season_length(tables.target.use_case, tables.settings.season_partitions)
    trained = promotions.model(tables.platform.ledger, promotion.model_digest)
    dataset = versions.find(tables.platform.ledger, trained.dataset_version)
    known = {p.partition for p in versions.manifest_of(tables.platform.lake, dataset).partitions}
    oldest = scheme.distance(min(known), max(keys)) // length if keys and known else 0
    ago = [[scheme.shift(k, -length * n) for k in keys] for n in range(1, 1 + oldest)]
    return any(len(known.intersection(period)) >= COVERED * len(keys) for period in ago)


def _compared(
    tables: Tables, promotion: Promotion, champion_losses: Mapping[str, float], *, floor: float, level: float
) -> Finding:
    name = f"v{promotion.version}"
    try:
        model = bundle.from_bytes(tables.platform.lake.get(promotion.model_digest), promotion.model_digest)
        losses = realised(tables, sorted(champion_losses), model)
    except PlatformError as error:
        return Finding(OLDER_MODEL, name, "UNKNOWN", f"version {promotion.version}: {error.what}")
    return older_model(name, champion_losses, losses, floor=floor, level=level)


def a_season_ago(
    tables: Tables, reference: Sequence[str], current: Sequence[str]
) -> tuple[DailyValues, DailyValues] | str:
    """Realised losses of the same two periods a season ago, by the models that served then.

    Data alone have no loss. Where less than half of either period was served, a sentence says so.
    """
    scheme = tables.target.use_case.scheme
    length = season_length(tables.target.use_case, tables.settings.season_partitions)
    periods = [[scheme.shift(k, -length) for k in keys] for keys in (reference, current)]
    served = [[k for k in keys if k in tables.live.heads] for keys in periods]
    for have, keys in zip(served, periods, strict=True):
        if len(have) < max(2, COVERED * len(keys)):
            span = f" ({min(keys)} to {max(keys)})" if keys else ""
            return (
                f"no predictions of the same season before: {len(have)} of {scheme.counted(len(keys))}{span} "
                "were served, and data alone have no loss"
            )
    losses = realised(tables, sorted({*served[0], *served[1]}))
    return tuple({k: losses[k] for k in keys if k in losses} for keys in served)  # type: ignore[return-value]


def drift_of_the_season(tables: Tables, recent: Findings) -> Finding:
    """The drift of the features beside a second reference: as many partitions of the same season a year ago.

    Args:
        tables: What the diagnosis looks at.
        recent: What was found of the features against the champion's reference.

    Returns:
        ``same_season``; UNKNOWN with its reason where there is no such history, or nothing was found.
    """
    against = next((f for f in recent.items if f.statistic == "domain_auc"), None)
    if against is None:
        return Finding(SAME_SEASON, "all", "UNKNOWN", recent.reason or "the features were not compared")
    keys = _around_a_season_ago(tables)
    if not keys:
        return Finding(SAME_SEASON, "all", "UNKNOWN", _too_young(tables))
    if against.state != "FAIL":
        return replace(against, statistic=SAME_SEASON, state="PASS", detail="the features did not drift")
    rows = views.compute(tables.platform, tables.target.use_case, "features", keys, tables.live.as_of)
    present = [t for t in rows.values() if t.num_rows]
    if len(present) < COVERED * len(keys):
        why = f"only {len(present)} of {len(keys)} partitions of the same season a year ago have rows"
        return Finding(SAME_SEASON, "all", "UNKNOWN", why)
    then = pa.concat_tables(present).to_pandas()
    score = tables.target.kind.names()[0]
    report = covariate_shift(
        then.assign(**{score: np.nan}),
        tables.window,
        features=tables.model.features,
        score=score,
        settings=tables.settings,
    )
    return same_season(against, next(f for f in report.findings.items if f.statistic == "domain_auc"))


def _around_a_season_ago(tables: Tables) -> list[str]:
    """Partitions around the window's a season ago whose features have all the history that they count."""
    use_case, size = tables.target.use_case, tables.settings.reference_partitions
    scheme, last = use_case.scheme, max(tables.window_keys, default=tables.live.partition)
    length = season_length(use_case, tables.settings.season_partitions)
    middle = scheme.shift(last, -length)
    first = scheme.shift(scheme.first_key, use_case.config.views.history_partitions or 0)
    keys = [scheme.shift(middle, step - size // 2) for step in range(size)]
    return keys if keys[0] >= first else []


def _too_young(tables: Tables) -> str:
    use_case = tables.target.use_case
    length = season_length(use_case, tables.settings.season_partitions)
    return (
        f"no second reference of the same season: the history begins on {use_case.scheme.first_key}, and a "
        f"season comes back after {length} partitions"
    )


def realised(tables: Tables, keys: Sequence[str], model: Model | None = None) -> dict[str, float]:
    """Realised loss by partition of what was served, or of a model on the same features as served."""
    labels = tables.live.labels(keys)
    rows = tables.live.judged(keys, labels) if labels is not None else None
    if rows is None or not rows.num_rows:
        return {}
    kind, codes = tables.target.kind, rows[tables.model.label.column].to_numpy().astype(np.float64)
    scores = kind.scores(rows) if model is None else model.predict(rows)
    return daily_losses(kind, rows["partition_key"].to_numpy(), codes, scores)
