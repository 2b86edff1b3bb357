"""The nine incidents that every use case with a :class:`DrillMap` can rehearse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.diagnosis.evidence import DELAY_HAZARD, Evidence
from ml_platform.diagnosis.steps import STEPS
from ml_platform.ingestion.reader import KNOWN_AT
from ml_platform.lifecycle.drills.mapping import Columns, needed
from ml_platform.lifecycle.drills.scenario import (
    FRESHNESS,
    PATIENCE,
    DrillContext,
    Scenario,
    numbers,
    with_column,
    with_numbers,
)
from ml_platform.lifecycle.drills.world_incidents import ConceptDrift, PriorShift
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.monitoring.units import ks_distance

NULL_SHARE = 0.3
"""Nulls per unit of severity: 60 % at the default."""
RISING_NULLS = 0.05
"""Rise of a null rate that the contract step reports."""
UNIT_DISTANCE = 0.2
"""Kolmogorov-Smirnov distance from which a unit is suspected."""


class Harmless(Scenario):
    """Nothing happens that asks for anything."""

    right = PATIENCE | {FRESHNESS}
    meanwhile = frozenset()

    def is_right(self, verdict: str, days: Sequence[Evidence]) -> bool:
        """Waiting for labels is right for what cannot be seen yet, and not where something is found wrong.

        Labels that are overdue where none is late would be waited for without end.
        """
        return verdict in self.right and not (verdict == "wait_for_labels" and days and _alarming(days[-1]))


class CleanWorld(Harmless):
    """Nothing happens."""

    name = "clean"
    cause = "none"
    summary = "Nothing is changed."

    def amount(self, context: DrillContext) -> str:
        """Nothing is injected."""
        return "nothing is injected"


class BenignShift(Harmless):
    """A feature that matters little moves, and the outcomes do not care."""

    name = "benign_shift"
    needs = ("benign",)
    cause = "benign_drift"
    summary = "A numeric feature that matters little is higher; outcomes are as before."

    def amount(self, context: DrillContext) -> str:
        """In standard deviations, and in the raw unit."""
        where = needed(context.map.benign)
        moves = ", ".join(f"{c} + {self._move(where, c, context):.3g}" for c in where.columns)
        return f"{where.feed}: {moves} ({context.severity:g} × 1 standard deviation of the raw rows)"

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Add some standard deviations."""
        where = needed(context.map.benign)
        if name != where.feed:
            return table
        for column in where.columns:
            table = with_numbers(table, column, partial(pc.add, self._move(where, column, context)))
        return table

    def _move(self, where: Columns, column: str, context: DrillContext) -> float:
        move = context.severity * context.spread(where.feed, column)
        return round(move / where.step) * where.step if where.step else move


class UnitChange(Scenario):
    """A source reports in another unit."""

    name = "unit_change"
    needs = ("unit",)
    cause = "data:units"
    summary = "A source reports numeric columns in another unit."
    right = frozenset({"fix_data"})

    def identifiable_after(self, context: DrillContext) -> int:
        """Half of the covariate window."""
        return context.model.diagnosis.covariate_partitions // 2

    def amount(self, context: DrillContext) -> str:
        """Share of rows, and the distance it makes."""
        where, share = needed(context.map.unit), _share(context)
        distance = self.visible(context) * UNIT_DISTANCE
        return (
            f"{share:.0%} of the rows of {where.feed}: {', '.join(where.columns)} × {where.factor:g} "
            f"(raw KS distance {distance:.2f} = {distance / UNIT_DISTANCE:.1f} × {UNIT_DISTANCE:g}, "
            f"from which a unit is suspected)"
        )

    def visible(self, context: DrillContext) -> float:
        """The distance that it makes of the raw rows, in units of that from which a unit is suspected."""
        where = needed(context.map.unit)
        before = numbers(context.before(where.feed), where.columns[0]).drop_null().to_numpy()
        return _share(context) * ks_distance(np.sort(before), before * where.factor) / UNIT_DISTANCE

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Multiply."""
        where = needed(context.map.unit)
        if name != where.feed:
            return table
        hit = context.rng(partition, "unit").random(table.num_rows) < _share(context)
        contract = contract_of(context.use_case, name)
        for column in where.columns:
            # Ages in whole years are numbers with decimals once they are told in another unit.
            decimals = contract.column(column).logical_type == "number"
            table = with_numbers(
                table, column, lambda old: pc.multiply(old, where.factor), hit, decimals=decimals
            )
        return table


class NullSpike(Scenario):
    """A column loses its values."""

    name = "null_spike"
    needs = ("nulls",)
    cause = "data:contract"
    summary = "A feature's raw columns are null in many rows."
    right = frozenset({"fix_data"})

    def identifiable_after(self, context: DrillContext) -> int:
        """The partition after."""
        return 1

    def amount(self, context: DrillContext) -> str:
        """Share of nulls."""
        share, where = self._nulls(context), needed(context.map.nulls)
        return (
            f"{share:.0%} nulls in {where.feed}: {', '.join(where.columns)} ({share / RISING_NULLS:.0f} × "
            f"the rise of {RISING_NULLS:.0%} that is reported)"
        )

    def visible(self, context: DrillContext) -> float:
        """The share of nulls, in units of the rise that is reported."""
        return self._nulls(context) / RISING_NULLS

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Delete cells, of all columns in the same rows."""
        where = needed(context.map.nulls)
        if name != where.feed:
            return table
        hit = pa.array(context.rng(partition, "nulls").random(table.num_rows) < self._nulls(context))
        for column in where.columns:
            kind = table.schema.field(column).type
            table = with_column(table, column, pc.if_else(hit, pa.scalar(None, kind), table[column]))
        return table

    def _nulls(self, context: DrillContext) -> float:
        return min(1.0, NULL_SHARE * context.severity)


