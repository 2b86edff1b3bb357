"""Dataset versions: a manifest of immutable partition objects, named by the hash of what it says.

The version is the hash of the ordered partition objects, the schema and the versions of contract, feature
and label code. When it was built and how mature its labels were stand in the ledger beside it, so that the
same inputs give the same version on any day. Versions share partition objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from sqlalchemy import select

from ml_platform.errors import IntegrityError, NotFoundError, NotReadyError, PlatformError
from ml_platform.storage.lake import Lake
from ml_platform.storage.ledger import Ledger, wall_now
from ml_platform.storage.parquet import read_table, write_table
from ml_platform.storage.tables import COMMITTED, REQUESTED, Dataset

MANIFEST_SCHEMA = 1
VERSION_LENGTH = 16
Role = Literal["train", "gate"]


@dataclass(frozen=True)
class PartitionObjects:
    """One partition of a dataset version: digests of its objects and their rows."""

    partition: str
    role: Role
    features: str
    labels: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """What a dataset version consists of.

    Attributes:
        model_key: The model it is for.
        partitions: Its partitions in order, training before gate.
        key: Columns that join features and labels, besides ``partition_key``.
        features: Feature columns with their Arrow types.
        label: The label column.
        contracts: Contract digest by feed.
        feature_version: Hash of the feature code.
        label_version: Hash of the label code.
    """

    model_key: str
    partitions: tuple[PartitionObjects, ...]
    key: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    label: str
    contracts: Mapping[str, str]
    feature_version: str
    label_version: str
    schema: int = MANIFEST_SCHEMA

    @cached_property
    def version(self) -> str:
        """The version's name: the first 16 hex digits of the manifest's SHA-256."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:VERSION_LENGTH]

    @property
    def rows(self) -> int:
        """Labelled rows."""
        return sum(p.rows for p in self.partitions)

    def of(self, role: Role) -> list[PartitionObjects]:
        """The partitions with a role."""
        return [p for p in self.partitions if p.role == role]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The manifest in these bytes.

        Raises:
            IntegrityError: They hold no manifest of this format.
        """
        try:
            raw = json.loads(data)
            if raw["schema"] != MANIFEST_SCHEMA:
                raise IntegrityError(
                    f"the manifest has format {raw['schema']}, this version reads {MANIFEST_SCHEMA}",
                    fix="use the version of ml-platform that wrote it",
                )
            raw["partitions"] = tuple(PartitionObjects(**p) for p in raw["partitions"])
            raw["features"] = tuple((n, t) for n, t in raw["features"])
            raw["key"] = tuple(raw["key"])
            return cls(**raw)
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                "these bytes are no dataset manifest", fix="build the dataset version again"
            ) from error


@dataclass(frozen=True)
class Difference:
    """What changed from one version to another."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    shared: int
    rows: tuple[int, int]
    code: dict[str, tuple[str, str]]
    schema: dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Verification:
    """Whether every object of a version is there and whole."""

    version: str
    objects: int
    problems: list[str]

    @property
    def ok(self) -> bool:
        """No problem was found."""
        return not self.problems


def publish(
    lake: Lake, ledger: Ledger, manifest: Manifest, as_of: datetime, details: dict[str, Any]
) -> tuple[Dataset, bool]:
    """Publish a version; one that is there already is left as it is.

    Returns:
        The ledger's entry, and whether it is new.

    Raises:
        NotReadyError: There are no labelled rows.
    """
    if not manifest.rows:
        raise NotReadyError(
            "the dataset would be empty: no labelled row in its partitions",
            where=manifest.model_key,
            fix="materialise features and labels for the training window, and see that labels are mature",
        )
    with ledger.begin() as session:
        known = session.get(Dataset, manifest.version)
    if known is not None and known.status == COMMITTED and lake.exists(known.manifest_digest):
        return known, False
    row = Dataset(
        version=manifest.version,
        model_key=manifest.model_key,
        status=REQUESTED,
        manifest_digest=hashlib.sha256(manifest.to_bytes()).hexdigest(),
        rows=manifest.rows,
        first_partition=manifest.partitions[0].partition,
        last_partition=manifest.partitions[-1].partition,
        as_of=as_of,
        recorded_at=wall_now(),
        details=details,
    )
    with ledger.begin() as session:
        session.merge(row)
    lake.put(manifest.to_bytes())
    commit(ledger, manifest.version)
    return find(ledger, manifest.version), True


def commit(ledger: Ledger, version: str) -> None:
    """Put a requested version in force."""
    with ledger.begin() as session:
        row = session.get(Dataset, version)
        assert row is not None
        row.status = COMMITTED


def versions(ledger: Ledger, model_key: str | None = None) -> list[Dataset]:
    """Committed versions, newest first."""
    query = select(Dataset).where(Dataset.status == COMMITTED).order_by(Dataset.recorded_at.desc())
    if model_key:
        query = query.where(Dataset.model_key == model_key)
    with ledger.begin() as session:
        return list(session.scalars(query))


def find(ledger: Ledger, version: str) -> Dataset:
    """A committed version by its name or an unambiguous beginning of it.

    Raises:
        NotFoundError: There is none, or several.
    """
    found = [d for d in versions(ledger) if d.version.startswith(version)] if version else []
    if len(found) != 1:
        raise NotFoundError(
            f"{len(found) or 'no'} dataset version(s) begin with '{version}'",
            where="ledger",
            fix="`ml-platform dataset list` shows them",
        )
    return found[0]


