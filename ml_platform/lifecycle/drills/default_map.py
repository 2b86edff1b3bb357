"""Where incidents strike in a use case without ``drills.py``: what follows from settings, contracts and SQL.

Only what is certain is said. A key that does not follow is left out, with the reason: the incident that
asks for it is not played then, and what is not played is no pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from ml_platform.contracts.model import Column, Contract, RowCheck
from ml_platform.errors import PlatformError
from ml_platform.features.lineage import RowExpression, Source, ViewLineage, through
from ml_platform.features.relations import feed_of
from ml_platform.lifecycle.column_lineage import column_lineage, label_expression
from ml_platform.lifecycle.drills.label_rows import LabelRows
from ml_platform.lifecycle.drills.mapping import Columns, DrillMap, Entity, Segment
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.platform import Target
from ml_platform.model_config import FeatureConfig
from ml_platform.partitions import key_time
from ml_platform.serving.answers import in_full

FACTOR = 0.45359237
"""Pounds that become kilograms: it happens, and a guard that knows units can name it. As it makes values
smaller, they stay within the range of most contracts, so that the range does not give it away."""
WHOLE_FACTOR = 60.0
"""Minutes that become seconds. Whole numbers divided by a factor are rounded, and then nothing tells a unit
from values that are merely smaller; multiplied, they lie on a coarser lattice or leave their range."""
FEWEST_NUMBERS = 10
"""An integer column whose contract allows a shorter range is a flag, a grade or a code, and has no unit."""
_NOBODY_SAYS = "nothing in settings, contracts or SQL says which feature matters little"


def default_map(target: Target) -> DrillMap:
    """Where the generic incidents strike, of what is known without a line of Python.

    A use case whose SQL or contracts cannot be read gets a map that names nothing, with the reason: drills
    that need none are still played.
    """
    try:
        known = _Known(target, column_lineage(target.use_case))
        problem = next((v.problem for v in known.lineage.values() if v.problem), None)
    except PlatformError as error:
        known, problem = None, error.what
    absent = {"benign": _NOBODY_SAYS}
    if known is None or problem is not None:
        return DrillMap(absent=absent | dict.fromkeys(_KEYS, f"no lineage of columns is known: {problem}"))
    keys = {key: getattr(known, key)() for key in _KEYS}
    absent |= {key: value.why for key, value in keys.items() if isinstance(value, _Absent)}
    given = {key: value for key, value in keys.items() if not isinstance(value, _Absent)}
    return DrillMap(**given, absent=absent, unsuited=known.unsuited(), first=known.first())


_KEYS = ("nulls", "unit", "outcome", "positive", "flip", "entity", "amount", "segment")


@dataclass(frozen=True)
class _Absent:
    """Why a key is not known."""

    why: str


@dataclass(frozen=True)
class _Raw:
    """A raw column that a feature comes from, and from no other."""

    feature: FeatureConfig
    feed: str
    column: Column


@dataclass(frozen=True)
class _Known:
    """What settings, contracts and lineage say of a model."""

    target: Target
    lineage: Mapping[str, ViewLineage]
    _contracts: dict[str, Contract] = field(default_factory=dict)

    def contract(self, feed: str) -> Contract:
        """A feed's contract."""
        if feed not in self._contracts:
            self._contracts[feed] = contract_of(self.target.use_case, feed)
        return self._contracts[feed]

    def nulls(self) -> Columns | _Absent:
        """A feature's only raw column; a number before a text, one that may be missing before another."""

        def preference(raw: _Raw) -> tuple[bool, bool]:
            return raw.column.logical_type not in ("number", "integer"), raw.column.required

        found = min(self._raws, key=preference, default=None)
        if found is None:
            return _Absent("no feature of the model comes from exactly one column of a feed, outside its key")
        return Columns(feed=found.feed, columns=(found.column.name,))

    def unit(self) -> Columns | _Absent:
        """A feature's only raw column, of numbers that have a unit; one with decimals before a whole one."""
        measured = [r for r in self._raws if not r.feature.runs_with_time and self._has_unit(r)]
        found = min(measured, key=lambda r: r.column.logical_type != "number", default=None)
        if found is None:
            return _Absent(
                "no numeric feature of the model comes from exactly one column of a feed that looks like a "
                "measure: a number, or whole ones over a wider range than a grade's"
            )
        factor = FACTOR if found.column.logical_type == "number" else WHOLE_FACTOR
        return Columns(feed=found.feed, columns=(found.column.name,), factor=factor)

    def outcome(self) -> str | _Absent:
        """The one feed that the label comes from."""
        label = self.target.model.label.column
        feeds = sorted({s.relation for s in self._label})
        if len(feeds) == 1 and (name := self._moving(feeds[0])) is not None:
            return name
        told = ", ".join(feed_of(f) or f for f in feeds) or "no feed"
        return _Absent(f"the label '{label}' does not come from one feed with event time, but from {told}")

    def positive(self) -> Any:
        """Evaluates the label's SQL on raw rows."""
        rows = self._rows
        return rows if isinstance(rows, _Absent) else rows.positive

    def flip(self) -> Any:
        """Writes another value of the one raw column that the label follows from."""
        rows = self._rows
        if isinstance(rows, _Absent):
            return rows
        label, columns = self.target.model.label.column, rows.expression.columns
        if len(columns) > 1:
            return _Absent(
                f"the label '{label}' follows from several raw columns ({', '.join(columns)}), and nothing "
                "says how they change together"
            )
        if columns[0] in rows.expression.choosing or columns[0] in rows.contract.key:
            return _Absent(f"the raw column '{columns[0]}' also decides which rows have a label")
        return rows.flip

    def entity(self) -> Entity | _Absent:
        """Feeds that hold a row of the case by one key, of which a column is an integer."""
        outcome = self.outcome()
        if isinstance(outcome, _Absent):
            return outcome
        key = self.contract(outcome).key
        inputs = {s for f in self.target.model.features for s in self._sources(f.name)}
        feeds, numbers = [], set(key)
        for feed in self.target.use_case.config.feeds:
            contract = self.contract(feed.name)
            if feed.static or contract.key != key:
                continue
            feeds.append(feed.name)
            used = {s.column for s in inputs if feed_of(s.relation) == feed.name}
            numbers &= {c for c in key if contract.column(c).logical_type == "integer" and c not in used}
        if not numbers:
            listed = ", ".join(key) or "none"
            return _Absent(
                f"the key of {outcome} ({listed}) has no integer column that no feature reads, from which a "
                "case that comes twice could get a number of its own"
            )
        looks_back = self.target.use_case.config.views.history_partitions != 0
        number = next(c for c in key if c in numbers)
        return Entity(feeds=tuple(feeds), key=tuple(key), number=number, recurring=looks_back)

    def amount(self) -> Columns | _Absent:
        """The raw column that a regression's label is, but for its type."""
        made = self._expression
        label = self.target.model.label.column
        feed = None if made is None else self._moving(made.relation)
        if made is None or feed is None or not made.plain:
            return _Absent(f"the label '{label}' is not simply one raw column of a feed")
        (name,) = made.columns
        if self.contract(feed).column(name).logical_type not in ("number", "integer"):
            return _Absent(f"the label's raw column '{name}' is not numeric in the contract of {feed}")
        return Columns(feed=feed, columns=(name,))

    def segment(self) -> Segment | _Absent:
        """The first segment that is watched whose categories the contract of its feed names, one of them."""
        outcome, model = self.outcome(), self.target.model
        if isinstance(outcome, _Absent):
            return outcome
        watched = list(model.diagnosis.segments) or [s.column for s in model.gates.slices if not s.bands]
        for name in watched:
            sources = self._sources(name)
            feed = self._moving(sources[0].relation) if len(sources) == 1 else None
            if feed is None or sources[0].column != name or not self.contract(feed).column(name).enum:
                continue
            # `use-case new` names the commonest first.
            value = str(self.contract(feed).column(name).enum[0])
            key = self.contract(outcome).key
            same = key and self.contract(feed).key == key
            if feed == outcome or (same and name in key):
                return Segment(column=name, values=(value,))
            if same:
                return Segment(column=name, values=(value,), feed=feed, key=tuple(key))
        told = ", ".join(watched) or "none"
        return _Absent(
            f"no segment that is watched ({told}) is a raw column whose contract names its categories, in "
            f"{outcome} or in a feed with the same key"
        )

    def unsuited(self) -> dict[str, str]:
        """Incidents that the feeds' settings rule out."""
        outcome = self.outcome()
        if isinstance(outcome, _Absent):
            return {}
        feed = self.target.use_case.feed(outcome)
        rule = feed.known_at
        if not feed.declared or (rule is not None and rule.delay is None):
            return {}
        how = (
            "the event itself"
            if rule is None
            else f"a fixed delay of {in_full(rule.delay or timedelta())} after the event"
        )
        why = (
            f"known_at of {outcome} is {how}, so that no outcome is ever told late; a column could date them"
        )
        return {"late_labels": why}

    def first(self) -> Any:
        """The first partition served: late enough for the windows, early enough to see what follows.

        Drills are played up to the deadline of what is seen last. Where the data end before, training begins
        with fewer partitions, at least with ``minimum_train``.
        """
        model, scheme = self.target.model, self.target.use_case.scheme
        windows, matures = model.windows, model.label.maturity_partitions
        before = windows.embargo + windows.gate + matures + 1
        # One window before the onset, one after it, until labels are mature and the deadline is over.
        after = 2 * model.diagnosis.concept_partitions + matures + model.retraining.deadline_partitions
        last = scheme.last_key or scheme.key_at(datetime.now(UTC))
        latest = scheme.distance(scheme.first_key, last) - after
        train = max(min(windows.train, latest - before), min(windows.minimum_train, windows.train))
        key = scheme.shift(scheme.first_key, before + train)
        day = key_time(key).date()
        return day if scheme.key_of_day(day) >= key else day + timedelta(days=1)

    @cached_property
    def _raws(self) -> list[_Raw]:
        return list(self._raw_columns())

    def _raw_columns(self) -> Iterator[_Raw]:
        """Raw columns that a feature comes from directly, and that say nothing of key, time or outcome."""
        use_case = self.target.use_case
        for feature in self.target.model.features:
            sources = self._sources(feature.name)
            feed = self._moving(sources[0].relation) if len(sources) == 1 else None
            if feed is None or sources[0] in self._label:
                continue
            config, contract = use_case.feed(feed), self.contract(feed)
            times = {config.event_time, *config.timestamps}
            if config.known_at is not None:
                times.add(config.known_at.column or "")
            name = sources[0].column
            if name not in contract.column_names or name in times or name in contract.key:
                continue
            if contract.column(name).logical_type in ("number", "integer", "string"):
                yield _Raw(feature, feed, contract.column(name))

    def _has_unit(self, raw: _Raw) -> bool:
        column = raw.column
        if raw.feature.kind != "numeric" or column.enum or column.logical_type == "string":
            return False
        return column.logical_type == "number" or self._range(raw) >= FEWEST_NUMBERS

    def _range(self, raw: _Raw) -> float:
        """The width of the range that the contract allows; infinite where it names none."""
        rules = [r for r in self.contract(raw.feed).rules if r.column == raw.column.name]
        named = [e.kwargs for r in rules if isinstance(r.check, RowCheck) for e in r.check.expectations]
        widths = [k["max_value"] - k["min_value"] for k in named if {"min_value", "max_value"} <= k.keys()]
        return float(min(widths, default=float("inf")))

    def _sources(self, feature: str) -> tuple[Source, ...]:
        return through(self.lineage, self.target.use_case.config.views.features).columns.get(feature, ())

    @cached_property
    def _label(self) -> tuple[Source, ...]:
        views, column = self.target.use_case.config.views, self.target.model.label.column
        return through(self.lineage, views.labels).columns.get(column, ())

    def _moving(self, relation: str) -> str | None:
        """The feed behind a relation, if it has event time."""
        name = feed_of(relation)
        return name if name is not None and not self.target.use_case.feed(name).static else None

    @cached_property
    def _expression(self) -> RowExpression | None:
        return label_expression(self.target.use_case, self.target.model.label.column)

    @cached_property
    def _rows(self) -> LabelRows | _Absent:
        made, label = self._expression, self.target.model.label
        if self.target.model.kind == "regression":
            return _Absent(
                f"the label '{label.column}' is a number, and nothing says which ones are positive"
            )
        feed = None if made is None else self._moving(made.relation)
        if made is None or feed is None or not set(made.columns) <= set(self.contract(feed).column_names):
            return _Absent(
                f"the label '{label.column}' does not follow from one raw row of one feed, so that no raw "
                "row is an outcome"
            )
        usual = label.classes[0] if self.target.model.kind == "multiclass" else None
        return LabelRows(made, self.contract(feed), usual)
