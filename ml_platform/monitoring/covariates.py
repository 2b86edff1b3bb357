"""Did the features change where it matters, and are there regions that the model has not seen?

A domain classifier tells current rows from reference rows (Rabanser et al. 2019). Rows of one day share
much, so with random folds it tells any two days apart; here whole days are held out, and its AUC is
judged by the day: a day's score is the mean place of its rows among those of the reference. The density
ratio that follows from the classifier gives the effective sample of the reference for the current rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.breaks import new_category_counts
from ml_platform.monitoring.days import Days, by_day, is_numeric
from ml_platform.monitoring.units import ks_distance
from ml_platform.statistics.blocks import Estimate, Floats, change_of_days, judge
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import finite

QUESTION = "covariates"
AUC_FLOOR = 0.1
"""Least excess of the AUC over one half that counts."""
MATERIAL = 3
"""Features that are named as having moved most."""
ROWS = 3000
FOLDS = 4
TREES = 40
_TREES: dict[str, Any] = {
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_child_samples": 50,
    "subsample": 0.8,
    "subsample_freq": 1,
    "max_bin": 63,
    "num_threads": 1,
    "seed": 0,
    "objective": "binary",
    "deterministic": True,
    "verbosity": -1,
}

Integers = npt.NDArray[np.int64]
Contributions = tuple[Floats, Floats]


@dataclass(frozen=True)
class MovedFeature:
    """How far a feature moved, and how much the model makes of it.

    Attributes:
        name: The feature.
        distance: Kolmogorov-Smirnov distance of the windows, or total variation of categories.
        importance: Its share of the mean absolute contributions; None where none were given.
        materiality: ``distance * importance``; the distance without contributions.
        runs_with_time: It is expected to move.
    """

    name: str
    distance: float
    importance: float | None
    materiality: float
    runs_with_time: bool


@dataclass(frozen=True)
class UnseenCategory:
    """A category that the reference does not have: a cold start.

    Attributes:
        feature: The categorical feature.
        category: The value.
        rows: Current rows.
        share: The same as a share of all current rows.
        mean_score: Their mean score; None without one.
    """

    feature: str
    category: str
    rows: int
    share: float
    mean_score: float | None


@dataclass(frozen=True)
class CovariateReport:
    """What moved.

    Attributes:
        findings: ``domain_auc``, ``effective_sample``, and ``new_categories`` per categorical feature.
        auc: Of the domain classifier, whole days held out; None where it could not be fitted.
        effective_share: Effective sample of the reference under the density ratio, as a share of it.
        moved: All features, the most material first; those that run with time last.
        unseen: New categories, the most frequent first.
        density_ratio: (reference rows,) weight of each sampled reference row, mean one, and its position.
    """

    findings: Findings
    auc: float | None
    effective_share: float | None
    moved: tuple[MovedFeature, ...]
    unseen: tuple[UnseenCategory, ...]
    density_ratio: tuple[Floats, Integers] | None = None


def covariate_shift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    features: Sequence[FeatureConfig],
    score: str,
    settings: DiagnosisConfig,
    contributions: Contributions | None = None,
) -> CovariateReport:
    """Compare the features of two windows.

    Args:
        reference: ``partition_key``, the features, the score.
        current: The same columns.
        features: Features; the classifier leaves out those that run with time.
        score: Column of the score whose mean is told of new categories.
        settings: ``p_value``, ``unseen_effective_share``, ``unseen_share``, ``segment_minimum_rows``.
        contributions: Contributions of the features to the scores of reference and current rows, each
            (rows, features) or their mean absolute values (features,), in the order of ``features``.

    Raises:
        IntegrityError: A column is missing.
    """
    names = [f.name for f in features]
    before, now = (
        by_day(reference, [*names, score], "reference rows"),
        by_day(current, [*names, score], "current rows"),
    )
    if not before.keys or not now.keys:
        which = "current" if before.keys else "reference"
        return CovariateReport(Findings.unknown(QUESTION, f"there are no {which} rows"), None, None, (), ())
    coded = {f.name: _coded(before, now, f) for f in features}
    moved = _moved(coded, features, contributions)
    unseen = _unseen(before, now, features, score)
    domain, ratio = _domain(before, now, [f for f in features if not f.runs_with_time], coded, settings)
    domain[0] = _with_material(domain[0], moved)
    found = [*domain, *_new_categories(now, unseen, features, settings)]
    values = {f.statistic: f.estimate for f in domain}
    auc = values.get("domain_auc")
    return CovariateReport(
        Findings.of(QUESTION, found), auc, values.get("effective_sample"), moved, unseen, ratio
    )


def _coded(before: Days, now: Days, feature: FeatureConfig) -> tuple[Floats, Floats, bool]:
    """Both windows as numbers, categories by their frequency's rank in both; whether it is categorical."""
    if is_numeric(before.frame, feature.name) and is_numeric(now.frame, feature.name):
        return before.numbers(feature.name), now.numbers(feature.name), feature.kind == "categorical"
    both = pd.concat([before.frame[feature.name], now.frame[feature.name]], ignore_index=True)
    codes, _ = pd.factorize(both.astype(object) if both.dtype == object else both)
    numbers = np.where(codes < 0, np.nan, codes).astype(np.float64)
    return numbers[: len(before.of)], numbers[len(before.of) :], True


