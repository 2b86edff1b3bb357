"""Which partitions train and which gate, and the dataset version made of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from ml_platform.config import UseCase
from ml_platform.datasets import versions
from ml_platform.datasets.versions import Manifest, PartitionObjects, Role
from ml_platform.errors import NotReadyError
from ml_platform.features.dbt import CompiledViews, compiled_views
from ml_platform.lifecycle import pointers, views
from ml_platform.lifecycle.contract_changes import contract_changes, summary
from ml_platform.lifecycle.feed_contracts import contract_digests
from ml_platform.lifecycle.held import held_back
from ml_platform.lifecycle.maturity import label_keys, maturity_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.timing import is_current
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Dataset, Hold, Incident, Publication


@dataclass(frozen=True)
class Windows:
    """Partition keys to train on and to gate on; the gate ends at the last mature partition."""

    train: list[str]
    gate: list[str]


@dataclass(frozen=True)
class Span:
    """First and last partition, and how many there are."""

    first: str
    last: str
    partitions: int

    @classmethod
    def of(cls, keys: Sequence[str]) -> Span:
        """The span of ordered keys."""
        return cls(keys[0], keys[-1], len(keys)) if keys else cls("", "", 0)


@dataclass(frozen=True)
class DatasetReport:
    """A dataset version and how it came about.

    Attributes:
        version: Its name.
        new: Whether this call made it.
        rows: Labelled rows.
        train: First and last training partition, and how many.
        gate: First and last gate partition, and how many.
        left_out: Reason by partition that a window asked for and the version lacks.
        outcomes: Share of positives, mean, or share of each class, by name.
    """

    version: str
    new: bool
    rows: int
    train: Span
    gate: Span
    left_out: dict[str, str]
    outcomes: dict[str, float]


def windows(target: Target, as_of: datetime) -> Windows:
    """The windows as of an instant.

    Raises:
        NotReadyError: No partition is mature yet.
    """
    scheme, settings = target.use_case.scheme, target.model.windows
    last = target.use_case.last_mature(target.model, as_of)
    gate_first = scheme.shift(last, 1 - settings.gate)
    gate = scheme.keys(gate_first, last)
    last_train = scheme.shift(gate_first, -1 - settings.embargo)
    train = target.use_case.trained_on(target.model, last_train)
    if not gate or not train:
        raise NotReadyError(
            f"as of {as_of.isoformat()} too little is mature: the last mature partition is {last}",
            where=target.key,
            fix=f"wait, or advance the clock of timeline '{target.use_case.config.timeline.name}'",
        )
    return Windows(train, gate)


def build(platform: Platform, target: Target, as_of: datetime) -> DatasetReport:
    """Publish the dataset version of the windows as of an instant, and let training point at it.

    Raises:
        NotReadyError: Fewer partitions are left than ``windows.minimum_train``, or less than half the gate.
    """
    report, row = assemble(platform, target, as_of, windows(target, as_of))
    details = {"version": row.version}
    pointers.move(platform, target, "training_dataset", row.manifest_digest, row.rows, details, as_of)
    return report


def assemble(
    platform: Platform, target: Target, as_of: datetime, window: Windows
) -> tuple[DatasetReport, Dataset]:
    """Publish the dataset version of some windows.

    Partitions without published features, whose labels are not mature by the law of their arrival, or that
    an incident holds are left out and reported.

    Raises:
        NotReadyError: Fewer partitions are left than ``windows.minimum_train``, or less than half the gate.
    """
    use_case = target.use_case
    held = held_partitions(platform, target)
    features = platform.ledger.heads(f"{use_case.name}/features", [*window.train, *window.gate])
    labels = platform.ledger.heads(f"{use_case.name}/labels", [*window.train, *window.gate])
    short = immature_labels(platform, target, labels, as_of)
    left_out: dict[str, str] = {}
    parts: list[PartitionObjects] = []
    views_ = compiled_views(use_case)
    for role, keys in (("train", window.train), ("gate", window.gate)):
        for key in keys:
            reason = held.get(key) or _unusable(use_case, features.get(key), labels.get(key), views_.versions)
            reason = reason or short.get(key)
            if reason:
                left_out[key] = reason
            else:
                parts.append(_part(platform, target, role, features[key], labels[key]))  # type: ignore[arg-type]
    _enough(platform, target, parts, window, left_out)
    manifest = _manifest(platform, target, parts)
    details = _details(manifest, left_out) | _code(platform, views_) | _older_contracts(platform, target)
    row, new = versions.publish(platform.lake, platform.ledger, manifest, as_of, details)
    report = DatasetReport(
        version=row.version,
        new=new,
        rows=row.rows,
        train=Span.of([p.partition for p in manifest.of("train")]),
        gate=Span.of([p.partition for p in manifest.of("gate")]),
        left_out=left_out,
        outcomes=_outcomes(platform, target, manifest),
    )
    return report, row


def held_partitions(platform: Platform, target: Target, *, only_open: bool = False) -> dict[str, str]:
    """Partitions that an incident keeps out of training, with the reason.

    They stay out after the incident is over, until it is resolved; with ``only_open`` those of lasting ones.
    """
    query = select(Hold).where(Hold.model_key == target.key, Hold.released_at.is_(None)).order_by(Hold.id)
    if only_open:
        query = query.join(Incident, Incident.id == Hold.incident_id).where(Incident.status == "open")
    with platform.ledger.begin() as session:
        return {h.partition: f"held by incident {h.incident_id}: {h.reason}" for h in session.scalars(query)}


def _holding(platform: Platform, target: Target, keys: Collection[str]) -> str:
    """The commands that end the incidents that hold some of the partitions back; empty without one."""
    query = select(Hold.incident_id).where(
        Hold.model_key == target.key, Hold.released_at.is_(None), Hold.partition.in_(sorted(keys))
    )
    with platform.ledger.begin() as session:
        found = sorted(set(session.scalars(query)))
    return " and ".join(f"`ml-platform incident resolve {i} --why '…'`" for i in found)


def ensure_views(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> list[str]:
    """Publish features and mature labels of the partitions that lack them; returns those that were built.

    The same compiled SQL as dbt runs, so a partition has the same object whoever builds it.
    """
    use_case, views_ = target.use_case, compiled_views(target.use_case)
    features = platform.ledger.heads(f"{use_case.name}/features", keys)
    labels = platform.ledger.heads(f"{use_case.name}/labels", keys)
    short = immature_labels(platform, target, labels, as_of)
    lacking = [
        k for k in keys if k in short or _unusable(use_case, features.get(k), labels.get(k), views_.versions)
    ]
    if lacking:
        views.materialise(platform, use_case, "features", lacking, as_of)
        views.materialise(platform, use_case, "labels", lacking, as_of)
    return lacking


def immature_labels(
    platform: Platform, target: Target, labels: Mapping[str, Publication], as_of: datetime
) -> dict[str, str]:
    """Published labels that may not enter a dataset by the model of label maturity, with the reason.

    The law is fitted on the last aged partitions that are published; labels that were built before they were
    mature, or by older code, have other reasons and are left to them.
    """
    recent = platform.ledger.heads(f"{target.use_case.name}/labels", label_keys(target, as_of))
    version = compiled_views(target.use_case).label_version
    known = {
        k: h
        for k, h in {**recent, **labels}.items()
        if h.details["mature"] and h.details["code_version"] == version
    }
    if not known:
        return {}
    label = target.model.label
    columns = ["partition_key", "event_time", label.column, label.known_at]
    platform.lake.paths(h.digest for h in known.values())
    tables = [read_table(platform.lake.get(h.digest), columns) for h in known.values()]
    rows = views.with_instant(target.model, pa.concat_tables(tables, promote_options="permissive"))
    report = maturity_of(target, rows, as_of)
    return {
        c.partition_key: f"its labels are {c.maturity}: {c.known} of {c.rows} are known"
        for c in report.cohorts
        if c.partition_key in labels and c.maturity != "mature"
    }


def _code(platform: Platform, compiled: CompiledViews) -> dict[str, Any]:
    """The SQL that made features and labels, kept so that later both can be rebuilt as they were then."""
    text = [[v.name, v.sql] for v in (compiled.entities, compiled.features, compiled.labels)]
    return {"code": platform.lake.put(json.dumps(text).encode())}


def _unusable(
    use_case: UseCase, features: Publication | None, labels: Publication | None, code: tuple[str, str]
) -> str | None:
    if features is None or labels is None:
        return f"no {'features' if features is None else 'labels'} are published"
    if features.details["code_version"] != code[0]:
        return "its features are of older code: materialise them again"
    if labels.details["code_version"] != code[1]:
        return "its labels are of older code: materialise them again"
    if not all(is_current(use_case, made.partition, made.details) for made in (features, labels)):
        return "it was built under another cutoff or known_at: materialise it again"
    if not labels.details["mature"]:
        return "its labels were built before they were mature: materialise them again"
    return None


def _older_contracts(platform: Platform, target: Target) -> dict[str, Any]:
    """How many partitions of each feed were judged by a contract that has changed since."""
    older = summary(contract_changes(platform, target.use_case))
    return {"older_contracts": older} if older else {}


def _part(
    platform: Platform, target: Target, role: Role, features: Publication, labels: Publication
) -> PartitionObjects:
    column = target.model.label.column
    known = labels.details["known"].get(column)
    if known is None:  # the labels were published before the model was declared
        table = read_table(platform.lake.get(labels.digest), [column])
        known = table.num_rows - table[column].null_count
    return PartitionObjects(features.partition, role, features.digest, labels.digest, int(known))


def _enough(
    platform: Platform,
    target: Target,
    parts: Sequence[PartitionObjects],
    window: Windows,
    left_out: dict[str, str],
) -> None:
    train = sum(p.role == "train" for p in parts)
    gate = sum(p.role == "gate" for p in parts)
    least_gate = max(2, len(window.gate) // 2)
    if train >= target.model.windows.minimum_train and gate >= least_gate:
        return
    asked = {*window.train, *window.gate}
    held = {
        feed.name: len(keys)
        for feed in target.use_case.config.feeds
        if (keys := [a for a in held_back(platform, feed.name) if feed.static or a.partition in asked])
    }
    reasons = [f"{count} × {reason}" for reason, count in Counter(left_out.values()).most_common(3)]
    reasons += [f"feed {feed} is held back in {count} of them" for feed, count in held.items()]
    holds = _holding(platform, target, asked)
    raise NotReadyError(
        f"{train} training and {gate} gate partitions can be used, "
        f"at least {target.model.windows.minimum_train} and {least_gate} are needed: "
        + ("; ".join(reasons) or "the range begins too late"),
        where=f"{target.key}, {window.train[0]} to {window.gate[-1]}",
        fix=f"`ml-platform quarantine list --feed {next(iter(held))}` shows why; correct the contract or the "
        f"source, then `ml-platform quarantine replay {next(iter(held))}`"
        if held
        else f"once their cause is mended, {holds} lets them train again; then run the same again"
        if holds
        else "materialise features and labels over that range, then build the dataset again",
    )


def _manifest(platform: Platform, target: Target, parts: Sequence[PartitionObjects]) -> Manifest:
    use_case, compiled = target.use_case, compiled_views(target.use_case)
    schema = read_table(platform.lake.get(parts[0].features)).schema
    missing = [f for f in target.model.feature_names if f not in schema.names]
    if missing:
        raise NotReadyError(
            f"the features lack {', '.join(missing)}",
            where=f"dbt model {compiled.features.name}",
            fix="select them in the SQL, or take them out of the model's features in use_case.yaml",
        )
    return Manifest(
        model_key=target.key,
        partitions=tuple(parts),
        key=use_case.config.views.key,
        features=tuple((f, str(schema.field(f).type)) for f in target.model.feature_names),
        label=target.model.label.column,
        contracts=contract_digests(use_case),
        feature_version=compiled.feature_version,
        label_version=compiled.label_version,
    )


def _details(manifest: Manifest, left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "train": asdict(Span.of([p.partition for p in manifest.of("train")])),
        "gate": asdict(Span.of([p.partition for p in manifest.of("gate")])),
        "left_out": left_out,
    }


def _outcomes(platform: Platform, target: Target, manifest: Manifest) -> dict[str, float]:
    columns = [read_table(platform.lake.get(p.labels))[manifest.label] for p in manifest.partitions]
    codes = np.concatenate([target.kind.encode(c, manifest.label) for c in columns])
    return target.kind.summary(codes[~np.isnan(codes)])
