"""Reading a contract: an Open Data Contract Standard v3 file in the platform's dialect.

The dialect is described in ``data_contracts/README.md``. Whatever a contract says and the platform would
not do is an error, because a rule that is silently left out looks like a rule that is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from open_data_contract_standard.model import (
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
    ServiceLevelAgreementProperty,
    Team,
)
from pydantic import ValidationError

from ml_platform.config_errors import described, nearest, told
from ml_platform.contracts.dialect import LOGICAL_TYPES, TYPE_OPTIONS
from ml_platform.contracts.implied import column_rules, key_rule, schema_rules
from ml_platform.contracts.model import RESERVED, Column, Contract, LogicalType, Rule, ServiceLevel
from ml_platform.contracts.quality import RuleCompiler, as_regex, custom_properties
from ml_platform.contracts.source import ContractSource, Location, Problem
from ml_platform.contracts.values import duration, typed_value
from ml_platform.errors import ContractError

_COLUMN_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
_FIX = "correct the places named above; data_contracts/README.md describes the format"
_TABLE: Location = ("schema", 0)


def contract_path(folder: Path, feed: str) -> Path:
    """The contract of a feed: ``<feed>.yaml`` or ``<feed>.odcs.yaml``.

    Raises:
        ContractError: There is none, or both.
    """
    found = [p for p in (folder / f"{feed}.yaml", folder / f"{feed}.odcs.yaml") if p.exists()]
    if len(found) == 1:
        return found[0]
    raise ContractError(
        f"feed {feed} has {'two contracts' if found else 'no contract'}",
        where=str(folder),
        fix=f"keep one file {feed}.yaml there",
    )


def load_contract(path: Path) -> Contract:
    """Read, check and compile a contract.

    Raises:
        ContractError: The file is missing, malformed, has unknown keys, or asks for something that the
            platform does not do; names each place with its line.
    """
    source = ContractSource(path)
    document = _document(source)
    table = _table(source, document)
    properties = table.properties or []
    columns = _columns(source, properties)
    _check_key(source, properties)
    source.raise_problems(_FIX)
    rules = _rules(source, table, columns)
    latency, freshness = _promises(source, document.slaProperties or ())
    owner = _owner(source, document)
    source.raise_problems(_FIX)
    return Contract(
        name=str(table.name),
        version=str(document.version),
        digest=_digest(document),
        owner=owner,
        description=_description(document, table),
        status=document.status or "",
        columns=columns,
        rules=rules,
        service_levels=tuple(_service_level(s) for s in document.slaProperties or ()),
        latency=latency,
        freshness=freshness,
    )


def _document(source: ContractSource) -> OpenDataContractStandard:
    try:
        document = OpenDataContractStandard.model_validate(source.data)
    except ValidationError as error:
        for place, what in told(error, OpenDataContractStandard, source.data):
            source.problem(place, what)
        source.raise_problems(_FIX)
        raise
    understood = document.model_dump(by_alias=True, exclude_unset=True)
    source.report_unknown_keys(source.data, understood, OpenDataContractStandard)
    if document.kind != "DataContract":
        source.problem(("kind",), "must be DataContract")
    if not (document.apiVersion or "").startswith("v3."):
        source.problem(("apiVersion",), "must be v3, for example v3.1.0")
    for key in ("id", "version"):
        if not getattr(document, key):
            source.problem((key,), "is required")
    return document


def _table(source: ContractSource, document: OpenDataContractStandard) -> SchemaObject:
    tables = document.schema_ or []
    feed = source.path.name.split(".")[0]
    if len(tables) != 1:
        source.problem(("schema",), "must hold exactly one object, the feed's table")
        source.raise_problems(_FIX)
    table: SchemaObject = tables[0]
    if table.name != feed:
        source.problem((*_TABLE, "name"), f"'{table.name}' must be the file's name, '{feed}'")
    return table


def _columns(source: ContractSource, properties: Sequence[SchemaProperty]) -> tuple[Column, ...]:
    columns = []
    for i, item in enumerate(properties):
        at = (*_TABLE, "properties", i)
        try:
            columns.append(_column(item))
        except Problem as problem:
            source.problem((*at, *problem.place), problem.what)
    for name, times in Counter(p.name for p in properties).items():
        if times > 1:
            source.problem((*_TABLE, "properties"), f"{times} properties are named '{name}'")
    return tuple(columns)


def _column(item: SchemaProperty) -> Column:
    if not item.name or not _COLUMN_NAME.match(item.name):
        raise Problem("a name has lower-case letters, digits and underscores only", "name")
    if item.name in RESERVED:
        raise Problem(f"'{item.name}' is a column of the platform's own; leave it out", "name")
    if item.logicalType not in LOGICAL_TYPES:
        guess = nearest(item.logicalType, list(LOGICAL_TYPES))
        what = f"is none of {', '.join(LOGICAL_TYPES)}; found {described(item.logicalType)}{guess}"
        raise Problem(what, "logicalType")
    kind = cast(LogicalType, item.logicalType)
    keyed = bool(item.primaryKey)
    position = item.primaryKeyPosition if (item.primaryKeyPosition or -1) > 0 else 1
    return Column(
        name=item.name,
        logical_type=kind,
        required=bool(item.required) or keyed,
        unique=bool(item.unique),
        key_position=position if keyed else None,
        classification=item.classification or "",
        description=item.description or "",
        enum=tuple(_typed(kind, e.value, "enum", i, "value") for i, e in enumerate(item.enum or ())),
    )


def _check_key(source: ContractSource, properties: Sequence[SchemaProperty]) -> None:
    keyed = [(i, p) for i, p in enumerate(properties) if p.primaryKey]
    if not keyed:
        source.problem((*_TABLE, "properties"), "no property has primaryKey: true")
    positions = [p.primaryKeyPosition for _, p in keyed]
    if len(keyed) > 1 and sorted(p or 0 for p in positions) != list(range(1, len(keyed) + 1)):
        for i, _ in keyed:
            at = (*_TABLE, "properties", i, "primaryKeyPosition")
            source.problem(at, f"key columns need the positions 1 to {len(keyed)}, each once")


def _rules(source: ContractSource, table: SchemaObject, columns: Sequence[Column]) -> tuple[Rule, ...]:
    by_name = {c.name: c for c in columns}
    key = [c.name for c in sorted(columns, key=lambda c: c.key_position or 0) if c.key_position]
    compiler = RuleCompiler(source, by_name)
    rules = [*schema_rules(), key_rule(key)]
    declared: list[Rule] = []
    for i, item in enumerate(table.properties or ()):
        at = (*_TABLE, "properties", i)
        try:
            rules += _implied(by_name[str(item.name)], item)
        except Problem as problem:
            source.problem((*at, *problem.place), problem.what)
        declared += compiler.compile(item.quality or (), (*at, "quality"), str(item.name))
    declared += compiler.compile(table.quality or (), (*_TABLE, "quality"), None)
    for name, times in Counter(r.name for r in [*rules, *declared]).items():
        if times > 1:
            source.problem(_TABLE, f"{times} rules are named '{name}'")
    return (*rules, *declared)


def _implied(column: Column, item: SchemaProperty) -> Iterator[Rule]:
    custom = custom_properties(item.customProperties, ("onBreach", "tolerance"))
    yield from column_rules(column, _options(column.logical_type, item.logicalTypeOptions or {}), custom)


def _options(kind: LogicalType, written: dict[str, Any]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for key, value in written.items():
        place = ("logicalTypeOptions", key)
        if key not in TYPE_OPTIONS[kind]:
            known = ", ".join(TYPE_OPTIONS[kind]) or "none"
            raise Problem(f"is not enforced for {kind} (known: {known})", *place)
        if key in ("minLength", "maxLength"):
            typed[key] = _typed("integer", value, *place)
        elif key == "pattern":
            typed[key] = as_regex(value, *place)
        elif key in ("timezone", "defaultTimezone"):
            if value not in (True, "UTC", "Etc/UTC"):
                raise Problem("instants are kept in UTC; write timezone: true, defaultTimezone: UTC", *place)
        else:
            typed[key] = _typed(kind, value, *place)
    return typed


def _typed(kind: LogicalType, value: Any, *place: str | int) -> Any:
    try:
        return typed_value(kind, value)
    except ValueError as error:
        raise Problem(str(error), *place) from None


def _promises(
    source: ContractSource, written: Sequence[ServiceLevelAgreementProperty]
) -> tuple[timedelta, timedelta | None]:
    """Latency and freshness; other service levels are for people."""
    found: dict[str, timedelta] = {}
    for i, item in enumerate(written):
        at = ("slaProperties", i)
        if not item.property or item.value is None:
            source.problem(at, "needs property and value")
        elif item.property in ("latency", "freshness"):
            try:
                found[item.property] = duration(item.value, item.unit)
            except ValueError as error:
                source.problem(at, str(error))
    return found.get("latency", timedelta(0)), found.get("freshness")


def _service_level(item: ServiceLevelAgreementProperty) -> ServiceLevel:
    return ServiceLevel(str(item.property), str(item.value), item.unit or "", item.description or "")


def _owner(source: ContractSource, document: OpenDataContractStandard) -> str:
    team = document.team
    if isinstance(team, Team) and team.name:
        return str(team.name)
    if isinstance(team, list) and team and team[0].username:
        return str(team[0].username)
    source.problem(("team",), "needs the owner: 'team' with a 'name'")
    return ""


def _description(document: OpenDataContractStandard, table: SchemaObject) -> str:
    purpose = document.description.purpose if document.description else None
    limits = document.description.limitations if document.description else None
    return "\n\n".join(str(t).strip() for t in (purpose or table.description, limits) if t)


def _digest(document: OpenDataContractStandard) -> str:
    content = document.model_dump(by_alias=True, exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