def _moved(
    coded: dict[str, tuple[Floats, Floats, bool]],
    features: Sequence[FeatureConfig],
    contributions: Contributions | None,
) -> tuple[MovedFeature, ...]:
    shares = _importance(contributions, len(features))
    found = []
    for i, feature in enumerate(features):
        old, new, categorical = coded[feature.name]
        old, new = old[~np.isnan(old)], new[~np.isnan(new)]
        distance = _variation(old, new) if categorical else ks_distance(np.sort(old[::4]), new)
        share = None if shares is None else float(shares[i])
        material = distance if share is None else distance * share
        found.append(MovedFeature(feature.name, distance, share, material, feature.runs_with_time))
    return tuple(sorted(found, key=lambda m: (m.runs_with_time, -m.materiality)))


def _importance(contributions: Contributions | None, features: int) -> Floats | None:
    if contributions is None:
        return None
    means = [
        np.abs(np.atleast_2d(np.asarray(c, dtype=np.float64))[:, :features]).mean(axis=0)
        for c in contributions
    ]
    total = np.mean(means, axis=0)
    shares: Floats = total / max(float(total.sum()), 1e-300)
    return shares


def _with_material(finding: Finding, moved: Sequence[MovedFeature]) -> Finding:
    """The finding with the features whose moves matter most, in words and numbers."""
    most = [m for m in moved if not m.runs_with_time][:MATERIAL]
    how = (
        "distance × share of the score's movement"
        if any(m.importance is not None for m in most)
        else "distance"
    )
    named = ", ".join(f"{m.name} {m.materiality:.3f}" for m in most)
    detail = f"{finding.detail}; moved most ({how}): {named}" if named else finding.detail
    return replace(
        finding, detail=detail, facts={**finding.facts, "material": {m.name: m.materiality for m in most}}
    )


