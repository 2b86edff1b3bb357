"""The ``use_case.yaml`` of a proposal, with a comment beside each guess that says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import TypeAdapter

from ml_platform.guard_config import RetrainingConfig
from ml_platform.partitions import PartitionScheme
from ml_platform.scaffold.columns import ColumnProfile
from ml_platform.scaffold.proposal import Proposal
from ml_platform.scaffold.quoting import yaml_text
from ml_platform.scaffold.sql import calendar, description_of, outcomes, past, records
from ml_platform.scaffold.timing import span

_DURATION = TypeAdapter(timedelta)
_FEWEST = 4
"""Fewer partitions bear no bound."""
_BARE = {"true", "false", "t", "f", "yes", "no", "y", "n"}
"""Values of a label that say nothing without its name."""


def use_case_yaml(p: Proposal, folder: Path) -> str:
    """Text of ``use_case.yaml``.

    Args:
        p: The proposal.
        folder: Where it will stand; the file's path is written relative to it where it is nearby.
    """
    wishes, windows, scheme = p.wishes, p.windows, p.scheme
    name, label = wishes.name, p.roles.label
    keys = ", ".join(c.name for c in p.roles.entity)
    end = "" if p.live else f", end: {scheme.last}"
    return f"""# yaml-language-server: $schema=./use_case.schema.json
# Proposed from {p.profile.path.name} by `ml-platform use-case new`. Every guess says why; change what you know better,
# then run `ml-platform use-case check {name}`. `ml-platform schema` prints the format.
schema_version: 1
name: {name}
title: {yaml_text(name.replace("_", " ").capitalize())}
description: {yaml_text(_question(p))}
owner: {{team: {yaml_text(wishes.team)}, email: {wishes.email}}}

{_timeline(p)}
# {p.width_reason}.
partitions: {{width: {scheme.width}, timezone: {scheme.timezone}, start: {scheme.first}{end}}}

{_cutoff(p)}

# The file is read twice: its rows count from the event on, their outcomes only from when they were known. That is
# what keeps an outcome out of the features of its own row.
feeds:
{_feed(p, records(p), folder, labels=False)}
{_feed(p, outcomes(p), folder, labels=True)}
views:
  entities: {name}_entities
  features: {name}_features
  labels: {name}_labels
  key: [{keys}]{_history(p)}

