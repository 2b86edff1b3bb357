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
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_platform.errors import IntegrityError
from ml_platform.kinds.of import kind_named
from ml_platform.model_config import EstimatorName, KindName
from ml_platform.modeling.calibration import FITS, Calibrator, Method
from ml_platform.modeling.encoding import Encoder, FeatureKind
from ml_platform.modeling.estimators import ESTIMATORS
from ml_platform.modeling.intervals import Interval
from ml_platform.modeling.model import Model, Provenance
from ml_platform.modeling.parameters import Value
from ml_platform.modeling.task import Objective, Task

BUNDLE_SCHEMA = 1
HEADER = "bundle.json"
FORMAT = "ml-platform-model"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Calibrator(_Strict):
    method: Method
    x: tuple[float, ...]
    y: tuple[float, ...]


class _Interval(_Strict):
    edges: tuple[float, ...]
    low: tuple[float, ...] = Field(min_length=1)
    high: tuple[float, ...] = Field(min_length=1)
    share: float = Field(gt=0, lt=1)
    least: float | None = None


class _Provenance(_Strict):
    dataset_version: str
    code_versions: dict[str, str]
    seed: int
    partitions: tuple[str, str]
    partition_count: int
    rows: int
    library_versions: dict[str, str]


class _Header(_Strict):
    """``bundle.json``. A binary model's is as it was before there were other kinds, digest included."""

    format: Literal["ml-platform-model"]
    schema_version: int
    kind: KindName
    estimator: EstimatorName
    model_key: str
    label: str
    parameters: dict[str, Value]
    features: tuple[tuple[str, FeatureKind], ...] = Field(min_length=1)
    vocabularies: dict[str, tuple[str, ...]]
    calibrator: _Calibrator
    base_rate: float | None = Field(default=None, ge=0, le=1)
    constant: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    objective: Objective = "squared_error"
    interval: _Interval | None = None
    importance: dict[str, float]
    provenance: _Provenance


def to_bytes(model: Model) -> bytes:
    """The bundle of a model."""
    header = {
        "format": FORMAT,
        "schema_version": BUNDLE_SCHEMA,
        "kind": model.kind.name,
        "estimator": model.estimator,
        "model_key": model.model_key,
        "label": model.label,
        "parameters": dict(model.parameters),
        "features": model.encoder.features,
        "vocabularies": dict(model.encoder.vocabularies),
        "calibrator": asdict(model.calibrator),
        "importance": dict(model.importance),
        "provenance": asdict(model.provenance),
        **_OWN[model.kind.name](model),
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _tar({HEADER: text.encode("utf-8"), ESTIMATORS[model.estimator].file: model.fitted.to_bytes()})


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
    estimator = ESTIMATORS[header.estimator]
    if set(files) != {HEADER, estimator.file}:
        raise _refused(f"it holds {', '.join(sorted(files))}, not {HEADER} and {estimator.file}")
    encoder = Encoder(header.features, header.vocabularies)
    task = Task(kind_named(header.kind, header.classes), header.objective)
    return Model(
        model_key=header.model_key,
        estimator=header.estimator,
        label=header.label,
        parameters=header.parameters,
        encoder=encoder,
        fitted=estimator.load(files[estimator.file], encoder, task),
        task=task,
        calibrator=Calibrator(**header.calibrator.model_dump()),
        constant=header.constant if header.base_rate is None else (header.base_rate,),
        importance=header.importance,
        provenance=Provenance(**header.provenance.model_dump()),
        interval=Interval(**header.interval.model_dump()) if header.interval else None,
    )


def _binary(model: Model) -> dict[str, Any]:
    return {"base_rate": model.constant[0]}


def _regression(model: Model) -> dict[str, Any]:
    interval = asdict(model.interval) if model.interval else None
    return {"constant": model.constant, "objective": model.task.objective, "interval": interval}


def _multiclass(model: Model) -> dict[str, Any]:
    return {"constant": model.constant, "classes": model.kind.classes}


_OWN: Mapping[KindName, Callable[[Model], dict[str, Any]]] = {
    "binary": _binary,
    "regression": _regression,
    "multiclass": _multiclass,
}
"""Fields of the header that one kind has."""


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
    _check_calibrator(header)
    interval = header.interval
    if interval and not len(interval.edges) + 1 == len(interval.low) == len(interval.high):
        raise _refused("its interval has the wrong number of bands")
    return header


def _check_calibrator(header: _Header) -> None:
    calibrator, channels = header.calibrator, max(1, len(header.classes))
    if calibrator.method not in FITS[header.kind]:
        raise _refused(f"a {calibrator.method} calibrator is none of a {header.kind} model")
    if len(header.constant if header.base_rate is None else (header.base_rate,)) != channels:
        raise _refused("its constant is not that of its classes")
    sizes = {
        "none": (0, 0),
        "platt": (1, 1),
        "linear": (1, 1),
        "temperature": (1, 0),
        "bias_corrected": (1, channels),
    }
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
