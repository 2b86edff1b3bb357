"""A contract as the platform sees it: typed columns, rules, and what a breach of each rule does.

Nothing here or in :mod:`ml_platform.contracts.parse` imports Great Expectations, so that the names of the
rules are known where only they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
OnBreach = Literal["quarantine", "hold", "warn"]
State = Literal["PASS", "FAIL", "UNKNOWN"]
Unit = Literal["rows", "percent"]
Operator = Literal[
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
]

PARTITION_KEY, KNOWN_AT = "partition_key", "known_at"
KEY_RULE = "key_unique"
"""Name of the rule that no key occurs twice in a partition."""
RESERVED = frozenset({PARTITION_KEY, KNOWN_AT, "accepted_at", "revision", "visible_from", "visible_to"})
"""Columns that the platform adds; a contract cannot declare them."""

_WORDS: Mapping[str, str] = {
    "mustBe": "exactly",
    "mustNotBe": "not",
    "mustBeGreaterThan": "more than",
    "mustBeGreaterOrEqualTo": "at least",
    "mustBeLessThan": "less than",
    "mustBeLessOrEqualTo": "at most",
    "mustBeBetween": "between",
    "mustNotBeBetween": "not between",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """How large a measured number may be.

    Attributes:
        operator: One of ODCS's comparisons; 'between' includes both ends.
        low: The value compared with, or the lower end.
        high: The upper end; equal to ``low`` for all but the two 'between'.
        unit: What is counted: rows, or percent of the rows checked.
    """

    operator: Operator
    low: float
    high: float
    unit: Unit = "rows"

    def holds(self, number: float) -> bool:
        """Whether a measured number keeps the limit."""
        within = self.low <= number <= self.high
        return {
            "mustBe": number == self.low,
            "mustNotBe": number != self.low,
            "mustBeGreaterThan": number > self.low,
            "mustBeGreaterOrEqualTo": number >= self.low,
            "mustBeLessThan": number < self.low,
            "mustBeLessOrEqualTo": number <= self.low,
            "mustBeBetween": within,
            "mustNotBeBetween": not within,
        }[self.operator]

    def __str__(self) -> str:
        ends = f"{self.low:g} and {self.high:g}" if "Between" in self.operator else f"{self.low:g}"
        return f"{_WORDS[self.operator]} {ends} {self.unit}"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one partition kept one rule.

    Attributes:
        rule: Name of the rule.
        partition: Partition key.
        column: The rule's column, if it has one.
        on_breach: What a breach does; 'hold' where this breach is worse than the rule's usual one.
        state: UNKNOWN is "not judged", for lack of rows, of history or because the check crashed.
        observed: What was measured: rows, percent, a statistic, or names of columns.
        limit: What was allowed, for people.
        failed_rows: Rows that break it.
        checked_rows: Rows that were judged.
        reason: Why it failed or is unknown.
        crashed: Whether the check itself failed; the partition is held back then, unless it only warns.
    """

    rule: str
    partition: str
    column: str | None
    on_breach: OnBreach
    state: State
    observed: float | str | None = None
    limit: str = ""
    failed_rows: int = 0
    checked_rows: int = 0
    reason: str = ""
    crashed: bool = False


NO_ROWS = Limit("mustBe", 0, 0)
"""The usual limit of a row rule: not one row may break it."""


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations expectation by its snake_case name, with its arguments."""

    name: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """What a delivery's columns are: all there, none unknown, of the promised types."""

    aspect: Literal["missing", "extra", "types"]


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Judged row by row, once for all partitions; a row breaks it when it breaks any expectation."""

    expectations: tuple[Expectation, ...]
    limit: Limit = NO_ROWS


@dataclass(frozen=True, slots=True)
class TableCheck:
    """One expectation about a partition as a whole, for example a mean."""

    expectation: Expectation


@dataclass(frozen=True, slots=True)
class RowCountCheck:
    """How many rows a complete partition has."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class SameWeekdayCheck:
    """Rows of a complete partition against the last partitions of the same weekday.

    Warns outside ``median ± max(mad_multiplier × 1.4826 × MAD, warn_deviation × median)``, holds back
    below ``hold_below × median``. Judged from ``minimum_partitions`` on, over at most
    ``maximum_partitions``.
    """

    warn_deviation: float = 0.10
    mad_multiplier: float = 4.0
    hold_below: float = 0.5
    minimum_partitions: int = 4
    maximum_partitions: int = 8


