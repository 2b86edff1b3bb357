"""Dataset versions are named by what they consist of, share objects, and can be verified."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.datasets import versions
from ml_platform.datasets.versions import Manifest, PartitionObjects, Role
from ml_platform.errors import IntegrityError, NotFoundError, NotReadyError
from ml_platform.storage.lake import LocalLake
from ml_platform.storage.ledger import Ledger
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Dataset

NOW = datetime(2024, 3, 1, tzinfo=UTC)
DETAILS = {"train": {}, "gate": {}, "left_out": {}}
Stores = tuple[LocalLake, Ledger]


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return LocalLake(tmp_path / "lake"), Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def part(
    lake: LocalLake, day: str, role: Role, weights: list[float], labels: list[int | None]
) -> PartitionObjects:
    depots = [f"d{i}" for i in reversed(range(len(weights)))]
    keys = {"partition_key": [day] * len(weights), "depot": depots}
    features = lake.put(write_table(pa.table({**keys, "weight": weights, "unused": weights})))
    truth = lake.put(write_table(pa.table({**keys, "late": pa.array(labels, pa.int32())})))
    return PartitionObjects(day, role, features, truth, sum(label is not None for label in labels))


def manifest(*parts: PartitionObjects) -> Manifest:
    return Manifest(
        model_key="parcels/late",
        partitions=parts,
        key=("depot",),
        features=(("weight", "double"),),
        label="late",
        contracts={"parcels": "c1"},
        feature_version="f1",
        label_version="l1",
    )


def example(lake: LocalLake) -> Manifest:
    return manifest(
        part(lake, "2024-01-01", "train", [1.0, 2.0, 3.0], [0, 1, None]),
        part(lake, "2024-01-02", "gate", [4.0, 5.0], [1, 0]),
    )


def publish(stores: Stores, given: Manifest, at: datetime = NOW) -> tuple[Dataset, bool]:
    return versions.publish(*stores, given, at, DETAILS)


def spoil(lake: LocalLake, digest: str) -> None:
    file = lake.path(digest)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def test_a_version_is_named_by_its_content_and_not_by_its_day(stores: Stores) -> None:
    given = example(stores[0])
    row, new = publish(stores, given)
    again, new_again = publish(stores, example(stores[0]), NOW + timedelta(days=3))
    assert new and not new_again and row.version == again.version == given.version
    assert given.version == hashlib.sha256(given.to_bytes()).hexdigest()[:16]
    assert again.as_of == NOW and again.rows == 4
    for change in (
        {"label_version": "l2"},
        {"contracts": {"parcels": "c2"}},
        {"features": (("weight", "float"),)},
    ):
        assert replace(given, **change).version != given.version  # type: ignore[arg-type]


def test_labelled_rows_come_in_order_with_their_role(stores: Stores) -> None:
    rows = versions.load(stores[0], example(stores[0]))
    assert rows.column_names == ["partition_key", "depot", "weight", "late", "role"]
    assert rows["depot"].to_pylist() == ["d1", "d2", "d0", "d1"]
    assert rows["weight"].to_pylist() == [2.0, 1.0, 5.0, 4.0] and rows["late"].to_pylist() == [1, 0, 0, 1]
    assert versions.load(stores[0], example(stores[0]), "gate")["role"].to_pylist() == ["gate"] * 2


def test_a_manifest_comes_back_as_it_was(stores: Stores) -> None:
    given = example(stores[0])
    row, _ = publish(stores, given)
    assert versions.manifest_of(stores[0], row) == given
    for spoilt in (b"{}", b"no json", given.to_bytes().replace(b'"schema":1', b'"schema":2')):
        with pytest.raises(IntegrityError):
            Manifest.from_bytes(spoilt)


def test_a_version_is_found_by_an_unambiguous_beginning(stores: Stores) -> None:
    row, _ = publish(stores, example(stores[0]))
    other, _ = publish(stores, replace(example(stores[0]), label_version="l2"), NOW + timedelta(days=1))
    assert versions.find(stores[1], row.version[:6]).version == row.version
    assert [d.version for d in versions.versions(stores[1], "parcels/late")] == [other.version, row.version]
    assert versions.versions(stores[1], "parcels/other") == []
    for unknown in ("zzz", ""):
        with pytest.raises(NotFoundError, match="dataset list"):
            versions.find(stores[1], unknown)


def test_what_was_only_requested_is_no_version(stores: Stores) -> None:
    row, _ = publish(stores, example(stores[0]))
    with stores[1].begin() as session:
        session.get(Dataset, row.version).status = "requested"  # type: ignore[union-attr]
    with pytest.raises(NotFoundError):
        versions.find(stores[1], row.version)
    assert publish(stores, example(stores[0]))[1], "published again, it is in force"
    assert versions.find(stores[1], row.version).status == "committed"


def test_a_difference_names_partitions_code_and_columns(stores: Stores) -> None:
    lake = stores[0]
    old = example(lake)
    new = replace(
        manifest(
            part(lake, "2024-01-02", "gate", [4.0, 6.0], [1, 0]),
            part(lake, "2024-01-03", "gate", [7.0], [1]),
        ),
        feature_version="f2",
        contracts={"parcels": "c1", "depots": "c9"},
        features=(("weight", "double"), ("colour", "string")),
    )
    found = versions.diff(old, new)
    assert (found.added, found.removed, found.changed) == (["2024-01-03"], ["2024-01-01"], ["2024-01-02"])
    assert (found.shared, found.rows) == (0, (4, 3))
    assert found.code == {"feature code": ("f1", "f2"), "contract depots": ("", "c9")}
    assert found.schema == {"colour": (None, "string")}
    same = versions.diff(old, old)
    assert same.shared == 2 and not (same.added or same.removed or same.changed or same.code or same.schema)


def test_verification_finds_what_is_spoilt_and_what_is_gone(stores: Stores) -> None:
    lake, given = stores[0], example(stores[0])
    row, _ = publish(stores, given)
    sound = versions.verify(lake, row)
    assert sound.ok and sound.objects == 4
    spoil(lake, given.partitions[0].labels)
    lake.path(given.partitions[1].features).unlink()
    problems = versions.verify(lake, row).problems
    assert [p.split(":")[0] for p in problems] == ["2024-01-01 labels", "2024-01-02 features"]
    spoil(lake, row.manifest_digest)
    assert versions.verify(lake, row).problems[0].startswith("manifest:")


def test_a_spoilt_object_or_wrong_count_is_not_trained_on(stores: Stores) -> None:
    lake, given = stores[0], example(stores[0])
    more = replace(given, partitions=(replace(given.partitions[0], rows=3), given.partitions[1]))
    with pytest.raises(IntegrityError, match="2 labelled rows, the manifest says 3"):
        versions.load(lake, more)
    spoil(lake, given.partitions[1].features)
    with pytest.raises(IntegrityError, match="other bytes"):
        versions.load(lake, given)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no table at all", "no readable Parquet"),
        (write_table(pa.table({"partition_key": ["2024-01-01"], "shop": ["s1"]})), "depot"),
        (
            write_table(pa.table({"partition_key": ["2024-05-05"], "depot": ["d0"], "weight": [1.0]})),
            "has rows of 2024-05-05",
        ),
    ],
)
def test_an_object_of_another_dataset_is_not_trained_on(stores: Stores, data: bytes, why: str) -> None:
    lake, given = stores[0], example(stores[0])
    first = replace(given.partitions[0], features=lake.put(data))
    with pytest.raises(IntegrityError, match=why):
        versions.load(lake, replace(given, partitions=(first, given.partitions[1])))


def test_a_checkout_is_one_file_with_its_manifest(stores: Stores, tmp_path: Path) -> None:
    row, _ = publish(stores, example(stores[0]))
    file = versions.checkout(stores[0], row, tmp_path / "out")
    assert pq.read_table(file).equals(versions.load(stores[0], example(stores[0])))
    beside = Manifest.from_bytes((tmp_path / "out" / f"{row.version}.manifest.json").read_bytes())
    assert beside.version == row.version


def test_a_version_without_labelled_rows_is_refused(stores: Stores) -> None:
    with pytest.raises(NotReadyError, match="no labelled row"):
        publish(stores, manifest(part(stores[0], "2024-01-01", "train", [1.0], [None])))
    assert versions.versions(stores[1]) == []
