"""From a contract's ``quality`` entries to rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from open_data_contract_standard.model import CustomProperty, DataQuality

from ml_platform.contracts.checks import columns_of, matches, not_null, one_of, requirement, scoped, unique
from ml_platform.contracts.dialect import (
    DIMENSIONS,
    ENGINES,
    EXPECTATIONS,
    METRICS,
    ON_BREACH,
    OPERATORS,
    Shape,
)
from ml_platform.contracts.model import (
    NO_ROWS,
    Check,
    Column,
    Expectation,
    Limit,
    OnBreach,
    Operator,
    RowCheck,
    RowCountCheck,
    Rule,
    SameWeekdayCheck,
    SegmentNullRateCheck,
    TableCheck,
    Unit,
)
from ml_platform.contracts.source import ContractSource, Location, Problem, require_order
from ml_platform.contracts.values import typed_value

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class RuleCompiler:
    """Compiles quality entries; problems go to the source and the entry is left out.

    Attributes:
        source: The contract's file.
        columns: All columns by name.
    """

    source: ContractSource
    columns: Mapping[str, Column]

    def compile(self, entries: Sequence[DataQuality], at: Location, column: str | None) -> Iterator[Rule]:
        """The rules of a ``quality`` list at ``at``, of a property or (column None) of the schema."""
        for i, entry in enumerate(entries):
            if entry.type == "text":
                continue
            try:
                yield self._rule(entry, column)
            except Problem as problem:
                self.source.problem((*at, i, *problem.place), problem.what)

    def _rule(self, entry: DataQuality, column: str | None) -> Rule:
        name = _required(entry.name, "name")
        if not _NAME.match(name):
            raise Problem("a name has letters, digits and underscores only", "name")
        if _required(entry.dimension, "dimension") not in DIMENSIONS:
            raise Problem(f"is none of {', '.join(DIMENSIONS)}", "dimension")
        custom = custom_properties(entry.customProperties, ("onBreach", "tolerance"))
        on_breach = breach(custom, required=True)
        check = self._check(entry, column)
        check = tolerant(check, custom, on_breach)
        if on_breach == "quarantine" and not isinstance(check, RowCheck):
            raise Problem("a rule about the whole table can hold or warn, not quarantine", "customProperties")
        return Rule(
            name=name,
            column=column,
            check=check,
            on_breach=on_breach,
            requirement=requirement(check),
            dimension=entry.dimension or "",
            severity=_required(entry.severity, "severity"),
            description=entry.description or "",
            columns=columns_of(check),
        )

    def _check(self, entry: DataQuality, column: str | None) -> Check:
        if entry.type == "custom":
            if entry.engine not in ENGINES:
                raise Problem(f"is none of {', '.join(ENGINES)}", "engine")
            if not isinstance(entry.implementation, dict):
                raise Problem("must be a mapping", "implementation")
            if entry.engine == "greatExpectations":
                return self._expectation_check(entry.implementation, column)
            return self._platform_check(entry.implementation, column)
        if entry.type not in (None, "library"):
            raise Problem("use library, custom or text", "type")
        return self._metric_check(entry, column)

    def _metric_check(self, entry: DataQuality, column: str | None) -> Check:
        metric, arguments = entry.metric, entry.arguments or {}
        if metric not in METRICS:
            raise Problem(f"is none of {', '.join(METRICS)}", "metric")
        limit = _limit(entry)
        if metric == "rowCount":
            _only(arguments, ())
            if column is not None or limit.unit == "percent":
                raise Problem("rowCount counts the rows of the schema, not of a property", "metric")
            return RowCountCheck(limit)
        if metric == "duplicateValues":
            return RowCheck((self._unique(arguments, column),), limit)
        if column is None:
            raise Problem(f"{metric} belongs to a property", "metric")
        build = {"nullValues": self._null, "missingValues": self._missing, "invalidValues": self._invalid}
        return RowCheck(build[metric](column, arguments), limit)

    def _null(self, column: str, arguments: Mapping[str, Any]) -> tuple[Expectation, ...]:
        _only(arguments, ())
        return (not_null(column),)

    def _unique(self, arguments: Mapping[str, Any], column: str | None) -> Expectation:
        _only(arguments, ("properties",) if column is None else ())
        names = [column] if column is not None else arguments.get("properties")
        if not isinstance(names, list) or not names:
            raise Problem("name the columns in 'properties'", "arguments")
        for name in names:
            self._known(name, "arguments", "properties")
        return unique(names)

    def _missing(self, column: str, arguments: Mapping[str, Any]) -> tuple[Expectation, ...]:
        _only(arguments, ("missingValues",))
        written = arguments.get("missingValues", [None])
        values = [v for v in _list(written, "arguments", "missingValues") if v is not None]
        values = self._typed(column, values, "arguments", "missingValues")
        found = [
            Expectation("expect_column_values_to_not_be_in_set", {"column": column, "value_set": values})
        ]
        return tuple(([not_null(column)] if None in written else []) + (found if values else []))

    def _invalid(self, column: str, arguments: Mapping[str, Any]) -> tuple[Expectation, ...]:
        _only(arguments, ("validValues", "pattern"))
        found = []
        if "validValues" in arguments:
            written = _list(arguments["validValues"], "arguments", "validValues")
            found.append(one_of(column, self._typed(column, written, "arguments", "validValues")))
        if "pattern" in arguments:
            found.append(matches(column, as_regex(arguments["pattern"], "arguments", "pattern")))
        if not found:
            raise Problem("give validValues or pattern", "arguments")
        return tuple(found)

    def _expectation_check(self, written: Mapping[str, Any], column: str | None) -> Check:
        _only(written, ("expectation", "kwargs"), "implementation")
        name, shape = written.get("expectation"), EXPECTATIONS.get(str(written.get("expectation")))
        if shape is None:
            known = ", ".join(EXPECTATIONS)
            raise Problem(f"'{name}' is none of: {known}", "implementation", "expectation")
        kwargs = written.get("kwargs") or {}
        if not isinstance(kwargs, dict):
            raise Problem("must be a mapping", "implementation", "kwargs")
        expectation = self._expectation(str(name), shape, kwargs, column)
        return RowCheck((expectation,)) if shape.by_row else TableCheck(expectation)

    def _expectation(
        self, name: str, shape: Shape, written: Mapping[str, Any], column: str | None
    ) -> Expectation:
        at = ("implementation", "kwargs")
        kwargs = {"column": column, **written} if column and "column" in shape.columns else dict(written)
        _only(kwargs, tuple(shape.arguments), *at)
        lacking = [n for n in (*shape.columns, *shape.required) if n not in kwargs]
        if lacking:
            raise Problem(f"{name} needs {', '.join(lacking)}", *at)
        if "min_value" in shape.arguments and not {"min_value", "max_value"} & set(kwargs):
            raise Problem(f"{name} needs min_value or max_value", *at)
        for argument in shape.columns:
            for one in (
                _list(kwargs[argument], *at, argument) if argument == "column_list" else [kwargs[argument]]
            ):
                self._known(one, *at, argument)
        for argument in shape.values:
            if argument in kwargs:
                kwargs[argument] = self._argument(kwargs["column"], kwargs[argument], *at, argument)
        require_order(kwargs, *at, "max_value")
        if "regex" in kwargs:
            as_regex(kwargs["regex"], *at, "regex")
        return scoped(name, kwargs)

    def _argument(self, column: str, value: Any, *place: str) -> Any:
        if isinstance(value, list):
            return self._typed(column, value, *place)
        return self._typed(column, [value], *place)[0]

    def _platform_check(self, written: Mapping[str, Any], column: str | None) -> Check:
        at = "implementation"
        options = {k: v for k, v in written.items() if k != "rule"}
        kinds: dict[str, type[SameWeekdayCheck] | type[SegmentNullRateCheck]] = {
            "same_weekday_row_count": SameWeekdayCheck,
            "segment_null_rate": SegmentNullRateCheck,
        }
        kind = kinds.get(str(written.get("rule")))
        if kind is None:
            raise Problem(f"is none of {', '.join(kinds)}", at, "rule")
        if kind is SegmentNullRateCheck:
            options.setdefault("column", column)
            for name in ("column", "by"):
                self._known(options.get(name), at, name)
        _only(options, tuple(f.name for f in fields(kind)), at)
        for name, value in options.items():
            if name not in ("column", "by") and (not _is_number(value) or value < 0):
                raise Problem("must be a number of at least 0", at, name)
        return kind(**options)

    def _known(self, name: Any, *place: str) -> None:
        if name not in self.columns:
            raise Problem(f"there is no column '{name}'", *place)

    def _typed(self, column: str, values: Sequence[Any], *place: str) -> list[Any]:
        try:
            return [typed_value(self.columns[column].logical_type, v) for v in values]
        except ValueError as error:
            raise Problem(str(error), *place) from None


def custom_properties(written: Sequence[CustomProperty] | None, allowed: Sequence[str]) -> dict[str, Any]:
    """Custom properties by name; unknown ones are problems, for a typing error would switch a rule off."""
    found: dict[str, Any] = {}
    for i, item in enumerate(written or ()):
        if item.property not in allowed:
            raise Problem(f"is none of {', '.join(allowed)}", "customProperties", i, "property")
        found[str(item.property)] = item.value
    return found


def breach(custom: Mapping[str, Any], *, required: bool) -> OnBreach:
    """What ``onBreach`` says; quarantine where it may be left out."""
    value = custom.get("onBreach", None if required else "quarantine")
    if value not in ON_BREACH:
        raise Problem(f"needs onBreach, one of {', '.join(ON_BREACH)}", "customProperties")
    return cast(OnBreach, value)


def tolerant(check: Check, custom: Mapping[str, Any], on_breach: OnBreach) -> Any:
    """The check with the share of rows that ``tolerance`` lets pass."""
    if "tolerance" not in custom:
        return check
    share = custom["tolerance"]
    if not _is_number(share) or not 0 <= share <= 1:
        raise Problem("tolerance is a share from 0 to 1", "customProperties")
    if not isinstance(check, RowCheck) or check.limit is not NO_ROWS or on_breach == "quarantine":
        raise Problem(
            "tolerance is for rules about rows that hold or warn and have no limit", "customProperties"
        )
    return RowCheck(check.expectations, Limit("mustBeLessOrEqualTo", 100 * share, 100 * share, "percent"))


def _limit(entry: DataQuality) -> Limit:
    given = [(o, getattr(entry, o)) for o in OPERATORS if getattr(entry, o) is not None]
    if len(given) != 1:
        raise Problem("needs exactly one limit, for example 'mustBe: 0'", "metric")
    if entry.unit not in (None, "rows", "percent"):
        raise Problem("is neither rows nor percent", "unit")
    operator, value = given[0]
    ends = value if isinstance(value, list) else [value, value]
    if not all(_is_number(v) for v in ends) or ends[0] > ends[1]:
        raise Problem("needs a number, or two with the smaller one first", operator)
    if operator == "mustBe" and not any(ends) and entry.unit != "percent":
        return NO_ROWS
    return Limit(cast(Operator, operator), ends[0], ends[1], cast(Unit, entry.unit or "rows"))


def _only(written: Mapping[str, Any], allowed: Sequence[str], *place: str) -> None:
    unknown = [k for k in written if k not in allowed]
    if unknown:
        known = ", ".join(allowed) or "none"
        raise Problem(f"unknown key (known: {known})", *(place or ("arguments",)), unknown[0])


def _list(value: Any, *place: str) -> list[Any]:
    if not isinstance(value, list):
        raise Problem("must be a list", *place)
    return value


def as_regex(value: Any, *place: str | int) -> str:
    """The pattern, if it compiles."""
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        raise Problem(f"is no regular expression: {error}", *place) from None
    return str(value)


def _required(value: str | None, place: str) -> str:
    if not value:
        raise Problem(f"every quality entry needs a {place}", place)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