def _variation(old: Floats, new: Floats) -> float:
    """Total variation distance of two samples of categories; 0 when either is empty."""
    if not old.size or not new.size:
        return 0.0
    values = np.unique(np.concatenate([old, new]))
    shares = [np.bincount(np.searchsorted(values, x), minlength=values.size) / x.size for x in (old, new)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _unseen(
    before: Days, now: Days, features: Sequence[FeatureConfig], score: str
) -> tuple[UnseenCategory, ...]:
    scores = now.numbers(score)
    found = []
    for feature in features:
        if feature.kind != "categorical":
            continue
        _, named = new_category_counts(before, now, feature.name)
        values = now.frame[feature.name].astype("string").to_numpy(dtype=object) if named else np.array([])
        for category, rows in named.items():
            mine = scores[values == category]
            mean = finite(float(np.nanmean(mine))) if np.isfinite(mine).any() else None
            found.append(UnseenCategory(feature.name, category, rows, rows / len(now.of), mean))
    return tuple(sorted(found, key=lambda u: -u.rows))


def _new_categories(
    now: Days, unseen: Sequence[UnseenCategory], features: Sequence[FeatureConfig], settings: DiagnosisConfig
) -> list[Finding]:
    found = []
    for feature in (f for f in features if f.kind == "categorical"):
        mine = [u for u in unseen if u.feature == feature.name]
        share, rows = sum(u.share for u in mine), sum(u.rows for u in mine)
        many = share > settings.unseen_share
        found.append(
            Finding(
                statistic="new_categories",
                subject=feature.name,
                state="PASS"
                if not many
                else "FAIL"
                if len(now.of) >= settings.segment_minimum_rows
                else "UNDERPOWERED",
                detail=f"{rows} current rows ({share:.2%}) are of {len(mine)} new categories{_told(mine)}",
                estimate=share,
                floor=settings.unseen_share,
                blocks=len(now.keys),
                rows=len(now.of),
                facts={
                    "categories": [
                        {"category": u.category, "rows": u.rows, "mean_score": u.mean_score}
                        for u in mine[:20]
                    ]
                },
            )
        )
    return found


def _told(new: Sequence[UnseenCategory]) -> str:
    """The largest of them, with their volume and what the model does there."""

    def told(one: UnseenCategory) -> str:
        score = "" if one.mean_score is None else f", mean score {one.mean_score:.3g}"
        return f"{one.category} ({one.rows} rows{score})"

    return f": {', '.join(map(told, new[:3]))}" if new else ""


def _domain(
    before: Days,
    now: Days,
    features: Sequence[FeatureConfig],
    coded: dict[str, tuple[Floats, Floats, bool]],
    settings: DiagnosisConfig,
) -> tuple[list[Finding], tuple[Floats, Integers] | None]:
    """The classifier's AUC and the effective sample, and the density ratio of sampled reference rows."""
    if min(len(before.keys), len(now.keys)) < 2 or not features:
        reason = "the classifier needs two days of each window and a feature that does not run with time"
        return [Finding(s, "all", "UNKNOWN", reason) for s in ("domain_auc", "effective_sample")], None
    picked = _sample(len(before.of), len(now.of))
    windows = {name: (old, new) for name, (old, new, _) in coded.items()}
    tables = [
        np.column_stack([windows[f.name][side][rows] for f in features]) for side, rows in enumerate(picked)
    ]
    days = [before.of[picked[0]], now.of[picked[1]]]
    categorical = [i for i, f in enumerate(features) if coded[f.name][2]]
    # A fold holds out neighbouring days of each window together: they resemble each other too.
    folds = [d * FOLDS // (int(d.max()) + 1) for d in days]
    chance = _out_of_fold(tables, folds, categorical)
    estimate, auc = _by_day(chance, days, folds)
    p_value = estimate.p_value("greater")
    significant = p_value <= settings.p_value
    low, high = estimate.interval()
    detectable = estimate.minimal_detectable_effect(settings.p_value, "greater")
    blocks, rows = len(before.keys) + len(now.keys), sum(map(len, picked))
    state = judge(
        estimate, significant=significant, floor=AUC_FLOOR, effect=estimate.value, detectable=detectable
    )
    first = Finding(
        statistic="domain_auc",
        subject="all",
        state=state,
        detail="with whole partitions held out a classifier tells the windows apart with an "
        f"AUC of {auc:.3f}",
        estimate=auc,
        low=finite(0.5 + low),
        high=finite(0.5 + high),
        minimal_detectable_effect=finite(detectable),
        floor=AUC_FLOOR,
        p_value=p_value,
        blocks=blocks,
        rows=rows,
        facts={"lag1": estimate.lag1, "features": len(features)},
    )
    odds = chance[0] / (1 - chance[0])
    weights: Floats = odds / odds.mean()
    share = float(weights.sum() ** 2 / (weights**2).sum() / weights.size)
    least = settings.unseen_effective_share
    second = Finding(
        statistic="effective_sample",
        subject="all",
        # Weights of windows that nothing tells apart are noise.
        state="FAIL"
        if share < least and significant
        else replace(first, state=state).state
        if share < least
        else "PASS",
        detail=f"{share:.0%} of the reference are left as effective sample for the current rows",
        estimate=share,
        floor=least,
        p_value=p_value,
        blocks=blocks,
        rows=len(picked[0]),
    )
    return [first, second], (weights, picked[0])


def _sample(reference: int, current: int) -> tuple[Integers, Integers]:
    """Positions of at most 6,000 rows, half of each window where there are enough; evenly over time."""
    new = min(current, max(ROWS // 2, ROWS - reference))
    old = min(reference, ROWS - new)
    return tuple(  # type: ignore[return-value]
        np.linspace(0, size - 1, take).astype(np.int64) for size, take in ((reference, old), (current, new))
    )


def _out_of_fold(
    tables: list[Floats], folds: list[Integers], categorical: list[int]
) -> tuple[Floats, Floats]:
    """Probability of being current, classes balanced, from models that never saw the row's day."""
    import lightgbm as lgb

    table = np.concatenate(tables)
    target = np.repeat([0.0, 1.0], [len(t) for t in tables])
    fold = np.concatenate(folds)
    weight = np.where(target == 1, len(tables[0]) / len(tables[1]), 1.0)
    chance = np.full(target.size, 0.5)
    for held in np.unique(fold):
        train = fold != held
        if len(np.unique(target[train])) < 2:
            continue
        data = lgb.Dataset(
            table[train],
            target[train],
            weight=weight[train],
            categorical_feature=categorical,
            free_raw_data=True,
            params={"max_bin": _TREES["max_bin"], "verbosity": -1},
        )
        model = lgb.train(_TREES, data, num_boost_round=TREES)
        chance[~train] = model.predict(table[~train])
    chance = np.clip(chance, 1e-4, 1 - 1e-4)
    return chance[: len(tables[0])], chance[len(tables[0]) :]


def _by_day(
    chance: tuple[Floats, Floats], days: list[Integers], folds: list[Integers]
) -> tuple[Estimate, float]:
    """Excess of the AUC over one half with its error over days, and the AUC.

    Rows take their place among the reference rows of their fold: models of two folds do not compare.
    """
    places = [np.full(c.size, 0.5) for c in chance]
    for held in np.unique(folds[0]):
        ordered = np.sort(chance[0][folds[0] == held])
        for place, scores, fold in zip(places, chance, folds, strict=True):
            mine = scores[fold == held]
            ties = np.searchsorted(ordered, mine, "left") + np.searchsorted(ordered, mine, "right")
            place[fold == held] = ties / 2 / ordered.size
    means = []
    for place, day in zip(places, days, strict=True):
        counts, sums = np.bincount(day), np.bincount(day, weights=place)
        means.append(sums[counts > 0] / counts[counts > 0])
    auc = float(places[1].mean())
    return replace(change_of_days(means[0], means[1]), value=auc - 0.5), auc
