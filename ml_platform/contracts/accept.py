"""Acceptance: which rows of a delivery are let in, which go to quarantine, which partitions are held back.

Each landed row ends in exactly one place: landed = accepted + quarantined + held. Partitions are judged in
order, each against those before it, so that a year checked at once and day by day come out the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ml_platform.contracts.expectations import Validator, validator
from ml_platform.contracts.model import (
    Contract,
    RowCheck,
    RowCountCheck,
    Rule,
    RuleResult,
    SameWeekdayCheck,
    SchemaCheck,
    SegmentNullRateCheck,
    State,
)
from ml_platform.contracts.prepared import Prepared, prepare
from ml_platform.contracts.quarantine import QUARANTINE_SCHEMA, Breach, quarantine_rows
from ml_platform.contracts.row_rules import Finding, judge_rows
from ml_platform.contracts.schema_rules import schema_result
from ml_platform.contracts.statistics_rules import judge_statistics
from ml_platform.contracts.table_rules import (
    SegmentCounts,
    null_rates,
    row_count,
    same_weekday_row_count,
    segment_counts,
    segment_null_rate,
)

NullRates = Mapping[str, Mapping[str, float]]
"""Share of nulls by segment, by name of the rule."""


@dataclass(frozen=True)
class AcceptanceContext:
    """What a check must know besides the delivery.

    Attributes:
        partitions: All partitions that were asked for, those without a row included.
        complete: Those in which nothing new is expected; row counts of others are not judged.
        row_counts: Accepted rows of earlier complete partitions, by partition.
        null_rates: :attr:`PartitionAcceptance.null_rates` of earlier partitions, by partition.
    """

    partitions: tuple[str, ...]
    complete: frozenset[str] = frozenset()
    row_counts: Mapping[str, int] = field(default_factory=dict)
    null_rates: Mapping[str, NullRates] = field(default_factory=dict)


@dataclass(frozen=True)
class PartitionAcceptance:
    """The verdict on one partition.

    Attributes:
        partition: Its key.
        landed_rows: Rows delivered.
        accepted: partition_key, the contract's columns in their types, known_at; empty when held.
        quarantined: A table of ``QUARANTINE_SCHEMA``; empty when held.
        held: The rows as delivered when the partition is held back, else empty.
        reasons: Why it is held back.
        results: One for each rule of the contract, in its order.
        null_rates: Reference for later partitions. Rules that this partition broke are left out, so
            that an incident does not become the norm; one among the first partitions, which nothing
            judges, does until it leaves the reference.
    """

    partition: str
    landed_rows: int
    accepted: pa.Table
    quarantined: pa.Table
    held: pa.Table
    reasons: tuple[str, ...]
    results: tuple[RuleResult, ...]
    null_rates: NullRates

    @property
    def is_held(self) -> bool:
        """Whether the partition must not be published."""
        return bool(self.reasons)

    @property
    def state(self) -> State:
        """FAIL where any rule was broken, else UNKNOWN where any was not judged, else PASS."""
        states = {r.state for r in self.results}
        if "FAIL" in states:
            return "FAIL"
        return "UNKNOWN" if "UNKNOWN" in states else "PASS"


@dataclass(frozen=True)
class Acceptance:
    """The verdict on a delivery, by partition in order of their keys."""

    contract: Contract
    partitions: Mapping[str, PartitionAcceptance]

    @property
    def landed_rows(self) -> int:
        """Rows delivered: the sum of the three below."""
        return sum(p.landed_rows for p in self.partitions.values())

    @property
    def accepted_rows(self) -> int:
        """Rows let in."""
        return sum(p.accepted.num_rows for p in self.partitions.values())

    @property
    def quarantined_rows(self) -> int:
        """Rows in quarantine."""
        return sum(p.quarantined.num_rows for p in self.partitions.values())

    @property
    def held_rows(self) -> int:
        """Rows of partitions that are held back."""
        return sum(p.held.num_rows for p in self.partitions.values())

    @property
    def held_partitions(self) -> tuple[str, ...]:
        """Partitions that must not be published."""
        return tuple(k for k, p in self.partitions.items() if p.is_held)

    @property
    def accepted(self) -> pa.Table:
        """The accepted rows of all partitions, ready to be merged into history."""
        return pa.concat_tables([p.accepted for p in self.partitions.values()])


def check(contract: Contract, delivery: pa.Table, context: AcceptanceContext) -> Acceptance:
    """Judge a delivery of one or many partitions; row rules run once for all of them.

    Args:
        contract: The feed's contract.
        delivery: Raw rows with partition_key and known_at. Quarantine numbers rows by their place in it,
            so pass them as they landed (``landing.canonical``).
        context: Partitions asked for and what is known of earlier ones.

    Raises:
        ContractError: A row has no partition_key or known_at, or is of a partition not asked for.
    """
    prepared = prepare(contract, delivery, context.partitions)
    gx = validator()
    judge = _Judge(prepared, judge_rows(prepared, gx), context, gx)
    return Acceptance(contract, {key: judge.partition(i) for i, key in enumerate(prepared.partitions)})


class _Judge:
    """Judges partitions one after the other and remembers the earlier ones."""

    def __init__(
        self, delivery: Prepared, findings: list[Finding], context: AcceptanceContext, validator: Validator
    ) -> None:
        self.delivery, self.context, self.validator = delivery, context, validator
        self.findings = {f.rule.name: f for f in findings}
        self.breaches = self._breaches(findings)
        self.row_counts = dict(context.row_counts)
        self.null_rates = dict(context.null_rates)
        self.flagged = np.zeros(delivery.rows, bool)
        for breach in self.breaches:
            self.flagged |= breach.broken
        self.segments = self._segments()

    def partition(self, number: int) -> PartitionAcceptance:
        """The verdict on one partition; must be called in order of the partitions."""
        delivery, key = self.delivery, self.delivery.partitions[number]
        rows = delivery.positions[number]
        good = rows[~self.flagged[rows]]
        accepted = delivery.cast.take(good)
        statistics = judge_statistics(delivery, key, accepted, self.validator)
        results = tuple(
            statistics.get(rule.name) or self._result(rule, number, len(good))
            for rule in delivery.contract.rules
        )
        reasons = tuple(f"{r.rule}: {r.reason}" for r in results if _holds(r))
        rates = self._rates(number, results)
        if not reasons:
            self._remember(key, len(good), rates)
        nothing = delivery.raw.slice(0, 0)
        return PartitionAcceptance(
            partition=key,
            landed_rows=len(rows),
            accepted=delivery.cast.slice(0, 0) if reasons else accepted,
            quarantined=(
                QUARANTINE_SCHEMA.empty_table()
                if reasons or len(good) == len(rows)
                else quarantine_rows(delivery, self.breaches, rows)
            ),
            held=delivery.raw.take(rows) if reasons else nothing,
            reasons=reasons,
            results=results,
            null_rates={} if reasons else rates,
        )

    def _breaches(self, findings: list[Finding]) -> list[Breach]:
        types = [r for r in self.delivery.contract.rules if r.check == SchemaCheck("types")]
        found = [Breach(r, self.delivery.unread_anywhere) for r in types]
        return found + [Breach(f.rule, f.broken) for f in findings if f.rule.on_breach == "quarantine"]

    def _segments(self) -> dict[str, list[dict[str, tuple[int, int]]]]:
        cast, codes, count = self.delivery.cast, self.delivery.codes, len(self.delivery.partitions)
        return {
            rule.name: segment_counts(cast[rule.check.column], cast[rule.check.by], codes, count)
            for rule in self.delivery.contract.rules
            if isinstance(rule.check, SegmentNullRateCheck)
        }

    def _counts(self, rule: Rule, number: int) -> SegmentCounts:
        return self.segments[rule.name][number]

    def _result(self, rule: Rule, number: int, rows: int) -> RuleResult:
        key, what = self.delivery.partitions[number], rule.check
        complete = key in self.context.complete
        if isinstance(what, RowCheck):
            return self.findings[rule.name].result(number, key)
        if isinstance(what, SchemaCheck):
            return schema_result(self.delivery, rule, what, number)
        if isinstance(what, RowCountCheck):
            return row_count(rule, what, key, rows, complete=complete)
        if isinstance(what, SameWeekdayCheck):
            return same_weekday_row_count(rule, what, key, rows, self.row_counts, complete=complete)
        if isinstance(what, SegmentNullRateCheck):
            history = {k: rates[rule.name] for k, rates in self.null_rates.items() if rule.name in rates}
            return segment_null_rate(rule, what, key, self._counts(rule, number), history)
        raise TypeError(f"no judge for {type(what).__name__}")

    def _rates(self, number: int, results: tuple[RuleResult, ...]) -> dict[str, dict[str, float]]:
        kept = {r.rule for r in results if r.state != "FAIL"}
        return {
            rule.name: null_rates(rule.check, self._counts(rule, number))
            for rule in self.delivery.contract.rules
            if isinstance(rule.check, SegmentNullRateCheck) and rule.name in kept
        }

    def _remember(self, key: str, rows: int, rates: NullRates) -> None:
        self.null_rates[key] = rates
        if key in self.context.complete:
            self.row_counts[key] = rows


def _holds(result: RuleResult) -> bool:
    """A broken rule that holds back, or a rule that crashed: what was not judged has not passed."""
    if result.crashed:
        return result.on_breach != "warn"
    return result.state == "FAIL" and result.on_breach == "hold"
