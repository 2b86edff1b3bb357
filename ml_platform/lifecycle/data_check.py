"""Looks at what a use case's feeds deliver and what its SQL makes of it, over a few partitions or all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import UseCase, load_use_case
from ml_platform.contracts.parse import contract_path
from ml_platform.errors import ConfigError, FeedError, PlatformError
from ml_platform.feed_config import FeedConfig
from ml_platform.ingestion.reader import read_feed
from ml_platform.kinds.of import kind_of
from ml_platform.lifecycle import views
from ml_platform.lifecycle.acceptance import AcceptanceReport, RuleSummary, accept, quarantine_asset
from ml_platform.lifecycle.checking import STAGE, write_remarks
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.history_check import history_remarks
from ml_platform.lifecycle.label_check import label_remarks
from ml_platform.lifecycle.landing import land
from ml_platform.lifecycle.platform import Outside, Platform
from ml_platform.model_config import ModelConfig
from ml_platform.monitoring.leakage import feature_aucs
from ml_platform.remarks import Remark
from ml_platform.storage.parquet import read_table

_PARTITIONS = 8
_LEAK = 0.995
_FEWEST_ROWS = 100
_SHOWN = 5
_EFFECTS = {
    "quarantine": "those rows go to quarantine: no feature, label or prediction sees them",
    "hold": "those partitions are held back",
    "warn": "it only warns",
}
"""What becomes of rows that break a rule."""
_LATER = datetime(9000, 1, 1, tzinfo=UTC)


def main(path: Path, scratch: Path, *, everything: bool = False) -> None:
    """Look at the use case of a file and leave the remarks in a folder, and meanwhile what is being done."""
    use_case = load_use_case(path)
    environment = {"ML_PLATFORM_HOME": str(scratch / "home")}

    def stage(doing: str, origin: str) -> None:
        (scratch / STAGE).write_text(f"{doing}\n{origin}", encoding="utf-8")

    remarks = list(look(environment, use_case, everything=everything, stage=stage))
    platform = Platform(environment, Outside(use_cases={use_case.name: use_case}))
    write_remarks([*remarks, _looked_at(platform, use_case, everything)], scratch)


def look(
    environment: Mapping[str, str],
    use_case: UseCase,
    *,
    everything: bool = False,
    stage: Callable[[str, str], object] = lambda *_: None,
) -> Iterator[Remark]:
    """Land, accept and build a few partitions, and say what is wrong with them.

    Rows with a time that cannot be read are told, and the rest is looked at without them.

    Args:
        environment: Names the home to look in.
        use_case: One whose files can be read.
        everything: Look at all partitions.
        stage: Told what is begun, and the code or file that it is about.
    """
    for model in use_case.config.models:
        yield from _training(use_case, model)
    faults: list[FeedError] = []
    read: list[pa.Table] = []
    feeds = partial(read_feed, faults=faults, seen=read.append)
    outside = Outside(feeds=feeds, use_cases={use_case.name: use_case})
    platform = Platform(environment, outside)
    keys, ahead = (_all if everything else _chosen)(platform, use_case)
    fed = True
    for feed in use_case.config.feeds:
        stage(f"reading feed {feed.name}", feed.origin)
        faults.clear()
        read.clear()
        keyless: list[Remark] = []
        try:
            landed = land(platform, use_case, feed, [*keys, *ahead], _LATER)
            keyless += _without_key(use_case, feed, read)
            read.clear()
            report = accept(platform, use_case, feed, _LATER)
        except PlatformError as error:
            fed = False
            yield from [*map(Remark.of, faults), *keyless, Remark.of(error)]
            continue
        yield from [*map(Remark.of, faults), *keyless]
        if not sum(r.rows for r in landed):
            fed = False
            if faults:
                continue
            span = "" if feed.static else f" of {keys[0]} to {keys[-1]}"
            fix = "correct its source, or `partitions: start` and `end`"
            yield Remark("error", f"feed {feed.name} has no rows{span}", feed.origin, fix)
        fed = fed and bool(report.total("accepted"))
        yield from _acceptance(platform, report, use_case, keys_told=bool(keyless))
    stage("building its features and labels", str(use_case.dbt_dir.name))
    if fed:
        yield from _views(platform, use_case, keys)


def _chosen(platform: Platform, use_case: UseCase) -> tuple[list[str], list[str]]:
    """A few mature partitions, and those after them in which their labels come."""
    scheme, demo = use_case.scheme, use_case.config.demo
    now = demo.promote_at if demo is not None else platform.clock(use_case).now()
    last = min(use_case.last_mature(m, now) for m in use_case.config.models)
    last = max(last, scheme.shift(scheme.first_key, _PARTITIONS))
    last = last if scheme.last_key is None else min(last, scheme.last_key)
    wait = max(m.label.maturity_partitions for m in use_case.config.models)
    keys = scheme.keys(scheme.shift(last, 1 - _PARTITIONS), last)
    return keys, scheme.keys(scheme.shift(last, 1), scheme.shift(last, wait))


def _all(platform: Platform, use_case: UseCase) -> tuple[list[str], list[str]]:
    """All mature partitions, as of the data's end or the present, and those after them."""
    scheme, demo = use_case.scheme, use_case.config.demo
    now = platform.clock(use_case).now()
    last = scheme.last_key or scheme.key_at(max(now, demo.judge_at) if demo is not None else now)
    wait = max(m.label.maturity_partitions for m in use_case.config.models)
    mature = max(scheme.shift(last, -wait), scheme.first_key)
    return scheme.keys(scheme.first_key, mature), scheme.keys(scheme.shift(mature, 1), last)


