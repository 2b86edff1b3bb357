"""Rows that are known before they happen, such as bookings: what says so, and what follows for a cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class Rows:
    """The rows of a file with the partition of each.

    Attributes:
        profile: The file.
        roles: Of its columns.
        wishes: What was said of it.
        scheme: Partitions.
        keys: (rows,) partition of each row.
        known: (rows,) when its label was known; NaT where it is not.
        label: The labels.
    """

    profile: FileProfile
    roles: Roles
    wishes: Wishes
    scheme: PartitionScheme
    keys: pd.Series
    known: pd.Series
    label: Label

    @cached_property
    def begins(self) -> pd.Series:
        """(rows,) the instant at which the partition of each row begins."""
        return self.keys.map({k: self.scheme.partition(k).start for k in self.keys.unique()})

    @cached_property
    def ends(self) -> pd.Series:
        """(rows,) the instant at which it ends."""
        return self.keys.map({k: self.scheme.partition(k).end for k in self.keys.unique()})

    @property
    def cutoffs(self) -> pd.Series:
        """(rows,) the instant at which each is scored: the begin, where rows are known by then."""
        return self.ends if self.roles.row_known_at is None else self.begins

    def early(self, cutoffs: pd.Series) -> np.ndarray:
        """(rows,) whether a row has a label that is known at its cutoff."""
        return self._labelled & (self.known <= cutoffs).to_numpy(bool)

    def share_early(self, cutoffs: pd.Series) -> float:
        """The same, as a share of all labels."""
        return float(self.early(cutoffs).sum() / max(1, self._labelled.sum()))

    def seen(self, column: ColumnProfile) -> float:
        """Share of the rows that are known by a column when their partition begins."""
        return float((instants(self.profile, column, self.wishes) <= self.begins).mean())

    @cached_property
    def _labelled(self) -> np.ndarray:
        return np.asarray(self.known.notna().to_numpy() & ~np.isnan(self.label.values), bool)


def look_at_cutoff(rows: Rows) -> AtCutoff:
    """Whether rows and labels fit the instant at which partitions are scored."""
    labels, by = rows.share_early(rows.cutoffs), rows.roles.row_known_at
    if by is None:
        better = _offered(rows)
        return AtCutoff(better, 1.0, labels, tuple(_early_labels(rows, better)))
    return AtCutoff(None, rows.seen(by), labels, (*_late_rows(rows, by), *_early_labels(rows, None)))


def _offered(rows: Rows) -> ColumnProfile | None:
    """The column that says when rows were known beforehand, where labels are known too early without it.

    By it most rows are known when their partition begins, and less than half as many labels as at its end.
    """
    at_end = rows.share_early(rows.ends)
    if at_end <= DiagnosisConfig().mismatch_share or rows.share_early(rows.begins) > at_end / 2:
        return None
    roles = rows.roles
    taken = {c.name for c in (*roles.entity, roles.time, roles.label, roles.known_at) if c}
    found = []
    for column in rows.profile.columns:
        if column.kind != "timestamp" or column.nulls or column.mixed or column.name in taken:
            continue
        if misread(rows.profile, column, rows.wishes).any():
            continue
        if (share := rows.seen(column)) >= _MOST:
            found.append((share, column))
    return max(found, key=lambda f: f[0])[1] if found else None


def _late_rows(rows: Rows, column: ColumnProfile) -> Iterator[Remark]:
    """What it means that partitions are scored at their begin, with the rows that are known by then."""
    where = f"column '{column.source}'"
    if column.nulls:
        what = f"{column.nulls:,} row(s) do not say when they were known"
        yield Remark("error", what, where, f"fill them in, or leave {FLAG} out")
        return
    if late := 1 - rows.seen(column):
        yield Remark(
            "error" if late > 1 - _MOST else "note",
            f"{late:.1%} of the rows are known only after the begin of their {rows.scheme.width} partition, "
            "at which it is scored: they get no prediction and train nothing",
            where,
            f"take a narrower --width, or leave {FLAG} out to score at the end",
        )


def _early_labels(rows: Rows, better: ColumnProfile | None) -> Iterator[Remark]:
    """Labels that are known at the cutoff of their partition: there is nothing left to predict."""
    at_end = rows.roles.row_known_at is None
    edge = "end" if at_end else "begin"
    share = rows.share_early(rows.cutoffs)
    examples = "; ".join(
        f"row {i}, known at {rows.known[i - 1]:%Y-%m-%d %H:%M} UTC, is of {rows.keys[i - 1]}"
        for i in first_rows(rows.early(rows.cutoffs))
    )
    where = f"column '{rows.label.column.source}', for example {examples}"
    instead, narrower = "", "take a narrower --width" if at_end else ""
    if better is not None:
        instead = (
            f"where '{better.source}' says when a row was known, say {FLAG} {better.name}: each "
            f"partition is then scored at its begin, before its labels are known. Else "
        )
    cutoff = f"the cutoff (the {edge} of their {rows.scheme.width} partition)"
    if share > 0.5:
        yield Remark(
            "error",
            f"{share:.0%} of the labels are known before {cutoff}: there is nothing left to predict",
            where,
            f"{instead}{narrower}{', or ' if narrower else ''}correct --known-at or --label-delay",
        )
    elif share:
        yield Remark(
            "warning" if share > DiagnosisConfig().mismatch_share else "note",
            f"{share:.1%} of the labels are known before {cutoff}: nothing is left to predict of such rows, "
            "so the SQL of the entities leaves them out",
            where,
            f"{instead}{narrower}",
        )
