"""The contracts of a proposal's two feeds, in the Open Data Contract Standard."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ml_platform.scaffold.columns import ColumnProfile
from ml_platform.scaffold.proposal import Proposal
from ml_platform.scaffold.quoting import yaml_text
from ml_platform.scaffold.sql import outcomes, records

_FEW = 30


def contract_files(p: Proposal) -> dict[str, str]:
    """Text of each contract, by path below the use case's folder."""
    keys = [c.name for c in p.roles.entity]
    inputs = [c for c in p.inputs if c.name not in keys]
    rows = [*_keys(p), *_property(p.roles.time, required=True)]
    for column in inputs:
        rows += _property(column, rows=p.median_rows, required=column == p.roles.row_known_at)
    labels = [*_keys(p), *_property(p.roles.time, required=True), *_property(p.roles.label, required=True)]
    if p.roles.known_at is not None:
        labels += _property(p.roles.known_at, required=True)
    file = p.profile.path.name
    return {
        f"contracts/{records(p)}.yaml": _contract(
            p, records(p), f"Rows of {file}, each from when it was known.", rows, _counted(p)
        ),
        f"contracts/{outcomes(p)}.yaml": _contract(
            p, outcomes(p), f"Outcomes of {file}, each from when it was known.", labels, ""
        ),
    }


def _contract(p: Proposal, name: str, purpose: str, properties: list[str], quality: str) -> str:
    listed = "\n".join(properties)
    width = {"hourly": "1, unit: h", "daily": "1, unit: d", "weekly": "7, unit: d", "monthly": "31, unit: d"}
    return f"""# What this feed promises. Ranges and categories are those of the file, with room; they only warn, because
# a guess should lose no row. Once you know them, take the onBreach away: rows that break them go to quarantine.
apiVersion: v3.1.0
kind: DataContract
id: {yaml_text(name.replace("_", "-"))}
name: {name}
version: 1.0.0
status: active
team: {{name: {yaml_text(p.wishes.team)}, members: [{{username: {p.wishes.email}, role: owner}}]}}
description: {{purpose: {yaml_text(purpose)}}}
slaProperties:
  - {{property: latency, value: {width[p.scheme.width]}}}
schema:
  - name: {name}
    properties:
{listed}
{quality}"""


def _keys(p: Proposal) -> list[str]:
    lines: list[str] = []
    for position, column in enumerate(p.roles.entity, 1):
        lines += _property(column, position=position)
    return lines


def _property(
    column: ColumnProfile, *, required: bool = False, position: int = 0, rows: int = 1
) -> Iterator[str]:
    yield f"      - name: {column.name}"
    yield f"        logicalType: {column.kind}"
    if required or position:
        yield "        required: true"
    if position:
        yield f"        primaryKey: true\n        primaryKeyPosition: {position}"
    yield "        classification: internal"
    shown = f"Column '{column.source}' of the file."
    yield f"        description: {yaml_text(shown)}"
    if position or required:
        return
    guessed = False
    if column.kind in ("integer", "number") and column.low is not None and column.high is not None:
        low, high = _roomy(column.low, column.high, whole=column.kind == "integer")
        yield f"        logicalTypeOptions: {{minimum: {low}, maximum: {high}}}"
        guessed = True
    elif column.kind == "string" and 0 < len(column.values) <= _FEW:
        values = ", ".join(f"{{value: {yaml_text(v)}}}" for v in column.values)
        yield f"        enum: [{values}]"
        guessed = True
    if guessed:
        yield "        customProperties: [{property: onBreach, value: warn}]"
    yield from _nulls(column, rows)


def _nulls(column: ColumnProfile, rows: int) -> Iterator[str]:
    """A limit above what a usual partition of so many rows has by chance."""
    share = column.nulls / column.rows
    room = max(0.1, 4 * math.sqrt(share * (1 - share) / rows))
    limit = min(100, math.ceil(100 * (share + room)))
    yield "        quality:"
    yield (
        f"          - {{name: {column.name}_known, metric: nullValues, mustBeLessThan: {limit}, "
        "unit: percent,"
    )
    yield "             dimension: completeness, severity: warning,"
    yield "             customProperties: [{property: onBreach, value: warn}]}"


def _roomy(low: float, high: float, *, whole: bool) -> tuple[float | int, float | int]:
    """Ends with half the span to spare; what was never negative stays so."""
    room = (high - low) / 2
    least = 0 if low >= 0 > low - room else low - room
    most = high + room
    return (math.floor(least), math.ceil(most)) if whole else (float(f"{least:.4g}"), float(f"{most:.4g}"))


def _counted(p: Proposal) -> str:
    if p.scheme.width == "monthly":
        return ""
    return """    quality:
      - name: row_count_as_usual
        type: custom
        engine: ml_platform
        dimension: completeness
        severity: warning
        implementation: {rule: same_weekday_row_count, warn_deviation: 0.3, mad_multiplier: 5, hold_below: 0.1}
        customProperties: [{property: onBreach, value: warn}]
"""
