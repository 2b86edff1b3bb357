"""The dbt project of a proposal: entities, features and labels as SQL, point in time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml_platform.scaffold.columns import ColumnProfile
from ml_platform.scaffold.label import Label
from ml_platform.scaffold.proposal import Proposal
from ml_platform.scaffold.quoting import yaml_text

WEIGHT = 20
"""Rows by which a rate of the past is drawn towards its prior."""


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def records(p: Proposal) -> str:
    """Name of the feed of rows."""
    return f"{p.wishes.name}_records"


def outcomes(p: Proposal) -> str:
    """Name of the feed of labels."""
    return f"{p.wishes.name}_outcomes"


def dbt_files(p: Proposal) -> dict[str, str]:
    """Text of each file of the dbt project, by path below the use case's folder."""
    name = p.wishes.name
    return {
        "dbt/dbt_project.yml": _PROJECT.format(name=name),
        "dbt/profiles.yml": _PROFILES.format(name=name),
        f"dbt/models/{name}_entities.sql": _entities(p),
        f"dbt/models/{name}_features.sql": _features(p),
        f"dbt/models/{name}_labels.sql": _labels(p),
        "dbt/models/models.yml": _models(p),
    }


def calendar(p: Proposal) -> list[tuple[str, str, str]]:
    """Features of the event's time: name, SQL and description; those that do not vary are left out."""
    local = "e.event_time"
    if p.wishes.timezone not in ("UTC", "Etc/UTC"):
        local = f"(e.event_time at time zone {literal(p.wishes.timezone)})"
    taken = {f.name for f in p.used}
    found = []
    if p.weekdays and p.scheme.width != "monthly":
        sql = f"cast(extract(isodow from {local}) as double)"
        found.append(("event_weekday", sql, "Day of the week of the event, Monday 1 to Sunday 7."))
    if p.times_of_day:
        sql = f"cast(extract(hour from {local}) as double)"
        found.append(("event_hour", sql, f"Hour of the event on the clocks of {p.wishes.timezone}."))
    return [f for f in found if f[0] not in taken]


def past(p: Proposal) -> list[tuple[ColumnProfile, str, str]]:
    """Features of an entity's past: its column, the name of the rate, and of the count."""
    return [(c, f"{c.name}_past_{_rate_word(p.label)}", f"{c.name}_past_outcomes") for c in p.past]


def _rate_word(label: Label) -> str:
    return "mean" if label.kind == "regression" else "rate"


def label_sql(label: Label, column: str) -> str:
    """The label as models read it: 0 and 1, a number, or the class's name."""
    if label.kind == "regression":
        return f"cast({column} as double)"
    if label.kind == "multiclass":
        cases = " ".join(f"when {_value(label, v)} then {literal(c)}" for v, c in label.classes.items())
        return f"case {column} {cases} end"
    return f"cast({column} = {_value(label, label.positive)} as integer)"


def _counted(label: Label, column: str) -> str:
    """The label as a whole number or decimal: sums of them do not depend on the order of rows."""
    if label.kind == "regression":
        return f"cast({column} as decimal(24, 6))"
    if label.kind == "multiclass":
        usual = next(iter(label.classes))
        return f"cast({column} <> {_value(label, usual)} as integer)"
    return label_sql(label, column)


def _value(label: Label, text: str) -> str:
    return literal(text) if label.column.kind == "string" else text


