"""Served features against recomputed ones, and which side of the two is broken.

Features are rebuilt with the training code from what was known at the cutoff. Whatever differs is
skew, and is no statistics: every difference can be shown. Where both agree but are broken, the break
lies upstream; where only one is broken, it lies in that path.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.break_rules import null_breaks, null_limit
from ml_platform.monitoring.breaks import new_category_counts
from ml_platform.monitoring.days import Days, by_day, daily_ks, is_numeric
from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, require_unique

QUESTION = "skew"
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-12
"""For values that are zero but for rounding."""
SHAPE = 0.2
"""Least Kolmogorov-Smirnov distance of a day's values that can be a break."""
SHAPE_MARGIN = 0.1
"""And by how much the distance must exceed that of the worst reference day: days differ a lot."""
LATEST = 2
"""Days at the end of the window that must all be broken: a step in time lasts, a single odd day does not."""
EXAMPLES = 3

Side = Literal["neither", "upstream", "serving", "training"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SkewReport:
    """How far serving and training agree.

    Attributes:
        findings: ``rows`` about rows that one side lacks, then one ``mismatch`` per feature.
        parity: Share of common rows on which both sides agree, by feature.
        rows: Rows that both sides have.
    """

    findings: Findings
    parity: dict[str, float]
    rows: int


@dataclass(frozen=True)
class FeatureBreak:
    """How a feature left its reference.

    Attributes:
        kind: ``null``: null rate; ``shape``: distribution; ``category``: categories never seen.
        measured: Largest daily null rate or share, or least Kolmogorov-Smirnov distance of the broken days.
        limit: What it exceeds.
        partitions: Broken days, in order.
    """

    kind: Literal["null", "shape", "category"]
    measured: float
    limit: float
    partitions: tuple[str, ...]


def serving_skew(
    served: Table,
    rebuilt: Table,
    *,
    key: Sequence[str],
    features: Sequence[FeatureConfig],
    settings: DiagnosisConfig,
) -> SkewReport:
    """Compare features as they were served with the same features rebuilt.

    Numbers agree within a relative 1e-6; nulls and NaN agree with each other. A feature that one side
    lacks altogether is UNKNOWN.

    Args:
        served: ``partition_key``, the key and the features: one row per prediction.
        rebuilt: The same columns. When only a sample was rebuilt, pass the same sample of ``served``: a
            row without a counterpart is a mismatch of kind ``rows``.
        key: Columns that identify a row in a partition.
        features: Features to compare.
        settings: ``mismatch_share``: largest share of rows of a partition that may differ.

    Raises:
        IntegrityError: ``partition_key`` or a key column is missing, or a key occurs twice.
    """
    on = [PARTITION, *key]
    left, right = as_frame(served, on, "served rows"), as_frame(rebuilt, on, "rebuilt rows")
    for frame, what in ((left, "served rows"), (right, "rebuilt rows")):
        require_unique(frame, on, what)
    if not len(left) and not len(right):
        return SkewReport(Findings.unknown(QUESTION, "no row was served or rebuilt"), {}, 0)
    pairs = (
        left[on]
        .assign(_left=np.arange(len(left)))
        .merge(right[on].assign(_right=np.arange(len(right))), on=on, how="outer")
    )
    rows = _missing_rows(pairs, settings.mismatch_share)
    both = pairs[pairs["_left"].notna() & pairs["_right"].notna()]
    left = left.iloc[both["_left"].to_numpy(np.int64)]
    right = right.iloc[both["_right"].to_numpy(np.int64)]
    codes, keys = pd.factorize(both[PARTITION].to_numpy(dtype=object), sort=True)
    compared = _Compared(codes, [str(k) for k in keys], both[on], settings.mismatch_share)
    found = [compared.feature(f, left, right) for f in features]
    parity = {f.subject: 1 - f.estimate for f in found if f.estimate is not None}
    return SkewReport(Findings.of(QUESTION, [rows, *found]), parity, len(both))


def two_by_two(served_breaks: Collection[str], rebuilt_breaks: Collection[str]) -> Side:
    """Where the break lies, over all features: what is broken on both sides comes first, being upstream.

    Args:
        served_breaks: Features that are broken as served, see :func:`feature_breaks`.
        rebuilt_breaks: Features that are broken when rebuilt.
    """
    sides = set(broken_sides(served_breaks, rebuilt_breaks).values())
    order: tuple[Side, ...] = ("upstream", "serving", "training")
    return next((s for s in order if s in sides), "neither")


def broken_sides(served_breaks: Collection[str], rebuilt_breaks: Collection[str]) -> dict[str, Side]:
    """Where the break of each broken feature lies: ``upstream``, ``serving`` or ``training``."""
    both, served = set(served_breaks) & set(rebuilt_breaks), set(served_breaks)
    return {
        name: "upstream" if name in both else "serving" if name in served else "training"
        for name in sorted(served | set(rebuilt_breaks))
    }


def feature_breaks(
    reference: Table, rows: Table, features: Sequence[FeatureConfig], settings: DiagnosisConfig
) -> dict[str, FeatureBreak]:
    """Features that left their reference abruptly, by name.

    A null rate breaks on one day, see :func:`~ml_platform.monitoring.breaks.null_limit`. A shape breaks
    when, from some day to the end of the window and on two days at least, each day's distance to the
    reference is .2 and exceeds that of the reference's worst day to the other ones by .1.

    Args:
        reference: ``partition_key`` and the features: days on which all was well.
        rows: The same columns, served or rebuilt: the days to judge.
        features: Features; those that run with time are judged by their nulls alone.
        settings: ``segment_minimum_rows`` and ``unseen_share``.

    Raises:
        IntegrityError: A column is missing.
    """
    names = [f.name for f in features]
    before, now = by_day(reference, names, "reference rows"), by_day(rows, names, "rows")
    if not before.keys or not now.keys:
        return {}
    found = {f.name: _break(before, now, f, settings) for f in features}
    return {name: broken for name, broken in found.items() if broken is not None}


def _missing_rows(pairs: pd.DataFrame, limit: float) -> Finding:
    lost = (pairs["_left"].isna() | pairs["_right"].isna()).groupby(pairs[PARTITION].astype(str)).mean()
    broken = lost[lost > limit]
    unserved, unbuilt = int(pairs["_left"].isna().sum()), int(pairs["_right"].isna().sum())
    return Finding(
        statistic="rows",
        subject="all",
        state="FAIL" if len(broken) else "PASS",
        detail=f"of {len(pairs)} rows {unserved} were not served and {unbuilt} were not rebuilt",
        estimate=(unserved + unbuilt) / len(pairs),
        floor=limit,
        blocks=len(lost),
        rows=len(pairs),
        partitions=tuple(broken.index),
        facts={"not_served": unserved, "not_rebuilt": unbuilt},
    )


@dataclass(frozen=True)
class _Compared:
    """Common rows: their partition as a code into ``keys``, their keys, and the share that may differ."""

    codes: npt.NDArray[np.intp]
    keys: list[str]
    identity: pd.DataFrame
    limit: float

    def feature(self, feature: FeatureConfig, served: pd.DataFrame, rebuilt: pd.DataFrame) -> Finding:
        name = feature.name
        lacking = [w for w, f in (("served", served), ("rebuilt", rebuilt)) if name not in f.columns]
        if lacking or not len(self.codes):
            reason = (
                f"{' and '.join(lacking)} rows lack it" if lacking else "no row was both served and rebuilt"
            )
            return Finding("mismatch", name, "UNKNOWN", reason)
        differs = _differs(feature, served[name], rebuilt[name])
        rows = np.bincount(self.codes, minlength=len(self.keys))
        shares = np.bincount(self.codes[differs], minlength=len(self.keys)) / rows
        broken = np.flatnonzero(shares > self.limit)
        by_partition = {self.keys[i]: round(float(shares[i]), 4) for i in broken}
        facts: dict[str, Any] = {}
        if differs.any():
            facts = {
                "by_partition": by_partition,
                "examples": self._examples(differs, served[name], rebuilt[name]),
            }
        return Finding(
            statistic="mismatch",
            subject=name,
            state="FAIL" if broken.size else "PASS",
            detail=f"{int(differs.sum())} of {differs.size} rows differ; "
            f"{broken.size} of {len(self.keys)} partition(s) by more than {self.limit:.1%}",
            estimate=float(differs.mean()),
            floor=self.limit,
            blocks=len(self.keys),
            rows=differs.size,
            partitions=tuple(by_partition),
            facts=facts,
        )

    def _examples(self, differs: Flags, served: pd.Series, rebuilt: pd.Series) -> list[dict[str, Any]]:
        return [
            {
                "key": "/".join(map(str, self.identity.iloc[i])),
                "served": _plain(served.iloc[i]),
                "rebuilt": _plain(rebuilt.iloc[i]),
            }
            for i in np.flatnonzero(differs)[:EXAMPLES]
        ]


def _differs(feature: FeatureConfig, served: pd.Series, rebuilt: pd.Series) -> Flags:
    """(rows,) whether both values differ; text in a numeric feature is compared as text."""
    if feature.kind == "numeric" and all(pd.api.types.is_numeric_dtype(s.dtype) for s in (served, rebuilt)):
        left, right = (s.to_numpy(np.float64, na_value=np.nan) for s in (served, rebuilt))
        close = np.isclose(left, right, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True)
        return np.asarray(~close, dtype=np.bool_)
    if feature.kind == "numeric" and (served.isna().all() or rebuilt.isna().all()):
        return np.asarray(served.isna().to_numpy() != rebuilt.isna().to_numpy(), dtype=np.bool_)
    both = pd.concat([served.astype("string"), rebuilt.astype("string")], ignore_index=True)
    codes, _ = pd.factorize(both)  # null is -1 on either side
    return np.asarray(codes[: len(served)] != codes[len(served) :], dtype=np.bool_)


def _plain(value: Any) -> float | str | None:
    if pd.isna(value):
        return None
    return float(value) if isinstance(value, int | float | np.number) else str(value)


def _break(before: Days, now: Days, feature: FeatureConfig, settings: DiagnosisConfig) -> FeatureBreak | None:
    broken = _null_break(before, now, feature.name)
    if broken is not None or feature.runs_with_time:
        return broken
    if is_numeric(before.frame, feature.name) and is_numeric(now.frame, feature.name):
        return _shape_break(*daily_ks(before, now, feature.name), now.keys)
    return _category_break(before, now, feature.name, settings)


def _null_break(before: Days, now: Days, name: str) -> FeatureBreak | None:
    new = now.counts(now.frame[name].isna().to_numpy())
    if not new.any():
        return None
    old = before.counts(before.frame[name].isna().to_numpy())
    base, limit = null_limit(old, before.rows)
    bad = null_breaks(new, now.rows, base, limit)
    if not bad.any():
        return None
    return FeatureBreak("null", float((new / now.rows)[bad].max()), limit, _named(now.keys, bad))


def _shape_break(own: Floats, current: Floats, keys: Sequence[str]) -> FeatureBreak | None:
    if np.isnan(own).all() or np.isnan(current).all():
        return None
    limit = max(SHAPE, float(np.nanmax(own)) + SHAPE_MARGIN)
    # Where days already differ by nearly all, only values outside of the whole reference are a break.
    limit = min(limit, 0.99)
    far = np.nan_to_num(current, nan=0.0) >= limit
    first = len(far) - int(np.argmin(far[::-1])) if not far.all() else 0
    if len(far) - first < LATEST:
        return None
    broken = np.arange(len(far)) >= first
    return FeatureBreak("shape", float(current[broken].min()), limit, _named(keys, broken))


def _category_break(before: Days, now: Days, name: str, settings: DiagnosisConfig) -> FeatureBreak | None:
    counts, _ = new_category_counts(before, now, name)
    values = now.counts(now.frame[name].notna().to_numpy())
    bad = (values >= settings.segment_minimum_rows) & (counts > settings.unseen_share * values)
    if not bad.any():
        return None
    shares = counts / np.maximum(values, 1)
    return FeatureBreak("category", float(shares[bad].max()), settings.unseen_share, _named(now.keys, bad))


def _named(keys: Sequence[str], flags: Flags) -> tuple[str, ...]:
    return tuple(k for k, flag in zip(keys, flags, strict=True) if flag)