class ServingSkew(Scenario):
    """The serving path hands some rows another row's features; what is rebuilt is sound."""

    name = "serving_skew"
    cause = "data:serving"
    summary = "In some rows features are served that belong to another row; rebuilt, they are sound."
    right = frozenset({"fix_serving"})

    def identifiable_after(self, context: DrillContext) -> int:
        """The partition after."""
        return 1

    def amount(self, context: DrillContext) -> str:
        """Share of rows."""
        floor = context.model.diagnosis.mismatch_share
        return (
            f"{self._rows(context):.1%} of the served rows carry another row's {', '.join(_skewed(context))} "
            f"({context.severity:g} × the share of {floor:.0%} that may differ)"
        )

    def served(self, tables: Mapping[str, pa.Table], context: DrillContext) -> dict[str, pa.Table]:
        """Rotate features among some rows of each partition, as a join off by one does."""
        found = {}
        for key, sound in tables.items():
            table, size = sound, sound.num_rows
            hit = np.flatnonzero(context.rng(key, "skew").random(size) < self._rows(context))
            order = np.arange(size)
            order[hit] = np.roll(order, size // 2)[hit]
            for name in _skewed(context):
                table = with_column(table, name, table[name].take(pa.array(order)))
            found[key] = table
        return found

    def _rows(self, context: DrillContext) -> float:
        return min(1.0, context.severity * context.model.diagnosis.mismatch_share)


class LateLabels(Scenario):
    """Outcomes are reported later than they were."""

    name = "late_labels"
    needs = ("outcome",)
    cause = "data:label_delay"
    summary = "Outcomes are known later after their partition's begin."
    right = frozenset({"fix_data", "wait_for_labels"})
    meanwhile = frozenset({"none", "escalate"})

    def identifiable_after(self, context: DrillContext) -> int:
        """When the first late partitions should have been mature."""
        return context.model.label.maturity_partitions

    def is_right(self, verdict: str, days: Sequence[Evidence]) -> bool:
        """Waiting is right only where delays could never be compared; where they could, they changed."""
        compared = any(
            f.statistic == DELAY_HAZARD and f.state in ("PASS", "FAIL")
            for day in days
            for f in day.of("maturity").items
        )
        return verdict in self.right and not (verdict == "wait_for_labels" and compared)

    def amount(self, context: DrillContext) -> str:
        """Factor on the delay."""
        factor = self._factor(context)
        return f"outcomes take {factor:g} × as long after their partition's begin (twice at severity 2)"

    def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
        """Stretch the delay."""
        if name != context.map.outcome:
            return table
        start = int(context.scheme.partition(partition).start.timestamp() * 1e6)
        known = table[KNOWN_AT].combine_chunks().cast(pa.int64()).to_numpy()
        later = start + np.maximum(known - start, 0) * self._factor(context) + np.minimum(known - start, 0)
        instants = pa.array(later.astype(np.int64), pa.int64()).cast(table.schema.field(KNOWN_AT).type)
        return with_column(table, KNOWN_AT, instants)

    def _factor(self, context: DrillContext) -> float:
        return 1.0 + context.severity / 2


class LabelRedefinition(Scenario):
    """Somebody changes the label's SQL."""

    name = "label_redefinition"
    cause = "data:label_definition"
    summary = "The label's code means something else for some rows, chosen by a hash of their key."
    right = frozenset({"fix_data"})

    def amount(self, context: DrillContext) -> str:
        """Share of labels that change, of those that can."""
        floor = context.model.diagnosis.mismatch_share
        return f"{_lost(context):.0%} of {self._change(context)[0]} ({floor:.0%} of all labels may differ)"

    def label_sql(self, sql: str, context: DrillContext) -> str | None:
        """Wrap the label model's SQL."""
        label, key = context.model.label.column, ", ".join(context.use_case.config.views.key)
        _, hit, new = self._change(context)
        lost = round(_lost(context) * 100)
        return (
            f"select * replace (\n    case when {hit} and hash(partition_key, {key}) % 100 < {lost} "
            f"then {new} else {label} end as {label}\n)\nfrom (\n{sql}\n) as redefined\n"
        )

    def _change(self, context: DrillContext) -> tuple[str, str, str]:
        """What happens in words, which labels can change, and what they become (SQL)."""
        label = context.model.label
        if context.model.kind == "regression":
            return "the numbers are halved", f"{label.column} <> 0", f"{label.column} / 2"
        if context.model.kind == "multiclass":
            usual = label.classes[0]
            return f"the other classes become {usual}", f"{label.column} <> '{usual}'", f"'{usual}'"
        return "the positives become negative", f"{label.column} = 1", "0"


SCENARIOS: tuple[type[Scenario], ...] = (
    CleanWorld,
    BenignShift,
    UnitChange,
    NullSpike,
    ServingSkew,
    LateLabels,
    LabelRedefinition,
    PriorShift,
    ConceptDrift,
)
"""All nine, in the order in which they are told."""


def _alarming(day: Evidence) -> bool:
    """Something is established that asks for more than patience; that features moved is no such thing."""
    return any(day.of(s.name).failed for s in STEPS if s.name not in ("covariates", "season"))


def _share(context: DrillContext) -> float:
    """All rows at severity 2."""
    return min(1.0, context.severity / 2)


def _lost(context: DrillContext) -> float:
    """Half of the positives at severity 2."""
    return min(1.0, context.severity / 4)


def _skewed(context: DrillContext) -> tuple[str, ...]:
    declared = context.model.features
    return context.map.skewed or tuple(
        f.name for f in declared if f.kind == "numeric" and not f.runs_with_time
    )
