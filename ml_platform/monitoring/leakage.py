"""Leakage: a loss above the back-test's from the first live day on, or a feature that knows the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.base import Kind
from ml_platform.kinds.ranking import concordance, either_way
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.days import by_day, is_numeric
from ml_platform.numbers import signed
from ml_platform.statistics.blocks import MINIMUM_BLOCKS, Floats, change_of_days
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import Table, finite
from ml_platform.statistics.states import State

QUESTION = "leakage"
FIRST_DAYS = 3
"""Live days that must show the gap already: a gap that opens later is drift."""
FEWEST_LIVE = 3

Flags = npt.NDArray[np.bool_]


def leakage(
    backtest: Mapping[str, float],
    live: Mapping[str, float],
    rows: Table | None,
    *,
    features: Sequence[FeatureConfig],
    kind: Kind,
    label: str,
    settings: DiagnosisConfig,
) -> Findings:
    """Does the model owe its back-test to something it cannot know when it is live?

    Args:
        backtest: Mean loss of each held-out day of the back-test, by partition.
        live: Mean loss of the first matured live days, from the first one after the promotion on.
        rows: Current matured rows: ``partition_key``, the features, the label's code (null while unknown).
        features: Features, each tried alone.
        kind: Kind of target.
        label: Column of the label.
        settings: ``leakage_errors``, ``leakage_auc``, ``loss_floor``, ``minimum_class_rows``.

    Returns:
        Finding ``live_gap``, and ``feature_auc`` per feature.

    Raises:
        IntegrityError: A column is missing.
    """
    found = [live_gap(backtest, live, settings)]
    if rows is None:
        found.append(Finding("feature_auc", "all", "UNKNOWN", "no matured rows were given"))
    else:
        found += feature_aucs(rows, features, kind, label, settings)
    return Findings.of(QUESTION, found)


def live_gap(backtest: Mapping[str, float], live: Mapping[str, float], settings: DiagnosisConfig) -> Finding:
    """First live losses minus back-test losses, in standard errors of the day.

    FAIL when the gap is above ``leakage_errors`` standard errors and is there from the first day on: each
    of the first three days is above the back-test's mean, and together they have half of the gap.
    """
    old, new = (np.array([d[k] for k in sorted(d)], dtype=np.float64) for d in (backtest, live))
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    if not old.size or not new.size:
        which = "back-test" if not old.size else "matured live"
        return Finding("live_gap", "all", "UNKNOWN", f"there is no {which} day")
    estimate = change_of_days(old, new)
    low, high = estimate.interval()
    errors = estimate.value / estimate.se if estimate.se > 0 else 0.0
    first = new[:FIRST_DAYS] - old.mean()
    at_once = bool((first > 0).all() and first.mean() >= estimate.value / 2)
    detectable = estimate.minimal_detectable_effect(settings.p_value, "greater")
    floor = settings.loss_floor * float(old.mean())
    state: State = "PASS" if detectable <= floor else "UNDERPOWERED"
    if estimate.blocks < MINIMUM_BLOCKS or new.size < FEWEST_LIVE:
        state = "UNDERPOWERED"
    elif errors > settings.leakage_errors:
        state = "FAIL" if at_once else "PASS"
    since = "from the first day on" if at_once else "but not from the first day on"
    return Finding(
        statistic="live_gap",
        subject="all",
        state=state,
        detail=f"the loss of the first {new.size} live partition(s) is {signed(estimate.value)} from the "
        f"back-test's, {errors:.1f} standard errors"
        + (f", {since}" if errors > settings.leakage_errors else ""),
        estimate=finite(estimate.value),
        low=finite(low),
        high=finite(high),
        minimal_detectable_effect=finite(detectable),
        floor=floor,
        p_value=estimate.p_value("greater"),
        blocks=estimate.blocks,
        partitions=tuple(sorted(live)) if state == "FAIL" else (),
        facts={"errors": finite(errors), "from_first_day": at_once, "lag1": estimate.lag1},
    )


def feature_aucs(
    rows: Table, features: Sequence[FeatureConfig], kind: Kind, label: str, settings: DiagnosisConfig
) -> list[Finding]:
    """How well each feature alone ranks the label, in the better orientation; nulls as a value of their own.

    Categories are ranked by their mean outcome in the other half of the days. Of several classes each is
    ranked against the rest and the best counts; classes with fewer than ``minimum_class_rows`` rows, or with
    so few others, do not. Numbers are ranked by the concordance index, which is the AUC of a label of 0 or
    1.
    """
    days = by_day(rows, [*(f.name for f in features), label], "matured rows")
    codes = days.numbers(label)
    known = ~np.isnan(codes)
    if not known.any():
        return [Finding("feature_auc", "all", "UNKNOWN", "the matured rows lack one of the classes")]
    outcomes = kind.outcomes(codes[known])
    varying = [c for c in outcomes.T if c.min() != c.max()]
    if not varying:
        return [Finding("feature_auc", "all", "UNKNOWN", "the matured rows lack one of the classes")]
    enough = [c for c in varying if not kind.bounded or _rarer(c) >= settings.minimum_class_rows]
    half = days.of[known] % 2 == 0
    found = []
    for feature in features:
        numeric = is_numeric(days.frame, feature.name) and feature.kind == "numeric"
        if numeric:
            values = days.numbers(feature.name)[known]
        else:
            text = days.frame[feature.name].astype("string").fillna("").to_numpy(dtype=object)[known]
        aucs = [
            _best_auc(values if numeric else _rates(text, outcome, half), outcome)
            for outcome in enough or varying
        ]
        auc = max(aucs)
        state: State = "UNDERPOWERED" if not enough else "FAIL" if auc > settings.leakage_auc else "PASS"
        found.append(
            Finding(
                statistic="feature_auc",
                subject=feature.name,
                state=state,
                detail=f"alone it ranks the label with {_RANKED[kind.bounded]} of {auc:.3f}",
                estimate=auc,
                floor=settings.leakage_auc,
                blocks=len(days.keys),
                rows=int(known.sum()),
                partitions=days.keys if state == "FAIL" else (),
            )
        )
    return found


_RANKED = {True: "an AUC", False: "a concordance"}


def _rarer(outcome: Floats) -> int:
    return int(min(outcome.sum(), outcome.size - outcome.sum()))


def _best_auc(values: Floats, outcome: Floats) -> float:
    """The largest AUC of the values where known, of all with nulls lowest, and of being null."""
    null = np.isnan(values)
    lowest = np.where(null, -np.inf, values)
    candidates = [concordance(outcome, lowest)]
    if null.any() and not null.all():
        candidates.append(concordance(outcome, null.astype(np.float64)))
    return max(map(either_way, candidates))


def _rates(categories: npt.NDArray[np.object_], outcome: Floats, half: Flags) -> Floats:
    """(rows,) mean outcome of the row's category in the half that the row is not in."""
    values, codes = np.unique(categories.astype(str), return_inverse=True)
    mean = float(outcome.mean())
    rates = np.full(codes.size, mean)
    for mine in (half, ~half):
        rows = np.bincount(codes[~mine], minlength=values.size)
        hits = np.bincount(codes[~mine], weights=outcome[~mine], minlength=values.size)
        # Drawn to the mean by two rows, so that rare categories rank in the middle.
        rate = (hits + 2 * mean) / (rows + 2)
        rates[mine] = rate[codes[mine]]
    return rates
