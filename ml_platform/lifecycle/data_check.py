"""Looks at what a use case's feeds deliver and what its SQL makes of it, over a few partitions or all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import HOME_VARIABLE, UseCase, load_use_case
from ml_platform.errors import ConfigError, PlatformError
from ml_platform.kinds.of import kind_of
from ml_platform.lifecycle import views
from ml_platform.lifecycle.checking import STAGE, write_remarks
from ml_platform.lifecycle.feed_check import LATER, filled_partitions, read_feeds
from ml_platform.lifecycle.feeds_read import entity_feeds
from ml_platform.lifecycle.history_check import history_remarks
from ml_platform.lifecycle.label_check import label_remarks
from ml_platform.lifecycle.platform import Outside, Platform
from ml_platform.lifecycle.runnable import dry_remarks, feature_remarks, label_column_remarks
from ml_platform.model_config import ModelConfig
from ml_platform.monitoring.leakage import feature_aucs
from ml_platform.remarks import Remark

_PARTITIONS = 8
_WIDENED = 4
"""Where most of the partitions lack rows, as closed hours do, four times as many are read, so many times."""
_LEAK = 0.995
_FEWEST_ROWS = 100


def main(path: Path, scratch: Path, *, everything: bool = False) -> None:
    """Look at the use case of a file and leave the remarks in a folder, and meanwhile what is being done."""
    use_case = load_use_case(path)
    environment = {HOME_VARIABLE: str(scratch / "home")}

    def stage(doing: str, origin: str) -> None:
        (scratch / STAGE).write_text(f"{doing}\n{origin}", encoding="utf-8")

    write_remarks(list(look(environment, use_case, everything=everything, stage=stage)), scratch)


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
    dry = dry_remarks(use_case)
    yield from dry
    platform = _opened(environment, use_case)
    span, ahead = (_all if everything else _chosen)(platform, use_case)
    for wider in range(1 if everything else _WIDENED):
        if wider:
            span = use_case.scheme.keys(use_case.scheme.shift(span[-1], 1 - _PARTITIONS * 4**wider), span[-1])
        # What was judged once is not judged again: each look has a home of its own.
        home = {HOME_VARIABLE: str(Path(environment[HOME_VARIABLE]) / str(wider))}
        read = read_feeds({**environment, **home}, use_case, [*span, *ahead], stage)
        keys = filled_partitions(use_case, span, read)[-len(span) if everything else -_PARTITIONS :]
        unread = len(read.filled) < len(use_case.config.feeds)
        if len(keys) >= _PARTITIONS // 2 or unread or span[0] == use_case.scheme.first_key:
            break
    yield from read.remarks
    stage("building its features and labels", str(use_case.dbt_dir.name))
    if read.fed and keys:
        found = _views(_opened({**environment, **home}, use_case), use_case, keys)
        yield from (r for r in found if r not in dry)
    elif read.fed:
        yield Remark(
            "error",
            f"none of {span[0]} to {span[-1]} has a row to score",
            ", ".join(use_case.feed(name).origin for name in entity_feeds(use_case)),
            "correct the source, or `partitions: start` and `end`; `--all` looks at all partitions",
        )
    yield _looked_at(platform, use_case, keys or span, [*span, *ahead])


def _opened(environment: Mapping[str, str], use_case: UseCase) -> Platform:
    return Platform(environment, Outside(use_cases={use_case.name: use_case}))


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


def _looked_at(platform: Platform, use_case: UseCase, keys: Sequence[str], looked: Sequence[str]) -> Remark:
    """Which partitions were looked at: nothing is known of the others."""
    whole = sorted(key for part in _all(platform, use_case) for key in part)
    span = f"{looked[0]} to {looked[-1]}"
    if {*looked} >= set(whole):
        return Remark("note", f"all {use_case.scheme.counted(len(whole))} were looked at, {span}")
    after = sum(k > keys[-1] for k in looked)
    later = f", the last {after} for labels only" if after else ""
    return Remark(
        "note",
        f"{len(looked)} of {use_case.scheme.counted(len(whole))} were looked at, {span}{later}: "
        "what is wrong in others is not seen",
        "",
        f"`ml-platform use-case check {use_case.name} --all` looks at all of them",
    )


def _views(platform: Platform, use_case: UseCase, keys: Sequence[str]) -> Iterator[Remark]:
    project = use_case.dbt_dir
    try:
        features = views.compute(platform, use_case, "features", keys, LATER)
        labels = views.compute(platform, use_case, "labels", keys, LATER)
    except PlatformError as error:
        yield Remark("error", error.what, error.where or str(project), error.fix)
        return
    rows, truth = pa.concat_tables(features.values()), pa.concat_tables(labels.values())
    if not rows.num_rows:
        yield Remark(
            "error",
            f"no entity could be seen at the cutoff of any of {keys[0]} to {keys[-1]}, of which rows came",
            str(project / "models" / f"{use_case.config.views.entities}.sql"),
            "where its rows are known only after the cutoff, "
            + ("" if use_case.config.cutoff.of == "end" else "use 'cutoff: {of: end}', or ")
            + "correct known_at of their feed; else correct this SQL, which leaves them out",
        )
        return
    yield from _point_in_time(platform, use_case, keys, features)
    yield from history_remarks(platform, use_case, keys[-1], LATER)
    yield from _keyless_entities(use_case, rows)
    for model in use_case.config.models:
        yield from feature_remarks(use_case, model, rows.schema)
        yield from label_column_remarks(use_case, model, truth.schema)
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


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return bool(one.combine_chunks().equals(other.combine_chunks()))


def _columns(use_case: UseCase, model: ModelConfig, rows: pa.Table) -> Iterator[Remark]:
    where = f"{use_case.folder / 'use_case.yaml'}: model {model.name}"
    past = {f.name for f in use_case.config.feeds if f.lookback}
    for feature in model.features:
        if feature.name not in rows.column_names:
            continue
        column = rows[feature.name]
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