def _looked_at(platform: Platform, use_case: UseCase, everything: bool) -> Remark:
    """Which partitions were looked at: nothing is known of the others."""
    whole = sorted(key for part in _all(platform, use_case) for key in part)
    keys, ahead = (_all if everything else _chosen)(platform, use_case)
    span = f"{keys[0]} to {[*keys, *ahead][-1]}"
    if {*keys, *ahead} >= set(whole):
        return Remark("note", f"all {use_case.scheme.counted(len(whole))} were looked at, {span}")
    later = f", the last {len(ahead)} for labels only" if ahead else ""
    return Remark(
        "note",
        f"{len(keys) + len(ahead)} of {use_case.scheme.counted(len(whole))} were looked at, {span}{later}: "
        "what is wrong in others is not seen",
        "",
        f"`ml-platform use-case check {use_case.name} --all` looks at all of them",
    )


def _without_key(use_case: UseCase, feed: FeedConfig, read: Sequence[pa.Table]) -> Iterator[Remark]:
    """Rows without a value in a column of the key, in all that was read: they can be nobody's."""
    contract, path = contract_of(use_case, feed.name), contract_path(use_case.contracts_dir, feed.name)
    by_file = feed.source is not None and feed.source.path is not None
    origin = (use_case.folder / feed.origin).resolve() if by_file else feed.origin
    for table, name in product(read, contract.key):
        if name not in table.column_names:
            continue
        rows = [i + 1 for i in pc.indices_nonzero(table[name].is_null(nan_is_null=True)).to_pylist()]
        if not rows:
            continue
        breach = next((r.on_breach for r in contract.rules if r.name == f"{name}_required"), "quarantine")
        shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
        yield Remark(
            "error" if breach == "hold" else "warning",
            f"feed {feed.name}: {len(rows):,} of {table.num_rows:,} rows have no {name}, which is a column "
            f"of the key; {_EFFECTS[breach]}",
            f"{origin}, row {shown}",
            f"give each row its {name}, or choose a key that every row has (primaryKey in {path})",
        )


