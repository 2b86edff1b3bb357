"""The interface of a drill: what is broken, from when, how strongly, and which verdicts are right.

A scenario is a class. ``ml-platform drill NAME --scenarios FILE.py`` finds every subclass of
:class:`Scenario` that a file defines; ``docs/drills_example.py`` is one of twenty lines.
The platform under test never sees a scenario: it reads feeds, features and label code as in production, and
they have changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase
from ml_platform.contracts.casting import cast_column
from ml_platform.diagnosis.evidence import Evidence
from ml_platform.lifecycle.drills.mapping import DrillMap
from ml_platform.model_config import KindName, ModelConfig
from ml_platform.partitions import PartitionScheme

FRESHNESS = "retrain (freshness)"
"""Name of a retraining by age, which asks for no incident; ``retrain`` is the one after an incident."""
PATIENCE = frozenset({"none", "wait_for_labels"})
DEFAULT_SEVERITY = 2.0


class Clean(Protocol):
    """Rows of the world without the incident."""

    def clean(self, feed: str, key: str) -> pa.Table:
        """All rows that will ever be known of one partition."""


@dataclass(frozen=True)
class Visible:
    """What one statistic could see in the days before the onset.

    Attributes:
        question: Step of the diagnosis, for example ``concept``.
        statistic: For example ``bias``.
        subject: For example ``all`` or ``column=value``.
        smallest: Smallest detectable effect; None where it has none.
        floor: Least effect that counts.
    """

    question: str
    statistic: str
    subject: str
    smallest: float | None
    floor: float | None


@dataclass(frozen=True)
class DrillContext:
    """What a scenario may know.

    Attributes:
        use_case: Settings of the use case.
        model: The model that is diagnosed.
        map: Where generic incidents strike; see :class:`DrillMap`.
        onset: First partition that is changed.
        severity: In units of the deciding statistic's minimal detectable effect.
        seed: Of everything random.
        world: The world without the incident.
        visible: What the statistics could see in the clean days before the onset.
    """

    use_case: UseCase
    model: ModelConfig
    map: DrillMap
    onset: str
    severity: float
    seed: int
    world: Clean
    visible: Sequence[Visible] = ()
    _spreads: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def scheme(self) -> PartitionScheme:
        """Partitions of the use case."""
        return self.use_case.scheme

    def rng(self, partition: str, stream: str = "") -> np.random.Generator:
        """Random numbers of one partition: the same whenever it is read again."""
        return np.random.default_rng([self.seed, *(zlib.crc32(t.encode()) for t in (partition, stream))])

    def known(self, partition: str) -> datetime:
        """The partition's cutoff: what becomes known later does not reach its features."""
        return self.use_case.cutoff(partition)

    def before(self, feed: str, partitions: int = 28) -> pa.Table:
        """Raw rows of the last partitions before the onset."""
        first = self.scheme.shift(self.onset, -partitions)
        keys = self.scheme.keys(first, self.scheme.shift(self.onset, -1))
        return pa.concat_tables([self.world.clean(feed, k) for k in keys])

    def spread(self, feed: str, column: str) -> float:
        """Standard deviation of a raw column before the onset, its extreme hundredth clipped."""
        if (feed, column) not in self._spreads:
            values = numbers(self.before(feed), column).drop_null().to_numpy()
            # One wild value must not set the scale.
            low, high = np.percentile(values, [0.5, 99.5]) if len(values) else (0.0, 0.0)
            self._spreads[feed, column] = float(np.std(np.clip(values, low, high))) if len(values) else 0.0
        return self._spreads[feed, column]

    def smallest(
        self, question: str, statistic: str, subjects: Sequence[str] = (), default: float = 0.1
    ) -> float:
        """The effect from which a statistic fails: its minimal detectable one, at least its floor.

        With several subjects the worst of them; ``default`` where it was not measured before the onset.
        """
        found = [
            max(v.smallest or 0.0, v.floor or 0.0)
            for v in self.visible
            if v.question == question and v.statistic == statistic and (not subjects or v.subject in subjects)
        ]
        return max(found, default=0.0) or default