@dataclass(frozen=True, slots=True)
class SegmentNullRateCheck:
    """Share of nulls in each segment of at least ``minimum_rows`` rows.

    Broken where the share exceeds ``max(worst reference partition, floor) + maximum_increase`` and so
    many nulls would be this rare (binomial ``p_value``) at the reference's rate. The reference is the
    last ``maximum_partitions`` that kept the rule; a segment with fewer than ``minimum_partitions`` of
    them is not judged.
    """

    column: str
    by: str
    minimum_rows: int = 200
    maximum_increase: float = 0.05
    floor: float = 0.005
    p_value: float = 1e-4
    minimum_partitions: int = 4
    maximum_partitions: int = 28


Check = SchemaCheck | RowCheck | TableCheck | RowCountCheck | SameWeekdayCheck | SegmentNullRateCheck


@dataclass(frozen=True)
class Rule:
    """One promise, and what breaking it does.

    Attributes:
        name: Unique in the contract; letters, digits and underscores.
        column: The column it is about; None for rules about several or about the table.
        check: How it is judged.
        on_breach: Quarantine the row, hold back the partition, or warn.
        requirement: What is required, for people: the reason that a quarantined row keeps.
        dimension: ODCS dimension of quality.
        severity: As the contract says, for example ``error``.
        description: From the contract.
        columns: All columns it reads.
    """

    name: str
    column: str | None
    check: Check
    on_breach: OnBreach
    requirement: str
    dimension: str = "conformity"
    severity: str = "error"
    description: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column that a feed promises.

    Attributes:
        name: Its name.
        logical_type: ODCS logical type.
        required: Never missing (true for key columns).
        unique: No value twice within a partition.
        key_position: Place in the key, from 1; None outside it. The partition key comes before it.
        classification: For example ``public``.
        description: For people.
        enum: The only values allowed; empty when any is.
    """

    name: str
    logical_type: LogicalType
    required: bool = False
    unique: bool = False
    key_position: int | None = None
    classification: str = ""
    description: str = ""
    enum: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """One entry of ``slaProperties``, as written."""

    property: str
    value: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Contract:
    """What a feed promises.

    Attributes:
        name: The feed's name.
        version: The contract's own version.
        digest: SHA-256 of its content; comments and layout do not count.
        owner: The team that answers for it.
        description: Purpose of the data.
        status: For example ``active``.
        columns: In the contract's order.
        rules: Schema rules first, then those that columns imply, then the declared ones.
        service_levels: All of ``slaProperties``.
        latency: How long after it is due a delivery may still come without being late.
        freshness: How old the last delivery may become; None when nothing is promised.
    """

    name: str
    version: str
    digest: str
    owner: str
    description: str
    status: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    service_levels: tuple[ServiceLevel, ...] = ()
    latency: timedelta = timedelta(0)
    freshness: timedelta | None = field(default=None)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return [c.name for c in self.columns]

    @property
    def key(self) -> list[str]:
        """Key columns in order of their positions, without the partition key."""
        keyed = [(c.key_position, c.name) for c in self.columns if c.key_position is not None]
        return [name for _, name in sorted(keyed)]

    @property
    def payload(self) -> list[str]:
        """The columns outside the key, in order."""
        return [c.name for c in self.columns if c.key_position is None]

    def column(self, name: str) -> Column:
        """The column with this name."""
        return next(c for c in self.columns if c.name == name)

    def rule(self, name: str) -> Rule:
        """The rule with this name."""
        return next(r for r in self.rules if r.name == name)
