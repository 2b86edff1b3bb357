"""Bundles come back as they were, or not at all."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.modeling import bundle
from ml_platform.modeling.train import TrainedModel

from .parcels import parcels


def _files(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {e.name: archive.extractfile(e).read() for e in archive}  # type: ignore[union-attr]


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _with_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    files = _files(data)
    header = json.loads(files["bundle.json"])
    change(header)
    return _tar({**files, "bundle.json": json.dumps(header).encode()})


def _read(data: bytes) -> object:
    """Read bytes whose digest is right, as a forger's would be."""
    return bundle.from_bytes(data, bundle.digest(data))


def test_a_bundle_comes_back_as_it_was(either: TrainedModel) -> None:
    data = bundle.to_bytes(either.model)
    again = bundle.from_bytes(data, bundle.digest(data))
    rows = parcels(days=2, seed=9)
    assert np.array_equal(again.predict(rows), either.model.predict(rows))
    assert bundle.to_bytes(again) == data
    assert again.provenance == either.model.provenance
    assert (again.calibrator, again.encoder) == (either.model.calibrator, either.model.encoder)


def test_a_changed_byte_is_found_before_anything_is_read(either: TrainedModel) -> None:
    data = bundle.to_bytes(either.model)
    changed = data[:700] + bytes([data[700] ^ 1]) + data[701:]
    with pytest.raises(IntegrityError, match="SHA-256"):
        bundle.from_bytes(changed, bundle.digest(data))


@pytest.mark.parametrize("foreign", [b"", b"not a tar at all", pickle.dumps({"model": 1}), bytes(4096)])
def test_what_is_no_tar_or_empty_is_refused(foreign: bytes) -> None:
    with pytest.raises(IntegrityError, match="refused"):
        _read(foreign)


def test_a_bundle_that_is_cut_short_is_refused(either: TrainedModel) -> None:
    with pytest.raises(IntegrityError, match=r"refused|no LightGBM"):
        _read(bundle.to_bytes(either.model)[:3000])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda h: h.update(schema_version=2), "schema 2; this version reads"),
        (lambda h: h.update(format="other"), "'other'"),
        (lambda h: h.update(estimator="forest"), "estimator"),
        (lambda h: h.update(kind="ranking"), "kind"),
        (lambda h: h.update(allow=["os.system"]), "allow"),
        (lambda h: h.pop("calibrator"), "calibrator"),
        (lambda h: h["vocabularies"].clear(), "vocabularies"),
        (lambda h: h["calibrator"].update(method="platt"), "platt calibrator"),
        (lambda h: h.update(base_rate=1.5), "base_rate"),
    ],
)
def test_a_foreign_header_is_refused(
    either: TrainedModel, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    with pytest.raises(IntegrityError, match=why):
        _read(_with_header(bundle.to_bytes(either.model), change))


def test_the_other_kinds_file_is_refused(boosting: TrainedModel, logistic: TrainedModel) -> None:
    data = _with_header(bundle.to_bytes(boosting.model), lambda h: h.update(estimator="logistic"))
    with pytest.raises(IntegrityError, match=r"model\.skops"):
        _read(data)
    files = _files(bundle.to_bytes(logistic.model))
    swapped = _tar({**_files(bundle.to_bytes(boosting.model)), "model.txt": files["model.skops"]})
    with pytest.raises(IntegrityError, match="no LightGBM model"):
        _read(swapped)


def test_files_that_do_not_belong_are_refused(boosting: TrainedModel) -> None:
    files = _files(bundle.to_bytes(boosting.model))
    with pytest.raises(IntegrityError, match=r"evil\.pkl"):
        _read(_tar({**files, "evil.pkl": pickle.dumps(1)}))
    with pytest.raises(IntegrityError, match=r"bundle\.json"):
        _read(_tar({"model.txt": files["model.txt"]}))


def test_a_link_in_the_tar_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(IntegrityError, match="not one plain file"):
        _read(buffer.getvalue())


def test_nothing_of_the_machine_is_in_the_tar(either: TrainedModel) -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle.to_bytes(either.model))) as archive:
        entries = archive.getmembers()
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname) for e in entries} == {(0, 0, 0, "", "")}
    assert [e.name for e in entries] == sorted(e.name for e in entries)
