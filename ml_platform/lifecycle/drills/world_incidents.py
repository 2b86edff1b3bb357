"""Incidents of the world: outcomes follow another law than the one that was learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.diagnosis.evidence import BIAS
from ml_platform.ingestion.reader import PARTITION_KEY
from ml_platform.lifecycle.drills.mapping import Entity, Mask, needed
from ml_platform.lifecycle.drills.scenario import (
    FRESHNESS,
    PATIENCE,
    DrillContext,
    Scenario,
    maturity,
    with_column,
    with_numbers,
)
from ml_platform.model_config import KindName

Rows: TypeAlias = npt.NDArray[np.int64]

GROWTH = 0.25
"""Growth of amounts per unit of severity: half as much again at the default."""


@dataclass(frozen=True)
class _Replacements:
    """What takes the place of what in a partition; positions are in ``keys``.

    Attributes:
        keys: Keys of the cases whose outcome is known some day.
        gone: Cases that go.
        copied: The case that comes twice instead of each.
        numbers: Its number, which nobody else has.
    """

    keys: pa.Table
    gone: Rows
    copied: Rows
    numbers: Rows


class PriorShift(Scenario):
    """Positives become more frequent, or amounts larger, whatever the features.

    Of several classes whole cases are replaced, features and outcome together: turning outcomes of one class
    into another adds most where that class is most frequent, and so changes p(x|y).
    """

    name = "prior_shift"
    needs = ("outcome", "positive", "flip")
    needs_of: ClassVar[Mapping[KindName, tuple[str, ...]]] = {
        "regression": ("amount",),
        "multiclass": ("outcome", "positive", "entity"),
    }
    cause = "prior_shift"
    shows_in_labels = True
    summary = (
        "Negative outcomes become positive at random; of several classes positive cases take the place of "
        "negative ones; of a number all amounts grow."
    )
    right = frozenset({"recalibrate"})
    meanwhile = PATIENCE | {"escalate", FRESHNESS}

    def __init__(self) -> None:
        self._replaced: dict[str, _Replacements] = {}
        self._keys: list[tuple[tuple[str, ...], int]] | None = None

    def identifiable_after(self, context: DrillContext) -> int:
        """When the window of P(y|x) is filled."""
        return maturity(context)

    def amount(self, context: DrillContext) -> str:
        """Share of negatives, and the bias it makes; of a number the factor."""
        if context.model.kind == "regression":
            where = needed(context.map.amount)
            return f"{where.feed}: {', '.join(where.columns)} × {self._grown(context):g}"
        smallest = self._smallest(context)
        share = self._share(context)
        bias = self._bias(context)
        several = context.model.kind == "multiclass"
        done = "make room for copies of positive ones" if several else "become positive"
        return (
            f"{share:.0%} of the negatives {done}: bias {bias:+.3f} = {bias / smallest:.1f} × {smallest:.3f}"
        )

    def visible(self, context: DrillContext) -> float:
        """The bias that it makes in units of the smallest: all negatives may be too few of them."""
        if context.model.kind == "regression":
            return context.severity
        return self._bias(context) / self._smallest(context)

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Flip negatives, replace cases, or scale amounts."""
        if context.model.kind == "regression":
            return self._scaled(name, table, context)
        if context.model.kind == "multiclass":
            return self._recast(name, table, partition, context)
        if name != context.map.outcome:
            return table
        hit = context.rng(partition, "prior").random(table.num_rows) < self._share(context)
        negative = needed(context.map.positive)(table) == 0
        return needed(context.map.flip)(table, hit & negative, _never(table))

    def _recast(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Rows of a feed without the negatives that went, and with the positives that came twice."""
        entity = needed(context.map.entity)
        if name not in entity.feeds:
            return table
        change = self._replacements(partition, context)
        at = _rows_at(table, change.keys, entity.key)
        gone, twice = at[change.gone], at[change.copied]
        stay = np.ones(table.num_rows, dtype=bool)
        stay[gone[gone >= 0]] = False
        copies = table.take(twice[twice >= 0])
        copies = with_column(copies, entity.number, change.numbers[twice >= 0])
        return pa.concat_tables([table.filter(pa.array(stay)), copies])

    def _replacements(self, partition: str, context: DrillContext) -> _Replacements:
        if partition not in self._replaced:
            entity, random = needed(context.map.entity), context.rng(partition, "prior")
            rows = context.world.clean(needed(context.map.outcome), partition)
            positive = needed(context.map.positive)(rows)
            negatives, positives = np.flatnonzero(positive == 0), np.flatnonzero(positive == 1)
            hit = random.random(negatives.size) < self._share(context)
            gone = negatives[hit] if positives.size else negatives[:0]
            copied = random.choice(positives, gone.size) if gone.size else gone
            keys = rows.select(list(entity.key))
            numbers = self._numbers(keys, copied, context, random)
            self._replaced[partition] = _Replacements(keys, gone, copied, numbers)
        return self._replaced[partition]

    def _numbers(
        self, keys: pa.Table, copied: Rows, context: DrillContext, random: np.random.Generator
    ) -> Rows:
        """A number for each copy that no case of the partition has.

        Where numbers recur, one that an earlier positive case had, so that a copy has a history too.
        """
        entity = needed(context.map.entity)
        group, number = _groups(keys, entity)
        fresh = int(number.max(initial=0)) + 1
        free: dict[tuple[str, ...], list[int]] = {}
        if entity.recurring:
            taken = set(zip(group, number.tolist(), strict=True))
            for each in self._earlier(context):
                if each not in taken:
                    free.setdefault(each[0], []).append(each[1])
        for numbers in free.values():
            random.shuffle(numbers)
        found = []
        for row in copied:
            numbers = free.get(group[row], [])
            found.append(numbers.pop() if numbers else fresh)
            fresh += found[-1] == fresh
        return np.array(found, dtype=np.int64)

    def _earlier(self, context: DrillContext) -> list[tuple[tuple[str, ...], int]]:
        """Keys of the positive cases before the onset, each once and always in the same order."""
        if self._keys is None:
            rows = context.before(needed(context.map.outcome))
            rows = rows.filter(pa.array(needed(context.map.positive)(rows) == 1))
            group, number = _groups(rows, needed(context.map.entity))
            self._keys = sorted(set(zip(group, number.tolist(), strict=True)))
        return self._keys

    def _scaled(self, name: str, table: pa.Table, context: DrillContext) -> pa.Table:
        where = needed(context.map.amount)
        if name != where.feed:
            return table
        for column in where.columns:
            table = with_numbers(
                table, column, lambda old: pc.round(pc.multiply(old, self._grown(context)), 2)
            )
        return table

    def _grown(self, context: DrillContext) -> float:
        return 1.0 + GROWTH * context.severity

    def _smallest(self, context: DrillContext) -> float:
        """Of several classes the one that can be seen best decides: a shift moves them all."""
        seen = [
            max(v.smallest, v.floor or 0.0)
            for v in context.visible
            if (v.question, v.statistic) == ("concept", BIAS) and v.smallest is not None
        ]
        return min(seen, default=context.smallest("concept", BIAS))

    def _share(self, context: DrillContext) -> float:
        """Of the negatives, those that change or go."""
        effect = context.severity * self._smallest(context)
        return float(min(1.0, effect / (1 - _rate(context))))

    def _bias(self, context: DrillContext) -> float:
        return self._share(context) * (1 - _rate(context))


class ConceptDrift(Scenario):
    """The risk is inverted in some segments."""

    name = "concept_drift"
    needs = ("outcome", "positive", "flip", "segment")
    cause = "concept"
    shows_in_labels = True
    summary = "In some values of a segment, outcomes are inverted in many rows."
    right = frozenset({"retrain"})
    meanwhile = PATIENCE | {"escalate", FRESHNESS}

    def identifiable_after(self, context: DrillContext) -> int:
        """When the window of P(y|x) is filled."""
        return maturity(context)

    def amount(self, context: DrillContext) -> str:
        """Share of inverted outcomes, and the contrast it makes."""
        effect, smallest = self._contrast(context), self._smallest(context)
        where = needed(context.map.segment)
        return (
            f"{self._inverted(context):.0%} of the outcomes are inverted in {where.column} "
            f"{', '.join(where.values)}: contrast {effect:+.3f} = {abs(effect) / smallest:.1f} × "
            f"{smallest:.3f}"
        )

    def visible(self, context: DrillContext) -> float:
        """The contrast that it makes in units of the smallest: all outcomes may be too few of them."""
        return abs(self._contrast(context)) / self._smallest(context)

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Invert."""
        if name != context.map.outcome:
            return table
        hit = context.rng(partition, "concept").random(table.num_rows) < self._inverted(context)
        hit &= self._inside(table, context)
        positive = needed(context.map.positive)(table)
        return needed(context.map.flip)(table, hit & (positive == 0), hit & (positive == 1))

    def _inside(self, table: pa.Table, context: DrillContext) -> Mask:
        where = needed(context.map.segment)
        values = (self._beside(table, context) if where.feed else table[where.column]).cast(pa.string())
        mask: Mask = pc.is_in(values, pa.array(where.values, pa.string())).to_numpy(zero_copy_only=False)
        return mask

    def _beside(self, table: pa.Table, context: DrillContext) -> pa.ChunkedArray:
        """The segment of each outcome, where another feed holds it; null where that has no such row."""
        where = needed(context.map.segment)
        partitions = pc.unique(table[PARTITION_KEY]).to_pylist()
        parts = [context.world.clean(where.feed, k) for k in partitions]
        if not parts:
            return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        other = pa.concat_tables(parts)
        at = _rows_at(other, table, [PARTITION_KEY, *where.key])
        return other[where.column].take(pa.array(at, mask=at < 0))

    def _smallest(self, context: DrillContext) -> float:
        where = needed(context.map.segment)
        subjects = [f"{where.column}={v}" for v in where.values]
        # Of several classes each has its own contrasts, named by it.
        subjects += [f"{c}: {s}" for c in context.model.label.classes for s in subjects]
        return context.smallest("concept", "contrast", subjects)

    def _segment_rate(self, context: DrillContext) -> float:
        table = context.before(needed(context.map.outcome))
        known = needed(context.map.positive)(table)[self._inside(table, context)]
        known = known[~np.isnan(known)]
        # Without a row, nothing can be inverted there: a rate of one half leaves no contrast.
        return float(known.mean()) if known.size else 0.5

    def _inverted(self, context: DrillContext) -> float:
        contrast = abs(1 - 2 * self._segment_rate(context))
        return float(min(1.0, context.severity * self._smallest(context) / max(contrast, 0.1)))

    def _contrast(self, context: DrillContext) -> float:
        return self._inverted(context) * (1 - 2 * self._segment_rate(context))


def _groups(table: pa.Table, entity: Entity) -> tuple[list[tuple[str, ...]], Rows]:
    """The key of each row without its number, and the number."""
    others = [table[c].cast(pa.string()).to_pylist() for c in entity.key if c != entity.number]
    group = [tuple(each) for each in zip(*others, strict=True)] if others else [()] * table.num_rows
    numbers: Rows = table[entity.number].to_numpy().astype(np.int64)
    return group, numbers


def _rows_at(table: pa.Table, keys: pa.Table, columns: Sequence[str]) -> Rows:
    """Row of the table for each key, -1 where there is none (keys,); any of several."""
    index = pa.table({**{c: table[c] for c in columns}, "_row": pa.array(np.arange(table.num_rows))})
    asked = pa.table({**{c: keys[c] for c in columns}, "_key": pa.array(np.arange(keys.num_rows))})
    joined = asked.join(index, keys=list(columns), join_type="left outer").sort_by("_key")
    found: Rows = np.full(keys.num_rows, -1, dtype=np.int64)
    found[joined["_key"].to_numpy()] = pc.fill_null(joined["_row"], -1).to_numpy()
    return found


def _rate(context: DrillContext) -> float:
    table = context.before(needed(context.map.outcome))
    return float(np.nanmean(needed(context.map.positive)(table)))


def _never(table: pa.Table) -> Mask:
    return np.zeros(table.num_rows, dtype=bool)
