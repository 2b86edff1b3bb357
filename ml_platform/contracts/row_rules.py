"""Row rules: judged by Great Expectations once for a whole range, then counted by partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_platform.contracts.casting import Mask
from ml_platform.contracts.expectations import Outcome, Validator
from ml_platform.contracts.model import (
    KEY_RULE,
    KNOWN_AT,
    PARTITION_KEY,
    Expectation,
    RowCheck,
    Rule,
    RuleResult,
    State,
)
from ml_platform.contracts.prepared import Prepared, to_frame

_JUDGES_MISSING = frozenset({"expect_column_values_to_not_be_null", "expect_column_values_to_be_null"})


@dataclass(frozen=True)
class Finding:
    """What a row rule found in a range.

    Attributes:
        rule: The rule.
        check: Its check.
        broken: Rows that break it, shape (rows,).
        failed: Such rows by partition.
        checked: Rows judged by partition.
        error: Why it could not be judged; empty when it could.
        crashed: Whether the check itself failed.
    """

    rule: Rule
    check: RowCheck
    broken: Mask
    failed: npt.NDArray[np.int64]
    checked: npt.NDArray[np.int64]
    error: str = ""
    crashed: bool = False

    def result(self, number: int, partition: str) -> RuleResult:
        """How one partition kept the rule."""
        rule, limit = self.rule, self.check.limit
        failed, checked = int(self.failed[number]), int(self.checked[number])
        observed = 100 * failed / max(checked, 1) if limit.unit == "percent" else failed
        state: State = "PASS" if limit.holds(observed) else "FAIL"
        reason = "" if state == "PASS" else f"{failed} of {checked} rows: {rule.requirement}"
        if self.error or not checked:
            state, reason = "UNKNOWN", self.error or "nothing to judge"
        return RuleResult(
            rule.name,
            partition,
            rule.column,
            rule.on_breach,
            state,
            float(observed),
            str(limit),
            failed,
            checked,
            reason,
            crashed=self.crashed,
        )


def judge_rows(delivery: Prepared, validator: Validator) -> list[Finding]:
    """Judge all row rules of the contract, in their order."""
    rules = [(r, r.check) for r in delivery.contract.rules if isinstance(r.check, RowCheck)]
    errors = {r.name: _unjudgeable(delivery, r) for r, _ in rules}
    runnable = [(r, c) for r, c in rules if not errors[r.name]]
    columns = dict.fromkeys(c for r, _ in runnable for c in r.columns)
    frame = to_frame(delivery.cast, [PARTITION_KEY, *columns])
    outcomes = validator.rows(frame, _expectations(runnable)) if delivery.rows else {}
    valid = {c: frame[c].notna().to_numpy(bool) for c in columns}
    return [_finding(delivery, r, c, outcomes, valid, errors[r.name]) for r, c in rules]


def _unjudgeable(delivery: Prepared, rule: Rule) -> str:
    """Why a rule cannot be judged at all."""
    missing = [c for c in rule.columns if c in delivery.missing]
    retyped = [c for c in rule.columns if c in delivery.retyped]
    if missing:
        return f"column {', '.join(missing)} is missing"
    return f"column {', '.join(retyped)} was retyped" if retyped else ""


def _expectations(rules: Sequence[tuple[Rule, RowCheck]]) -> dict[str, Expectation]:
    return {f"{rule.name}#{i}": one for rule, check in rules for i, one in enumerate(check.expectations)}


def _finding(
    delivery: Prepared,
    rule: Rule,
    check: RowCheck,
    outcomes: Mapping[str, Outcome],
    valid: Mapping[str, Mask],
    error: str,
) -> Finding:
    broken = np.zeros(delivery.rows, bool)
    checked = np.zeros(delivery.rows, bool)
    mine = [o for i in range(len(check.expectations)) if (o := outcomes.get(f"{rule.name}#{i}"))]
    crash = next((o.error for o in mine if o.error), "")
    if mine and not crash:
        checked = _checked(delivery, rule, check, valid)
        for outcome in mine:
            broken[outcome.rows] = True
        if rule.name == KEY_RULE:
            broken = _without_first_copies(delivery, broken)
        broken &= checked
    failed, judged = delivery.count(broken), delivery.count(checked)
    return Finding(rule, check, broken, failed, judged, error or crash, crashed=bool(crash))


def _checked(delivery: Prepared, rule: Rule, check: RowCheck, valid: Mapping[str, Mask]) -> Mask:
    """The rows a rule judges: those with values, or all where it judges missing ones; never unread ones."""
    rows = np.ones(delivery.rows, bool)
    judges_missing = any(e.name in _JUDGES_MISSING for e in check.expectations)
    for column in rule.columns:
        if not judges_missing:
            rows &= valid[column]
        if column in delivery.unread:
            rows &= ~delivery.unread[column]
    return rows


def _without_first_copies(delivery: Prepared, repeated: Mask) -> Mask:
    """Of rows that are equal in all columns the first stays; rows that contradict each other all go."""
    if not repeated.any():
        return repeated
    key = [PARTITION_KEY, *delivery.contract.key]
    columns = [PARTITION_KEY, *delivery.contract.column_names, KNOWN_AT]
    rows = delivery.cast.select(columns).take(np.flatnonzero(repeated)).to_pandas()
    first = ~rows.duplicated(subset=columns, keep="first")
    versions = first.groupby([rows[k] for k in key], dropna=False).transform("sum")
    kept = repeated.copy()
    kept[np.flatnonzero(repeated)[(first & (versions == 1)).to_numpy()]] = False
    return kept
