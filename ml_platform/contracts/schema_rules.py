"""Schema rules: all promised columns there, none unknown, every value of the promised type."""

from __future__ import annotations

from ml_platform.contracts.model import Rule, RuleResult, SchemaCheck
from ml_platform.contracts.prepared import Prepared

_ASPECTS = {"missing": "promised columns that were not delivered", "extra": "columns dropped"}


def schema_result(delivery: Prepared, rule: Rule, what: SchemaCheck, number: int) -> RuleResult:
    """How one partition's columns kept a schema rule.

    Args:
        delivery: The delivery.
        rule: The rule.
        what: Its check.
        number: Number of the partition.
    """
    key, rows = delivery.partitions[number], int(delivery.sizes[number])
    if not rows:
        return RuleResult(
            rule.name, key, None, rule.on_breach, "UNKNOWN", limit=rule.requirement, reason="nothing to judge"
        )
    if what.aspect == "types":
        return _types_result(delivery, rule, number)
    names = delivery.missing if what.aspect == "missing" else delivery.extra
    return RuleResult(
        rule.name,
        key,
        None,
        rule.on_breach,
        "FAIL" if names else "PASS",
        ", ".join(names),
        rule.requirement,
        failed_rows=rows if names else 0,
        checked_rows=rows,
        reason=f"{_ASPECTS[what.aspect]}: {', '.join(names)}" if names else "",
    )


def _types_result(delivery: Prepared, rule: Rule, number: int) -> RuleResult:
    key, rows = delivery.partitions[number], delivery.positions[number]
    retyped = delivery.retyped_columns(number)
    broken = {c: int(mask[rows].sum()) for c, mask in delivery.unread.items() if mask[rows].any()}
    reasons = [f"{c} was retyped ({why})" for c, why in retyped.items()]
    reasons += [f"{c}: {n} values cannot be read" for c, n in broken.items() if c not in retyped]
    return RuleResult(
        rule.name,
        key,
        None,
        "hold" if retyped else rule.on_breach,
        "FAIL" if reasons else "PASS",
        ", ".join(broken),
        rule.requirement,
        failed_rows=int(delivery.unread_anywhere[rows].sum()),
        checked_rows=len(rows),
        reason="; ".join(reasons),
    )