def _acceptance(
    platform: Platform, report: AcceptanceReport, use_case: UseCase, *, keys_told: bool
) -> Iterator[Remark]:
    file = contract_path(use_case.contracts_dir, report.feed)
    told = {f"{name}_required" for name in report.contract.key} if keys_told else set()
    for rule in report.rules:
        if rule.crashed:
            what = f"feed {report.feed}: rule {rule.name} cannot be judged, so that nothing is let in"
            yield Remark("error", f"{what}: {rule.reason}", str(file), "correct the rule")
        if rule.state != "FAIL" or rule.name in told:
            continue
        level = "warning" if rule.on_breach != "hold" else "error"
        yield Remark(
            level,  # type: ignore[arg-type]
            f"feed {report.feed}: rule {rule.name} is broken by {rule.failed_rows:,} of {rule.checked_rows:,}"
            f" rows in {len(rule.failed_partitions)} partition(s); {_EFFECTS[rule.on_breach]}. {rule.reason}",
            f"{file}, for example partition {rule.failed_partitions[0]}{_example(platform, report, rule)}",
            "mend the data, or change the rule and raise the contract's version",
        )


def _example(platform: Platform, report: AcceptanceReport, rule: RuleSummary) -> str:
    """One of the rows that a rule sent to quarantine."""
    key = rule.failed_partitions[0]
    head = platform.ledger.heads(quarantine_asset(report.feed), [key]).get(key)
    if head is None:
        return ""
    for row in read_table(platform.lake.get(head.digest)).to_pylist():
        if row["rule"] == rule.name:
            return f", row {row['row'] + 1}: {row['column'] or 'the row'} = {row['value']}"
    return ""


def _views(platform: Platform, use_case: UseCase, keys: Sequence[str]) -> Iterator[Remark]:
    project = use_case.dbt_dir
    try:
        features = views.compute(platform, use_case, "features", keys, _LATER)
        labels = views.compute(platform, use_case, "labels", keys, _LATER)
    except PlatformError as error:
        yield Remark("error", error.what, error.where or str(project), error.fix)
        return
    rows, truth = pa.concat_tables(features.values()), pa.concat_tables(labels.values())
    if not rows.num_rows:
        yield Remark(
            "error",
            f"no entity could be seen at the cutoff of any of {keys[0]} to {keys[-1]}",
            str(project / "models" / f"{use_case.config.views.entities}.sql"),
            "rows are known only after the cutoff: use 'cutoff: {of: end}', or correct known_at",
        )
        return
    yield from _point_in_time(platform, use_case, keys, features)
    yield from history_remarks(platform, use_case, keys[-1], _LATER)
    yield from _keyless_entities(use_case, rows)
    for model in use_case.config.models:
        yield from _columns(use_case, model, rows)
        yield from label_remarks(use_case, model, truth)
        yield from _copies(use_case, model, rows, truth)


def _keyless_entities(use_case: UseCase, rows: pa.Table) -> Iterator[Remark]:
    """Rows of the views that nobody could ask for."""
    for name in use_case.config.views.key:
        missing = rows[name].null_count
        if missing:
            yield Remark(
                "error",
                f"{missing:,} of {rows.num_rows:,} rows to score have no {name}, a column of their key: "
                "nobody could ask for their predictions",
                str(use_case.dbt_dir / "models" / f"{use_case.config.views.entities}.sql"),
                f"leave them out there (where {name} is not null), or correct views.key",
            )


def _point_in_time(
    platform: Platform, use_case: UseCase, keys: Sequence[str], later: Mapping[str, pa.Table]
) -> Iterator[Remark]:
    """Features built at the cutoff, with all later rows out of sight, must be those built with them there."""
    name = use_case.config.views.features
    for key in keys[-2:]:
        then = views.compute(platform, use_case, "features", [key], use_case.cutoff(key))[key]
        now = later[key]
        if then.num_rows != now.num_rows:
            differs = ["the rows themselves"]
        else:
            differs = [c for c in now.column_names if not _equal(then[c], now[c])]
        if differs:
            yield Remark(
                "error",
                f"features see the future: {', '.join(differs)} of partition {key} change when rows that "
                "became visible after the cutoff are taken away",
                str(use_case.dbt_dir / "models" / f"{name}.sql"),
                "read each feed with visible_from <= cutoff and cutoff < visible_to"
                + _or_look_back(use_case),
            )
            return


