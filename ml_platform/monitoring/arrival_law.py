"""The law by which labels arrive: F(age | class), the share of a class that is known at an age.

It is fitted on fully aged cohorts alone: in younger ones slow labels are missing, so that a curve fitted on
them would call labels fast that are merely the first to come (right truncation). The overall F is that of
Kaplan and Meier (1958), rows without a label censored at their age. Known labels weighted by
1 / F(age | class) stand in for those still to come (Chapelle 2014 on delayed feedback).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_platform.statistics.blocks import Floats
from ml_platform.statistics.frames import PARTITION, Table, as_frame, known_mask
from ml_platform.statistics.survival import kaplan_meier

BINARY = ("negative", "positive")
"""Classes of a label of 0 or 1."""
UNKNOWN_CLASS = -1
"""Code of rows whose label is not known."""
SEEN_SHARE = 0.2
"""Rows so young that less than this share of a class is usually known say nothing about missing labels."""
_POOLED = 400
"""Rows that tell a rare label that never comes from one that always does."""
_KNOTS = 200
"""Ages at which the curves are kept and drawn."""
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class LabelAges:
    """Each row's age, and the age at which its label came.

    Attributes:
        partition: (n,) partition keys.
        age: (n,) hours from the event to the present.
        delay: (n,) hours from the event to its label, infinite while it is unknown, 0 where it came before.
        code: (n,) number of the label's class, :data:`UNKNOWN_CLASS` while it is unknown.
        classes: Names of the classes.
    """

    partition: npt.NDArray[np.object_]
    age: Floats
    delay: Floats
    code: Codes
    classes: tuple[str, ...] = BINARY

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(n,) rows whose label is known."""
        return np.asarray(self.code != UNKNOWN_CLASS, dtype=bool)

    @cached_property
    def cohorts(self) -> tuple[npt.NDArray[np.object_], Codes]:
        """The partitions in order, and (n,) each row's place among them."""
        # By hashing, because sorting texts costs ten times as much.
        codes, keys = pd.factorize(self.partition, sort=True)
        return keys, codes

    def by_cohort(self) -> Iterator[tuple[str, LabelAges]]:
        """Each partition in order with its rows."""
        keys, codes = self.cohorts
        order = np.argsort(codes, kind="stable")
        ends = np.bincount(codes, minlength=keys.size).cumsum()
        for key, start, end in zip(keys, [0, *ends[:-1]], ends, strict=False):
            yield str(key), self.only(order[start:end])

    def only(self, rows: npt.NDArray[np.bool_] | Codes) -> LabelAges:
        """Some of the rows."""
        parts = (self.partition[rows], self.age[rows], self.delay[rows], self.code[rows])
        return LabelAges(*parts, self.classes)


@dataclass(frozen=True, eq=False)
class ArrivalLaw:
    """Share of labels known by age.

    Attributes:
        last_aged: Last partition whose labels should all be known.
        classes: Names of the classes.
        hours: (k,) ages at which labels of aged cohorts came, ascending from 0; between them nothing comes.
        curves: (classes, k) share of a class known at each age; NaN for a class that no aged cohort has.
        mix: (classes,) share of each class among the aged cohorts' labels.
        overall: (k,) Kaplan-Meier estimate over all rows, whatever their class.
        ultimate: Share of an aged cohort's rows whose label ever comes; NaN without one.
        cohorts: Aged cohorts it is fitted on.
        rows: Known labels of each class in them.
    """

    last_aged: str
    classes: tuple[str, ...]
    hours: Floats
    curves: Floats
    mix: Floats
    overall: Floats
    ultimate: float
    cohorts: int
    rows: tuple[int, ...]

    @property
    def is_known(self) -> bool:
        """Whether an aged cohort had labels to fit it on."""
        return sum(self.rows) > 0

    def share(self, ages: Floats | float, code: int) -> Floats:
        """F(age | class), for ages of any shape; NaN for a class that was never seen."""
        return self._steps(self.curves[code], ages)

    def shares(self, ages: Floats) -> Floats:
        """(classes, n) F of every class at some ages."""
        return self._steps(self.curves, ages)

    def weights(self, ages: Floats, codes: Codes) -> Floats:
        """1 / F(age | class) of known labels; where nothing should be known yet, the largest of the others.

        Args:
            ages: (n,) ages in hours.
            codes: (n,) classes.
        """
        shares = np.take_along_axis(self.shares(ages), codes[None, :], axis=0)[0]
        smallest = float(np.min(shares[shares > 0], initial=1.0))
        weights: Floats = 1 / np.maximum(np.nan_to_num(shares), smallest)
        return weights

    def expected(self, ages: Floats) -> float:
        """Share of rows of some ages that is known, with the classes mixed as in the aged cohorts."""
        return self.ultimate * float((self.mix @ np.nan_to_num(self.shares(ages))).mean())

    def missing(self, rows: LabelAges) -> float | None:
        """Share of the labels due by now that are missing, each by the law of its own class.

        Known labels weighted by 1 / F(age | class) add up to all rows where delays are as they were, whatever
        the classes' shares have become. None where no row is old enough.
        """
        shares = self.shares(rows.age)
        seen = ~np.isnan(shares).all(axis=1)
        old = (shares[seen] >= SEEN_SHARE).all(axis=0) if seen.any() else np.zeros(rows.age.size, dtype=bool)
        if not old.any() or not self.ultimate > 0:
            return None
        known = rows.known & old
        weight = self.weights(rows.age[known], rows.code[known]).sum()
        return 1 - float(weight) / (self.ultimate * int(old.sum()))

    def horizon(self, share: float = 0.95) -> dict[str, float | None]:
        """Least age in hours at which a share of each class is known; None where it never is."""
        return {
            name: self._age_at(curve, share) for name, curve in zip(self.classes, self.curves, strict=True)
        }

    def mature_at(self, last_event: datetime, share: float = 0.95) -> datetime | None:
        """When a share of every class of a partition is known, given its last event; None without a law."""
        ages = [a for a in self.horizon(share).values() if a is not None]
        return last_event + timedelta(hours=max(ages)) if len(ages) == len(self.classes) else None

    def by_class(self) -> Mapping[str, Floats]:
        """(k,) curve of each class that was seen."""
        return {n: c for n, c in zip(self.classes, self.curves, strict=True) if not np.isnan(c).any()}

    def sketch(self) -> dict[str, list[float]]:
        """The curves at a few ages: what is kept and drawn."""
        shown = np.unique(np.linspace(0, self.hours.size - 1, _KNOTS).round().astype(np.intp))
        curves = {**self.by_class(), "kaplan_meier": self.overall, "hours": self.hours}
        return {name: [float(v) for v in curve[shown]] for name, curve in curves.items()}

    def _steps(self, curves: Floats, ages: Floats | float) -> Floats:
        """Curves at some ages: what the last hour that is not later says; 0 before the first."""
        place = np.searchsorted(self.hours, ages, side="right") - 1
        return np.where(place >= 0, curves[..., np.maximum(place, 0)], 0.0)

    def _age_at(self, curve: Floats, share: float) -> float | None:
        reached = np.flatnonzero(curve >= share)
        return float(self.hours[reached[0]]) if reached.size else None