def _prior(p: Proposal) -> float:
    """The rate over the file's first half: what was known before the partitions that train."""
    known = p.label.values[~np.isnan(p.label.values)]
    early = known[: max(1, len(known) // 2)]
    value = float(np.mean(early > 0) if p.label.kind == "multiclass" else np.mean(early))
    return float(f"{value:.3g}")


def _entities(p: Proposal) -> str:
    keys = [c.name for c in p.roles.entity]
    columns = [*keys, *(f.column.name for f in p.used if f.column.name not in keys)]
    listed = ",\n    ".join(f"r.{quoted(c)}" for c in columns)
    told, left_out = "", ""
    if p.at_cutoff.labels:
        told = "\n-- Those whose outcome is known by then, too, are left out: nothing is left to predict."
        same = "\n    and ".join(f"k.{quoted(c)} = r.{quoted(c)}" for c in keys)
        left_out = f"""left join {{{{ source('lake', 'feed_{outcomes(p)}') }}}} as k
    on k.partition_key = c.partition_key
    and {same}
    and k.visible_from <= c.cutoff and c.cutoff < k.visible_to
where k.partition_key is null
"""
    return f"""-- One row for each row of {records(p)} that could be seen at its partition's cutoff.{told}
select
    c.partition_key,
    r.{quoted(p.roles.time.name)} as event_time,
    c.cutoff,
    {listed}
from {{{{ source('lake', 'cutoffs') }}}} as c
join {{{{ source('lake', 'feed_{records(p)}') }}}} as r
    on r.partition_key = c.partition_key
    and r.visible_from <= c.cutoff and c.cutoff < r.visible_to
{left_out}"""


def _features(p: Proposal) -> str:
    name = p.wishes.name
    keys = [c.name for c in p.roles.entity]
    lines = ["e.partition_key", *(f"e.{quoted(k)}" for k in keys), "e.event_time", "e.cutoff"]
    for guess in p.used:
        source = f"e.{quoted(guess.column.name)}"
        if guess.use == "elapsed":
            lines.append(f"date_diff('second', {source}, e.event_time) / 86400.0 as {quoted(guess.name)}")
        elif guess.use == "numeric":
            lines.append(f"cast({source} as double) as {quoted(guess.name)}")
        elif guess.column.name not in keys:
            text = source if guess.column.kind == "string" else f"cast({source} as varchar)"
            lines.append(f"{text} as {quoted(guess.name)}")
    lines += [f"{sql} as {feature}" for feature, sql, _ in calendar(p)]
    with_, joins = "", ""
    prior = _prior(p)
    for number, (column, rate, count) in enumerate(past(p)):
        entity = quoted(column.name)
        with_ += _PAST.format(
            first="with " if not number else ",\n",
            n=number,
            entity=entity,
            name=name,
            feed=outcomes(p),
            value=_counted(p.label, f"o.{quoted(p.roles.label.name)}"),
        )
        joins += f"""
left join past_{number} as p{number}
    on p{number}.partition_key = e.partition_key and p{number}.{entity} = e.{entity}"""
        total, rows = f"coalesce(p{number}.total, 0)", f"coalesce(p{number}.outcomes, 0)"
        lines.append(
            f"(cast({total} as double) + {WEIGHT} * {prior}) / ({rows} + {WEIGHT}) as {quoted(rate)}"
        )
        lines.append(f"cast({rows} as double) as {quoted(count)}")
    listed = ",\n    ".join(lines)
    return f"""-- Features of each entity, from what could be seen at its cutoff and nothing later.
{with_}{chr(10) if with_ else ""}select
    {listed}
from {{{{ ref('{name}_entities') }}}} as e{joins}
"""


_PAST = """{first}asked_{n} as (
    select distinct partition_key, cutoff, {entity} from {{{{ ref('{name}_entities') }}}}
),
past_{n} as (
    -- Outcomes of earlier partitions that were known at the cutoff. Whole numbers or decimals are added, so
    -- that the order of rows leaves no trace.
    select a.partition_key, a.{entity}, count(*) as outcomes, sum({value}) as total
    from asked_{n} as a
    join {{{{ source('lake', 'feed_{feed}') }}}} as o
        on o.{entity} = a.{entity} and o.partition_key < a.partition_key
        and o.visible_from <= a.cutoff and a.cutoff < o.visible_to
    group by a.partition_key, a.{entity}
)"""


def _labels(p: Proposal) -> str:
    keys = [quoted(c.name) for c in p.roles.entity]
    listed = ", ".join(f"e.{k}" for k in keys)
    same = " ".join(f"and o.{k} = e.{k}" for k in keys)
    column = p.roles.label.name
    return f"""-- The outcome of each entity as it was known at as_of; null while nobody knows.
select
    e.partition_key, {listed}, e.event_time,
    {label_sql(p.label, f"o.{quoted(column)}")} as {quoted(column)},
    o.visible_from as label_known_at
from {{{{ ref('{p.wishes.name}_entities') }}}} as e
join {{{{ source('lake', 'cutoffs') }}}} as c on c.partition_key = e.partition_key
left join {{{{ source('lake', 'feed_{outcomes(p)}') }}}} as o
    on o.partition_key = e.partition_key {same}
    and o.visible_from <= c.as_of and c.as_of < o.visible_to
"""


def _models(p: Proposal) -> str:
    name = p.wishes.name
    entities, rows = (
        "\n".join(_column(c.name, f"Part of the key: {c.source}.", of=view) for c in p.roles.entity)
        for view in ("entities", "features")
    )
    given = [(f.name, description_of(f.column.source, f.why)) for f in p.used]
    given += [(n, d) for n, _, d in calendar(p)]
    for entity, rate, count in past(p):
        given += [
            (rate, f"Past outcomes of {entity.source}, smoothed."),
            (count, f"Number of past outcomes of {entity.source}."),
        ]
    key_names = {c.name for c in p.roles.entity}
    features = "\n".join(_column(n, d) for n, d in given if n not in key_names)
    label = _column(p.roles.label.name, f"The label, from {p.roles.label.source}; null while unknown.")
    return f"""version: 2
sources:
  - name: lake
    description: What the platform opens before it runs a model; a row of a feed could be seen at t when
      visible_from <= t < visible_to.
    schema: main
    tables:
      - {{name: cutoffs, description: One row for each partition that is asked for.}}
      - {{name: feed_{records(p)}, description: "Contract: contracts/{records(p)}.yaml."}}
      - {{name: feed_{outcomes(p)}, description: "Contract: contracts/{outcomes(p)}.yaml."}}
models:
  - name: {name}_entities
    description: What is scored.
    columns:
{entities}
  - name: {name}_features
    description: Point in time, one row per entity.
    columns:
{rows}
{features}
  - name: {name}_labels
    description: Outcomes as known at as_of.
    columns:
{label}
"""


def description_of(source: str, why: str) -> str:
    """A feature's description."""
    return f"{source}: {why}."


def _column(name: str, description: str, *, of: str = "") -> str:
    """A column's line; with a check that it is never null where ``of`` names the view."""
    named = f"{{name: {of}_have_{name}, description: No row lacks its {name}.}}"
    tests = f", data_tests: [{{not_null: {named}}}]" if of else ""
    return f"      - {{name: {name}, description: {yaml_text(description)}{tests}}}"


def lines_of(text: str, indent: str) -> Iterator[str]:
    """Lines with an indent."""
    return (indent + line for line in text.splitlines())


_PROJECT = """# A project of its own, so that one broken use case breaks no other's. It reads the relations of the source
# `lake` and nothing else: no path, no date, no variable.
name: {name}
version: "1.0"
config-version: 2
profile: {name}
model-paths: [models]
flags: {{send_anonymous_usage_stats: false}}
models: {{{name}: {{+materialized: table}}}}
"""
_PROFILES = """{name}:
  target: disposable
  outputs:
    disposable:
      type: duckdb
      path: "{{{{ env_var('ML_PLATFORM_DBT_DIR') }}}}/warehouse.duckdb"
      settings: {{TimeZone: UTC}}
"""