def _or_look_back(use_case: UseCase) -> str:
    """What else may differ: one partition is built from as much history as the settings allow it."""
    back = use_case.config.views.history_partitions
    if back is None:
        return ""
    return (
        f"; if all are, the SQL looks back further than `views: history_partitions: {back}`: write how many "
        "partitions it looks back, or null for all"
    )


def _training(use_case: UseCase, model: ModelConfig) -> Iterator[Remark]:
    """What would stop the training after minutes of building features."""
    from ml_platform.modeling.estimators import resolve_parameters
    from ml_platform.modeling.task import Task

    where, training = f"{use_case.folder / 'use_case.yaml'}: model {model.name}", model.training
    try:
        resolve_parameters(training.estimator, training.parameters, Task.of(model))
    except ConfigError as error:
        yield Remark("error", error.what, f"{where}, {error.where}", error.fix)
    if training.estimator == training.baseline:
        what = f"the baseline is {training.baseline} too: the gate against it compares a model with itself"
        yield Remark(
            "warning", what, f"{where}, training.baseline", "take another, or leave the baseline out"
        )


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return bool(one.combine_chunks().equals(other.combine_chunks()))


def _columns(use_case: UseCase, model: ModelConfig, rows: pa.Table) -> Iterator[Remark]:
    where = f"{use_case.folder / 'use_case.yaml'}: model {model.name}"
    past = {f.name for f in use_case.config.feeds if f.lookback}
    for feature in model.features:
        if feature.name not in rows.column_names:
            fix = f"select it in the SQL of {use_case.config.views.features}, or take it out"
            yield Remark("error", f"feature {feature.name} is not in the features view", where, fix)
            continue
        column = rows[feature.name]
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if feature.kind == "numeric" and not (numeric or pa.types.is_boolean(column.type)):
            fix = "cast it to double in SQL, or say kind: categorical"
            yield Remark("error", f"feature {feature.name} is {column.type}, not numeric", where, fix)
        if column.null_count == len(column):
            fix = "look at its join, or leave it out"
            yield Remark("warning", f"feature {feature.name} is empty in all rows looked at", where, fix)
        elif feature.runs_with_time or past & set(feature.feeds):
            pass  # a few partitions have one weekday, and no past
        elif pc.count_distinct(column).as_py() < 2:
            what = f"feature {feature.name} is constant in the {len(column):,} rows looked at"
            yield Remark("note", what, where, "leave it out if it always is")


def _copies(use_case: UseCase, model: ModelConfig, rows: pa.Table, truth: pa.Table) -> Iterator[Remark]:
    """Features that rank the label by themselves: copies of it, or what is written down with it."""
    label, kind = model.label.column, kind_of(model)
    if label not in truth.column_names:
        return
    key = ["partition_key", *use_case.config.views.key]
    try:
        known = kind.encoded(truth.select([*key, label]), label).to_pandas().dropna(subset=[label])
    except ConfigError:
        return  # what is no label of this kind has been told already
    joined = rows.to_pandas().merge(known, on=key, how="inner")
    if len(joined) < _FEWEST_ROWS:
        return
    view = use_case.dbt_dir / "models" / f"{use_case.config.views.features}.sql"
    tried = [f for f in model.features if f.name in joined and joined[f.name].nunique() > 1]
    for finding in feature_aucs(joined, tried, kind, label, model.diagnosis):
        if finding.estimate is not None and finding.estimate >= _LEAK:
            yield Remark(
                "error",
                f"feature {finding.subject}: {finding.detail}, so it is a copy of it or written down with it",
                f"{view}: {finding.subject}",
                "leave it out, or give its feed the known_at at which it really is known",
            )