def label_ages(labels: Table, label: str, as_of: datetime, classes: tuple[str, ...] = BINARY) -> LabelAges:
    """Ages and delays of some rows' labels as known at an instant.

    Args:
        labels: One row per entity: ``partition_key``, ``event_time``, the label (null while unknown),
            ``label_known_at``. What is known after ``as_of`` counts as unknown.
        label: Column of the label.
        as_of: Instant with an offset.
        classes: Names of the label's values 0, 1, ...; a single one where labels have no classes.

    Raises:
        IntegrityError: A column is missing.
        ConfigError: ``as_of`` has no offset.
    """
    frame = as_frame(labels, (PARTITION, "event_time", label, "label_known_at"), "labels")
    known = known_mask(frame, label, as_of).to_numpy(dtype=bool)
    event = pd.to_datetime(frame["event_time"], utc=True, cache=False)
    known_at = pd.to_datetime(frame["label_known_at"], utc=True, cache=False)
    hour = pd.Timedelta(hours=1)
    delay = ((known_at - event) / hour).clip(lower=0).to_numpy(dtype=np.float64, na_value=math.inf)
    code = np.full(len(frame), UNKNOWN_CLASS, dtype=np.intp)
    code[known] = frame[label].to_numpy()[known].astype(np.float64).astype(np.intp) if len(classes) > 1 else 0
    return LabelAges(
        partition=frame[PARTITION].astype(str).to_numpy(dtype=object),
        age=np.asarray((pd.Timestamp(as_of) - event) / hour, dtype=np.float64),
        delay=np.where(known, delay, math.inf),
        code=code,
        classes=classes,
    )


def arrival_law(rows: LabelAges, *, last_aged: str, first_aged: str = "") -> ArrivalLaw:
    """Fit the law.

    Args:
        rows: Ages of aged and younger cohorts; the younger ones count in the overall curve only.
        last_aged: Last partition whose labels should all be known by now.
        first_aged: First aged partition that it is fitted on; earlier rows do not count at all.
    """
    rows = rows.only(rows.partition >= first_aged)
    aged = rows.only(rows.partition <= last_aged)
    known = aged.known
    source = aged.delay[known] if known.any() else rows.delay[rows.known]
    hours = np.unique(np.r_[0.0, source])
    codes = range(len(rows.classes))
    sizes = tuple(int((aged.code == code).sum()) for code in codes)
    _, cohort = aged.cohorts
    until = np.where(rows.known, rows.delay, rows.age)
    return ArrivalLaw(
        last_aged=last_aged,
        classes=rows.classes,
        hours=hours,
        curves=np.array([_share_by(aged.delay[aged.code == code], hours) for code in codes]),
        mix=np.array(sizes, dtype=np.float64) / max(sum(sizes), 1),
        overall=1 - kaplan_meier(until, rows.known, hours),
        ultimate=_ultimate(known, cohort),
        cohorts=int(np.unique(cohort).size),
        rows=sizes,
    )


def _ultimate(known: npt.NDArray[np.bool_], cohort: Codes) -> float:
    """Share of labels that ever come, from the aged rows and each one's cohort; NaN without one.

    It is that of the better cohorts: those whose labels were lost must not lower what is asked of the others.
    Small ones are taken together, because most of them have every label where one in a hundred never comes.
    """
    if not cohort.size:
        return math.nan
    rows = np.bincount(cohort)
    enough = max(1.0, min(_POOLED, cohort.size / 4))
    _, block = np.unique(np.floor((np.cumsum(rows) - 1) / enough), return_inverse=True)
    shares = np.bincount(block[cohort], weights=known) / np.bincount(block[cohort])
    return float(np.quantile(shares, 0.75))


def _share_by(delay: Floats, hours: Floats) -> Floats:
    """(k,) share of delays up to each age."""
    if not delay.size:
        return np.full(hours.size, np.nan)
    return np.asarray(np.searchsorted(np.sort(delay), hours, side="right") / delay.size, dtype=np.float64)