class Scenario:
    """An incident. Subclasses set the names and override what changes.

    One object plays one drill, so that it may keep what it has seen. Hooks are called for partitions at or
    after the onset only; they must give the same answer whenever they are asked again.

    Attributes:
        name: On the command line.
        cause: The true cause, as the diagnosis would name it.
        summary: One sentence for people.
        right: Right verdicts. One that is no patience (``none``, ``wait_for_labels``) settles the drill.
        meanwhile: Verdicts that are neither right nor wrong; everything else is a wrong one.
        settles: Verdicts that end the drill as right; when None, those of ``right`` that act. An empty set
            means that all days are played and nothing wrong may be said in any of them.
        shows_in_labels: Nothing but matured labels can show it, so that a verdict that acts before the first
            changed one has matured is a false alarm that happens to be right.
        needs: Keys of the :class:`DrillMap` without which it does not apply to a use case.
        needs_of: The same for a kind of target of which it asks something else.
    """

    name: ClassVar[str]
    cause: ClassVar[str]
    summary: ClassVar[str] = ""
    right: ClassVar[frozenset[str]]
    meanwhile: ClassVar[frozenset[str]] = PATIENCE | {"escalate"}
    settles: ClassVar[frozenset[str] | None] = None
    shows_in_labels: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    needs_of: ClassVar[Mapping[KindName, tuple[str, ...]]] = {}

    def identifiable_after(self, context: DrillContext) -> int:
        """Partitions from the onset until the cause can be identified."""
        return 0

    def is_right(self, verdict: str, days: Sequence[Evidence]) -> bool:
        """Whether the last verdict is a right one, given the evidence of all days that were played."""
        return verdict in self.right

    def amount(self, context: DrillContext) -> str:
        """The severity in natural units, and what the deciding statistic can see."""
        return ""

    def visible(self, context: DrillContext) -> float:
        """The effect in units of the smallest that can be seen; below 1 it may be missed."""
        return context.severity

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Raw rows of one partition of one feed, as they will ever be known, with ``known_at``."""
        return table

    def served(self, tables: Mapping[str, pa.Table], context: DrillContext) -> dict[str, pa.Table]:
        """Features by partition on their way from the views to the model; what is rebuilt stays sound."""
        return dict(tables)

    def label_sql(self, sql: str, context: DrillContext) -> str | None:
        """The label model's dbt SQL in force from the onset; None leaves it."""
        return None


def settling(scenario: type[Scenario]) -> frozenset[str]:
    """Verdicts that end a drill as right."""
    return scenario.right - PATIENCE - {FRESHNESS} if scenario.settles is None else scenario.settles


def maturity(context: DrillContext) -> int:
    """Partitions until labels after the onset fill the window in which P(y|x) is judged."""
    return context.model.label.maturity_partitions + context.model.diagnosis.concept_partitions


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with other values in one column, of the same type."""
    index = table.column_names.index(name)
    kind = table.schema.field(index).type
    column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return table.set_column(index, pa.field(name, kind), column.cast(kind, safe=False))


def numbers(table: pa.Table, name: str) -> pa.Array:
    """A raw column as float64, also where its source keeps it as text; null where it is no number."""
    return cast_column(table[name], "number").values


def with_numbers(
    table: pa.Table,
    name: str,
    change: Callable[[pa.Array], pa.Array],
    hit: Any = None,
    *,
    decimals: bool = False,
) -> pa.Table:
    """The table with other numbers in one column, written as they were.

    Whole numbers stay whole, also in a source that keeps them as text. What is no number stays as it is.

    Args:
        table: Raw rows.
        name: A column of numbers, or of text that stands for them.
        change: New numbers (float64) from the old ones.
        hit: Rows to change (boolean); all if None.
        decimals: Numbers that happen to be whole may have decimals afterwards, where their type can.
    """
    raw = table[name].combine_chunks()
    old = numbers(table, name)
    new = change(old)
    whole = not decimals and pc.all(pc.equal(pc.floor(old), old), min_count=0).as_py()
    if pa.types.is_integer(raw.type) or (whole and not pa.types.is_floating(raw.type)):
        new = pc.round(new).cast(pa.int64())
    there = old.is_valid() if hit is None else pc.and_(old.is_valid(), pa.array(hit))
    return with_column(table, name, pc.if_else(there, new.cast(raw.type, safe=False), raw))
