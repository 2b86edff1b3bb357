"""A model as bytes that are equal for equal models, and back again without executing anything.

The bundle is an uncompressed tar of two files: ``bundle.json`` (all but the estimator) and the estimator
in its own portable form (``model.txt``, LightGBM's text; ``model.skops``, a skops archive). Library
versions are part of it: they are code, and another version may fit another model.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_platform.errors import IntegrityError
from ml_platform.modeling.calibration import Calibrator, Method
from ml_platform.modeling.encoding import Encoder, FeatureKind
from ml_platform.modeling.estimators import KINDS, EstimatorName
from ml_platform.modeling.model import Model, Provenance
from ml_platform.modeling.parameters import Value

BUNDLE_SCHEMA = 1
HEADER = "bundle.json"
FORMAT = "ml-platform-model"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Calibrator(_Strict):
    method: Method
    x: tuple[float, ...]
    y: tuple[float, ...]


class _Provenance(_Strict):
    dataset_version: str
    code_versions: dict[str, str]
    seed: int
    partitions: tuple[str, str]
    partition_count: int
    rows: int
    library_versions: dict[str, str]


class _Header(_Strict):
    """``bundle.json``."""

    format: Literal["ml-platform-model"]
    schema_version: int
    kind: Literal["binary"]
    estimator: EstimatorName
    model_key: str
    label: str
    parameters: dict[str, Value]
    features: tuple[tuple[str, FeatureKind], ...] = Field(min_length=1)
    vocabularies: dict[str, tuple[str, ...]]
    calibrator: _Calibrator
    base_rate: float = Field(ge=0, le=1)
    importance: dict[str, float]
    provenance: _Provenance


def to_bytes(model: Model) -> bytes:
    """The bundle of a model."""
    header = {
        "format": FORMAT,
        "schema_version": BUNDLE_SCHEMA,
        "kind": "binary",
        "estimator": model.estimator,
        "model_key": model.model_key,
        "label": model.label,
        "parameters": dict(model.parameters),
        "features": model.encoder.features,
        "vocabularies": dict(model.encoder.vocabularies),
        "calibrator": asdict(model.calibrator),
        "base_rate": model.base_rate,
        "importance": dict(model.importance),
        "provenance": asdict(model.provenance),
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _tar({HEADER: text.encode("utf-8"), KINDS[model.estimator].file: model.fitted.to_bytes()})


def digest(data: bytes) -> str:
    """SHA-256 of a bundle, in hex: the model's identity."""
    return hashlib.sha256(data).hexdigest()


def from_bytes(data: bytes, expected_digest: str) -> Model:
    """Read a bundle.

    Args:
        data: Its bytes.
        expected_digest: SHA-256 that the ledger promises; nothing is read from other bytes.

    Raises:
        IntegrityError: The digest differs, or it is no bundle that this version can read: not a tar,
            other files, another format or schema, a type that is not allowed.
    """
    if digest(data) != expected_digest:
        raise _refused(
            f"its SHA-256 is {digest(data)}, not {expected_digest}",
            fix="restore the object from a backup, or roll back to an earlier model",
        )
    files = _untar(data)
    header = _header(files)
    kind = KINDS[header.estimator]
    if set(files) != {HEADER, kind.file}:
        raise _refused(f"it holds {', '.join(sorted(files))}, not {HEADER} and {kind.file}")
    encoder = Encoder(header.features, header.vocabularies)
    return Model(
        model_key=header.model_key,
        estimator=header.estimator,
        label=header.label,
        parameters=header.parameters,
        encoder=encoder,
        fitted=kind.load(files[kind.file], encoder),
        calibrator=Calibrator(**header.calibrator.model_dump()),
        base_rate=header.base_rate,
        importance=header.importance,
        provenance=Provenance(**header.provenance.model_dump()),
    )


def _header(files: Mapping[str, bytes]) -> _Header:
    try:
        content = json.loads(files[HEADER])
        schema = content["schema_version"]
        if content.get("format") != FORMAT or schema != BUNDLE_SCHEMA:
            raise _refused(
                f"its format is {content.get('format')!r}, schema {schema!r}; "
                f"this version reads {FORMAT!r}, schema {BUNDLE_SCHEMA}",
                fix="read it with the version of the platform that wrote it, or train again",
            )
        header = _Header.model_validate(content)
    except (KeyError, TypeError, AttributeError, ValidationError, ValueError) as error:
        raise _refused(f"{HEADER} cannot be read: {error}") from error
    categorical = {name for name, kind in header.features if kind == "categorical"}
    if categorical != set(header.vocabularies):
        raise _refused("its vocabularies are not those of its categorical features")
    _check_calibrator(header.calibrator)
    return header


def _check_calibrator(calibrator: _Calibrator) -> None:
    sizes = {"none": (0, 0), "platt": (1, 1)}
    expected = sizes.get(calibrator.method, (max(1, len(calibrator.x)),) * 2)
    if (len(calibrator.x), len(calibrator.y)) != expected:
        raise _refused(f"its {calibrator.method} calibrator has the wrong number of parameters")


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            # A new TarInfo has time, owner and group 0, and mode 0644.
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


def _untar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isfile() else None
                if content is None or entry.name in files:
                    raise _refused(f"'{entry.name}' is not one plain file")
                files[entry.name] = content.read()
    except (tarfile.TarError, OSError, ValueError) as error:
        raise _refused(f"it is not a tar archive: {error}") from error
    return files


def _refused(why: str, fix: str = "roll back to an earlier model, or train again") -> IntegrityError:
    return IntegrityError(f"the model bundle is refused: {why}", where="model bundle", fix=fix)
