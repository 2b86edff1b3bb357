"""Rows that are known before they happen, such as bookings: what says so, and what follows for a cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.partitions import PartitionScheme
from ml_platform.remarks import Remark
from ml_platform.scaffold.columns import ColumnProfile, FileProfile
from ml_platform.scaffold.instants import first_rows, instants, misread
from ml_platform.scaffold.label import Label
from ml_platform.scaffold.roles import Roles, Wishes

FLAG = "--row-known-at"
_MOST = 0.5
"""A column is offered where at least this share of the rows is known by it when their partition begins."""


@dataclass(frozen=True)
class AtCutoff:
    """What of a file is known when its partitions are scored.

    Attributes:
        offered: Column by which rows are known beforehand, not named, that would mend early labels.
        rows: Share of the rows that are known by then.
        labels: Share of the labels that are known by then: their rows are not scored.
        remarks: What there is to say of it.
    """

    offered: ColumnProfile | None
    rows: float
    labels: float
    remarks: tuple[Remark, ...]


def look_at_cutoff(
    profile: FileProfile,
    roles: Roles,
    wishes: Wishes,
    scheme: PartitionScheme,
    keys: pd.Series,
    known: pd.Series,
    label: Label,
) -> AtCutoff:
    """Whether rows and labels fit the instant at which partitions are scored."""
    by = roles.row_known_at
    labels = _share(
        known_early(keys, known, label, edges_of(scheme, keys, begin=by is not None)), known, label
    )
    if by is None:
        better = offered(profile, roles, wishes, scheme, keys, known, label)
        return AtCutoff(better, 1.0, labels, tuple(early_labels(scheme, keys, known, label, None, better)))
    share = float(seen(profile, by, wishes, edges_of(scheme, keys, begin=True)).mean())
    remarks = [
        *about_rows(profile, by, wishes, scheme, keys),
        *early_labels(scheme, keys, known, label, by, None),
    ]
    return AtCutoff(None, share, labels, tuple(remarks))


def edges_of(scheme: PartitionScheme, keys: pd.Series, *, begin: bool) -> pd.Series:
    """For each row the instant at which its partition begins, or ends: its cutoff."""
    found = {k: scheme.partition(k) for k in keys.unique()}
    return keys.map({k: p.start if begin else p.end for k, p in found.items()})


def known_early(keys: pd.Series, known: pd.Series, label: Label, cutoffs: pd.Series) -> np.ndarray:
    """Which rows have a label that is known at their cutoff, shape (rows,)."""
    there = known.notna().to_numpy() & ~np.isnan(label.values)
    return np.asarray(there & (known <= cutoffs).to_numpy(), bool)


def seen(profile: FileProfile, column: ColumnProfile, wishes: Wishes, begins: pd.Series) -> np.ndarray:
    """Which rows are known when their partition begins, shape (rows,)."""
    return np.asarray((instants(profile, column, wishes) <= begins).to_numpy(), bool)


def offered(
    profile: FileProfile,
    roles: Roles,
    wishes: Wishes,
    scheme: PartitionScheme,
    keys: pd.Series,
    known: pd.Series,
    label: Label,
) -> ColumnProfile | None:
    """The column that says when rows were known beforehand, where labels are known too early without it.

    By it most rows are known when their partition begins, and less than half as many labels as at its end.
    """
    ends, begins = (edges_of(scheme, keys, begin=b) for b in (False, True))
    at_end = _share(known_early(keys, known, label, ends), known, label)
    if at_end <= DiagnosisConfig().mismatch_share:
        return None
    if _share(known_early(keys, known, label, begins), known, label) > at_end / 2:
        return None
    taken = {c.name for c in (*roles.entity, roles.time, roles.label, roles.known_at) if c}
    found = []
    for column in profile.columns:
        if column.kind != "timestamp" or column.nulls or column.mixed or column.name in taken:
            continue
        if misread(profile, column, wishes).any():
            continue
        share = seen(profile, column, wishes, begins).mean()
        if share >= _MOST:
            found.append((share, column))
    return max(found, key=lambda f: f[0])[1] if found else None


def about_rows(
    profile: FileProfile, column: ColumnProfile, wishes: Wishes, scheme: PartitionScheme, keys: pd.Series
) -> Iterator[Remark]:
    """What it means that partitions are scored at their begin, with the rows that are known by then."""
    where = f"column '{column.source}'"
    if column.nulls:
        what = f"{column.nulls:,} row(s) do not say when they were known"
        yield Remark("error", what, where, f"fill them in, or leave {FLAG} out")
        return
    share = 1 - seen(profile, column, wishes, edges_of(scheme, keys, begin=True)).mean()
    if share:
        yield Remark(
            "error" if share > 1 - _MOST else "note",
            f"{share:.1%} of the rows are known only after the begin of their {scheme.width} partition, at "
            "which it is scored: they get no prediction and train nothing",
            where,
            f"take a narrower --width, or leave {FLAG} out to score at the end",
        )


def early_labels(
    scheme: PartitionScheme,
    keys: pd.Series,
    known: pd.Series,
    label: Label,
    row_known_at: ColumnProfile | None,
    better: ColumnProfile | None,
) -> Iterator[Remark]:
    """Labels that are known at the cutoff of their partition: there is nothing left to predict."""
    cutoffs = edges_of(scheme, keys, begin=row_known_at is not None)
    edge = "end" if row_known_at is None else "begin"
    have = known.notna().to_numpy() & ~np.isnan(label.values)
    is_early = known_early(keys, known, label, cutoffs)
    early = is_early.sum() / max(1, have.sum())
    examples = "; ".join(
        f"row {i}, known at {known[i - 1]:%Y-%m-%d %H:%M} UTC, is of {keys[i - 1]}"
        for i in first_rows(is_early)
    )
    where = f"column '{label.column.source}', for example {examples}"
    instead, narrower = "", "take a narrower --width" if row_known_at is None else ""
    if better is not None:
        instead = (
            f"where '{better.source}' says when a row was known, say {FLAG} {better.name}: each "
            f"partition is then scored at its begin, before its labels are known. Else "
        )
    if early > 0.5:
        yield Remark(
            "error",
            f"{early:.0%} of the labels are known before the cutoff (the {edge} of their {scheme.width} "
            "partition): there is nothing left to predict",
            where,
            f"{instead}{narrower}{', or ' if narrower else ''}correct --known-at or --label-delay",
        )
    elif early:
        yield Remark(
            "warning" if early > DiagnosisConfig().mismatch_share else "note",
            f"{early:.1%} of the labels are known before the cutoff (the {edge} of their {scheme.width} "
            "partition): nothing is left to predict of such rows, so the SQL of the entities leaves them out",
            where,
            f"{instead}{narrower}",
        )


def _share(early: np.ndarray, known: pd.Series, label: Label) -> float:
    there = known.notna().to_numpy() & ~np.isnan(label.values)
    return float(early.sum() / max(1, there.sum()))