models:
  - name: {label.name}
    title: {yaml_text(label.source)}
    kind: {p.label.kind}
    label:
      column: {label.name}
      description: {yaml_text(_meaning(p))}{_classes(p)}
      # {_maturity(p)}
      maturity_partitions: {windows.maturity}
    features:
{chr(10).join(_features(p))}
    # The history is cut into training, gate, the wait for labels, and days to serve.
    windows: {{train: {windows.train}, gate: {windows.gate}, minimum_train: {windows.minimum_train}}}
    training:
      # Small trees: the rows of a partition resemble each other, so there are fewer than it seems.
      parameters: {{n_estimators: 150, learning_rate: 0.05, num_leaves: 8, min_child_samples: {_leaf(p)}}}
      folds: {min(5, max(2, windows.train // 4))}
{_slices(p)}    serving:
      segments: {min(span(scheme, 1, 7), windows.train)}
{_decision(p)}    monitoring: {{current_partitions: {_current(p)}, reference_partitions: {max(2, windows.gate)}}}
    diagnosis:
      reference_partitions: {max(2, windows.gate)}
      covariate_partitions: {_current(p)}
      concept_partitions: {_concept(p)}
{_block(p)}      label_horizon: {windows.maturity}
      # With {p.median_rows} rows a partition, so many are a window's.
      minimum_rows: {_minimum_rows(p)}
      minimum_class_rows: {max(20, _minimum_rows(p) // 10)}
{_retraining(p)}{_demo(p)}"""


def _cutoff(p: Proposal) -> str:
    if p.roles.row_known_at is not None:
        return (
            f"# Rows are known beforehand, by {p.roles.row_known_at.source}, so a partition is scored at its begin, with the\n"
            "# rows that are known by then.\ncutoff: {of: start}"
        )
    told = (
        "# A row is known when it happens, so a partition is scored once it is over. For what is known beforehand (a booking,\n"
        "# a plan) say 'of: start', give the rows a known_at of their own, and let demo begin to serve a partition later.\n"
    )
    if p.at_cutoff.offered is not None:
        name = p.at_cutoff.offered.name
        later = p.scheme.shift(p.windows.served[0], 1)
        told += (
            f"# '{p.at_cutoff.offered.source}' may say when a row was known. Then take these lines, each in its place (`use-case new` writes\n"
            f"# them with --row-known-at {name}); fewer labels are known before their prediction:\n"
            "#   cutoff: {of: start}\n"
            f"#   in the feed {records(p)}, with {name} in its columns and its contract:\n"
            f"#     timestamps: [{name}]\n"
            f"#     known_at: {{column: {name}}}\n"
            + ("" if p.live else f"#   in demo: serve_first: {_instant(p, later)}\n")
        )
    return f"{told}cutoff: {{of: end}}"


def data_path(p: Proposal, folder: Path) -> str:
    """The file's path as the feeds name it: relative where it lies in or beside the folder."""
    path = p.profile.path.resolve()
    relative = os.path.relpath(path, folder.resolve())
    return relative if relative.count("..") <= 2 else str(path)


def _question(p: Proposal) -> str:
    entity = "/".join(c.source for c in p.roles.entity)
    edge = "end" if p.roles.row_known_at is None else "begin"
    when = f"At the {edge} of each {p.scheme.width} partition, for each {entity}"
    if p.label.kind == "binary":
        return f"{when}: how probable is it that {p.roles.label.source} is {p.label.positive}?"
    if p.label.kind == "regression":
        return f"{when}: how large will {p.roles.label.source} be?"
    return f"{when}: which {p.roles.label.source} will it be?"


def _meaning(p: Proposal) -> str:
    if p.label.kind == "binary":
        return f"Positive where {p.roles.label.source} is {p.label.positive}."
    return f"As {p.roles.label.source} says."


def _timeline(p: Proposal) -> str:
    name = f"{p.wishes.name}_time"
    if p.live:
        return f"# The data reach the present, so the wall clock is theirs.\ntimeline: {{name: {name}}}\n"
    start = p.windows.promote_at.isoformat()
    return (
        "# The data lie in the past, so their clock stands still until it is advanced: a schedule's tick, a run or\n"
        f"# `ml-platform clock advance` plays the next {p.scheme.width} partition.\n"
        f"timeline: {{name: {name}, clock: replay, start: {start}}}\n"
    )


def _feed(p: Proposal, name: str, folder: Path, *, labels: bool) -> str:
    column, time = p.roles.label, p.roles.time
    columns = [*p.roles.entity, time]
    if labels:
        columns += [column, *([p.roles.known_at] if p.roles.known_at else [])]
    else:
        given = {c.name for c in columns}
        columns += [c for c in p.inputs if c.name not in given]
    lines = [
        f"  - name: {name}",
        "    source:",
        f"      path: {yaml_text(data_path(p, folder))}",
        "      columns:",
        *(f"        {c.name}: {yaml_text(c.source)}" for c in columns),
    ]
    words = sorted({w for c in columns for w in c.missing_words})
    if words:
        lines.append(f"      missing: {yaml_text(words)}")
    commas = [c.name for c in columns if c.decimal_comma]
    if commas:
        lines.append(f"      decimal_comma: [{', '.join(commas)}]")
    if labels:
        empty = [column.name, *([p.roles.known_at.name] if p.label_known_null and p.roles.known_at else [])]
        lines += [
            "      # Rows whose outcome is empty are not known yet.",
            f"      not_null: [{', '.join(empty)}]",
        ]
    lines.append(f"    event_time: {time.name}")
    if p.wishes.timezone != "UTC":
        lines.append(f"    timezone: {p.wishes.timezone}")
    if p.wishes.time_format:
        lines.append(f"    time_format: {yaml_text(p.wishes.time_format)}")
    others = [c.name for c in _timestamps(columns) if c.name != time.name]
    if others:
        lines.append(f"    timestamps: [{', '.join(others)}]")
    lines += _known(p) if labels else _row_known(p)
    if labels:
        wait = p.windows.maturity
        lines += [
            "    # One delivery may bring the outcomes of so many earlier partitions.",
            f"    lookback: {wait}",
            f"    arrival: {{{_arrival(p.scheme, wait)}}}",
        ]
    else:
        lines.append(f"    arrival: {{{_arrival(p.scheme, 0)}}}")
    return "\n".join(lines) + "\n"


def _timestamps(columns: list[ColumnProfile]) -> Iterator[ColumnProfile]:
    return (c for c in columns if c.kind == "timestamp")


def _row_known(p: Proposal) -> list[str]:
    if p.roles.row_known_at is not None:
        return [f"    known_at: {{column: {p.roles.row_known_at.name}}}"]
    return [
        "    # Assumed: a row is known the moment it happens. Say so, or better name the column that says when:",
        "    # known_at: {column: …} or {arrival: true} or {delay: PT6H}",
        "    known_at: {delay: PT0S}",
    ]


def _known(p: Proposal) -> list[str]:
    if p.roles.known_at is not None:
        return [f"    known_at: {{column: {p.roles.known_at.name}}}"]
    assert p.label_delay is not None
    delay = _DURATION.dump_python(p.label_delay, mode="json")
    why = "as said" if p.wishes.label_delay else "GUESSED, because no column says when an outcome was known"
    return [f"    # {why}.", f"    known_at: {{delay: {delay}}}"]


def _arrival(scheme: PartitionScheme, wait: int) -> str:
    if scheme.width == "hourly":
        return f"due_after: PT0S, complete_after: PT{wait}H"
    days = {"daily": 1, "weekly": 7, "monthly": 31}[scheme.width]
    return f"due_days: {days * max(1, wait)}, complete_days: {days * (wait + 1)}"


def _history(p: Proposal) -> str:
    if p.past:
        return "\n  # Past outcomes of an entity are counted over all of history.\n  history_partitions: null"
    return "\n  # No feature looks back.\n  history_partitions: 0"


def _classes(p: Proposal) -> str:
    if p.label.kind != "multiclass":
        return ""
    return f"\n      # The usual one first.\n      classes: [{', '.join(p.label.classes.values())}]"


def _maturity(p: Proposal) -> str:
    source = p.roles.known_at.source if p.roles.known_at else "the delay that is assumed above"
    return f"By {source}, 99.9 % of the outcomes of a partition are known after so many partitions."


def _features(p: Proposal) -> Iterator[str]:
    feed, later = records(p), outcomes(p)
    for guess in p.used:
        kind = "categorical" if guess.use == "categorical" else "numeric"
        moving = ", runs_with_time: true" if guess.runs_with_time else ""
        told = yaml_text(description_of(guess.column.source, guess.why))
        yield f"      - {{name: {guess.name}, kind: {kind}, feeds: [{feed}]{moving}, description: {told}}}"
    for name, _, told in calendar(p):
        moving = ", runs_with_time: true" if name == "event_weekday" else ""
        yield f"      - {{name: {name}, feeds: [{feed}]{moving}, description: {yaml_text(told)}}}"
    for column, rate, count in past(p):
        told = yaml_text(f"Past outcomes of {column.source} that were known at the cutoff, smoothed.")
        yield f"      - {{name: {rate}, feeds: [{later}], description: {told}}}"
        told = yaml_text(f"How many past outcomes of {column.source} were known; it only grows.")
        yield f"      - {{name: {count}, feeds: [{later}], runs_with_time: true, description: {told}}}"
    for guess in p.features:
        if guess.use == "dropped":
            yield f"      # {guess.column.source}: {guess.why}"


def _leaf(p: Proposal) -> int:
    return min(1000, max(10, p.median_rows * p.windows.train // 100))


def _current(p: Proposal) -> int:
    return max(1, min(span(p.scheme, 7, 7), p.windows.gate // 2))


def _concept(p: Proposal) -> int:
    """At most half the reference: a change one window after the promotion then fills a window of its own.

    Later, the first live partitions replace the gate's as the reference, the changed ones among them, and a
    change that both sides have cannot be seen.
    """
    return max(2, min(span(p.scheme, 14, 14), p.windows.gate // 2))


def _minimum_rows(p: Proposal) -> int:
    return min(1000, max(100, p.median_rows * _concept(p) // 2))


def _block(p: Proposal) -> str:
    block, concept = p.windows.block, _concept(p)
    if block == 1:
        return ""
    longest = max(concept, span(p.scheme, 42))
    return (
        f"      # The hours of a day share its shocks: the day is the sample.\n"
        f"      block_partitions: {block}\n      maximum_partitions: {longest}\n"
    )


def _retraining(p: Proposal) -> str:
    """Windows of renewals and incidents; the defaults are meant in days, and for labels that come soon."""
    gate, maturity = span(p.scheme, 28, _FEWEST), p.windows.maturity
    # Renewed sooner, a champion would be gone before a full window of its own outcomes could be held against
    # the one before.
    fresh = max(span(p.scheme, 42), maturity + gate, maturity + 2 * _concept(p))
    defaults = RetrainingConfig()
    if p.scheme.width == "daily":
        if fresh == defaults.freshness_partitions:
            return ""
        return (
            "    retraining:\n"
            "      # A renewal is judged on days that came after the promotion, once their labels are known.\n"
            f"      freshness_partitions: {fresh}\n"
        )
    week = span(p.scheme, 7, _FEWEST)
    periods = sorted({span(p.scheme, 28), span(p.scheme, 42, 2)})
    settings = {
        "freshness_partitions": fresh,
        "freshness_gate": gate,
        "incident_gate": week,
        "onset_minimum": week,
        "deadline_partitions": max(span(p.scheme, 21), 2 * week),
        "cooldown_partitions": week,
        "attempt_partitions": span(p.scheme, 14, _FEWEST),
        "budget_partitions": max(span(p.scheme, 30), defaults.budget * week),
        "calibration_partitions": span(p.scheme, 28, 2 * _FEWEST),
        "calibration_gate": week,
        "comparison_periods": periods,
        "value": f"{{horizon_partitions: {span(p.scheme, 28)}}}",
    }
    lines = "".join(f"      {name}: {value}\n" for name, value in settings.items())
    return f"    # In {p.scheme.width} partitions; a bound needs {_FEWEST} of them.\n    retraining:\n{lines}"


def _slices(p: Proposal) -> str:
    few = [f.name for f in p.used if f.use == "categorical" and 2 <= f.column.distinct <= 8][:2]
    if not few:
        return ""
    listed = "\n".join(f"        - {{column: {n}}}" for n in few)
    return f"    gates:\n      slices:\n{listed}\n"


def _decision(p: Proposal) -> str:
    if p.label.kind != "binary":
        return ""
    rate = float((p.label.values == 1).sum() / max(1, (p.label.values >= 0).sum()))
    threshold = round(min(0.5, max(0.05, 2 * rate)), 2)
    # Below a half what is said is not what is expected.
    verb = "expect" if threshold >= 0.5 else "watch out for"
    positive = yaml_text(f"{verb} {_outcome(p, p.label.positive)}")
    negative = yaml_text(f"expect {_outcome(p, p.label.negative)}")
    return (
        f"      # {rate:.0%} are positive. Put the threshold where a wrong yes costs what a wrong no does.\n"
        f"      decision: {{threshold: {threshold}, positive: {positive}, negative: {negative}}}\n"
    )


def _outcome(p: Proposal, value: str) -> str:
    """A value of the label for people: a word speaks for itself, ``1`` or ``yes`` does not."""
    bare = value.lower() in _BARE or value.replace(".", "", 1).isdigit()
    return f"{p.roles.label.source} = {value}" if bare or not value else value


def _instant(p: Proposal, key: str) -> str:
    return f"{key}:00:00Z" if p.scheme.width == "hourly" else key


def _demo(p: Proposal) -> str:
    if p.live:
        return ""
    windows, scheme = p.windows, p.scheme
    first, last = (_instant(p, k) for k in windows.served)
    return f"""
# What `ml-platform run {p.wishes.name}` plays: the first champion, the {scheme.width} partitions that it serves, and the look
# back once their labels are known.
demo:
  promote_at: {windows.promote_at.isoformat()}
  serve_first: {first}
  serve_last: {last}
  judge_at: {windows.judge_at.isoformat()}
"""