def manifest_of(lake: Lake, dataset: Dataset) -> Manifest:
    """The manifest of a version, verified."""
    return Manifest.from_bytes(lake.get(dataset.manifest_digest))


def load(lake: Lake, manifest: Manifest, role: Role | None = None) -> pa.Table:
    """The labelled rows of a version (or of one role), in order of partition and key.

    Returns:
        ``partition_key``, the key, the features, the label and ``role``.

    Raises:
        IntegrityError: An object is not what the manifest says.
    """
    parts = manifest.of(role) if role else list(manifest.partitions)
    lake.paths(d for p in parts for d in (p.features, p.labels))
    tables = [load_partition(lake, manifest, p) for p in parts]
    return pa.concat_tables(tables) if tables else _labelled_schema(manifest).empty_table()


def labelled_rows(features: pa.Table, labels: pa.Table, key: Sequence[str], label: str) -> pa.Table:
    """Features joined with the known labels of one partition, in order of key."""
    known = labels.filter(labels[label].is_valid()).select(["partition_key", *key, label])
    joined = features.join(known, keys=["partition_key", *key], join_type="inner")
    return joined.sort_by([("partition_key", "ascending"), *((k, "ascending") for k in key)])


def verify(lake: Lake, dataset: Dataset) -> Verification:
    """Hash every object of a version again."""
    problems: list[str] = []
    try:
        manifest = manifest_of(lake, dataset)
    except PlatformError as error:
        return Verification(dataset.version, 0, [f"manifest: {error.what}"])
    if manifest.version != dataset.version:
        problems.append("manifest: it belongs to another version")
    checked = 0
    for part in manifest.partitions:
        for kind, digest in (("features", part.features), ("labels", part.labels)):
            checked += 1
            try:
                lake.get(digest)
            except PlatformError as error:
                problems.append(f"{part.partition} {kind}: {error.what}")
    return Verification(dataset.version, checked, problems)


def diff(old: Manifest, new: Manifest) -> Difference:
    """What changed from ``old`` to ``new``."""
    before = {p.partition: p for p in old.partitions}
    after = {p.partition: p for p in new.partitions}
    both = before.keys() & after.keys()
    changed = sorted(p for p in both if before[p] != after[p])
    codes = {
        f"contract {feed}": (old.contracts.get(feed, ""), new.contracts.get(feed, ""))
        for feed in sorted(old.contracts.keys() | new.contracts.keys())
    } | {
        "feature code": (old.feature_version, new.feature_version),
        "label code": (old.label_version, new.label_version),
    }
    types = (dict(old.features), dict(new.features))
    return Difference(
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        changed=changed,
        shared=len(both) - len(changed),
        rows=(old.rows, new.rows),
        code={name: pair for name, pair in codes.items() if pair[0] != pair[1]},
        schema={
            name: (types[0].get(name), types[1].get(name))
            for name in sorted(types[0].keys() | types[1].keys())
            if types[0].get(name) != types[1].get(name)
        },
    )


def checkout(lake: Lake, dataset: Dataset, target: Path) -> Path:
    """Write a version's labelled rows as one Parquet file, with its manifest beside it."""
    manifest = manifest_of(lake, dataset)
    target.mkdir(parents=True, exist_ok=True)
    file = target / f"{dataset.version}.parquet"
    file.write_bytes(write_table(load(lake, manifest)))
    (target / f"{dataset.version}.manifest.json").write_bytes(manifest.to_bytes())
    return file


def load_partition(lake: Lake, manifest: Manifest, part: PartitionObjects) -> pa.Table:
    """The labelled rows of one partition of a version, in order of key.

    Raises:
        IntegrityError: An object is not what the manifest says.
    """
    key = ("partition_key", *manifest.key)
    features = _own(lake, manifest, part, part.features, (*key, *(n for n, _ in manifest.features)))
    labels = _own(lake, manifest, part, part.labels, (*key, manifest.label))
    table = labelled_rows(features, labels, manifest.key, manifest.label)
    if table.num_rows != part.rows:
        raise IntegrityError(
            f"partition {part.partition} has {table.num_rows} labelled rows, the manifest says {part.rows}",
            where=f"dataset {manifest.version}",
            fix="run `ml-platform dataset verify`; build the version again",
        )
    role = pa.array([part.role] * table.num_rows, pa.string())
    return table.select(_columns(manifest)).append_column("role", role)


def _own(
    lake: Lake, manifest: Manifest, part: PartitionObjects, digest: str, columns: Sequence[str]
) -> pa.Table:
    """These columns of an object, whose rows must all be of the partition."""
    where = f"dataset {manifest.version}, object {digest}"
    table = read_table(lake.get(digest), list(dict.fromkeys(columns)), where=where)
    if others := set(table["partition_key"].unique().to_pylist()) - {part.partition}:
        raise IntegrityError(
            f"an object of partition {part.partition} has rows of {', '.join(map(str, sorted(others)))}",
            where=where,
            fix="run `ml-platform dataset verify`; build the version again",
        )
    return table


def _columns(manifest: Manifest) -> list[str]:
    """Columns of a labelled row; a key column may be a feature too."""
    names = ["partition_key", *manifest.key, *(n for n, _ in manifest.features), manifest.label]
    return list(dict.fromkeys(names))


def _labelled_schema(manifest: Manifest) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in [*_columns(manifest), "role"]])
