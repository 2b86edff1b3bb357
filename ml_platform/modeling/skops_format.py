"""skops archives that are equal for equal objects, and that hold nothing but what we allow.

skops names arrays and objects after memory addresses and stamps its archive with the time; both are
replaced. It also trusts far more types than one pipeline needs; here each type must be on our own list
before skops sees the archive. It is imported where an archive is made or read: that costs a CPU-second, and
most bundles hold none.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

from ml_platform.errors import IntegrityError

SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOADERS = frozenset(
    {
        "DTypeNode",
        "DictNode",
        "JsonNode",
        "ListNode",
        "NdArrayNode",
        "ObjectNode",
        "SliceNode",
        "TupleNode",
        "TypeNode",
    }
)
"""Nodes that hold data. Those that name functions, methods or partials are never read."""


def dumps(value: Any) -> bytes:
    """The archive of a scikit-learn object, without times and memory addresses."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(value))) as archive:
        schema = json.loads(archive.read(SCHEMA))
        arrays = {name: archive.read(name) for name in archive.namelist() if name != SCHEMA}
    names = {old: f"{hashlib.sha256(data).hexdigest()[:24]}.npy" for old, data in arrays.items()}
    for number, node in enumerate(_nodes(schema)):
        if "__id__" in node:
            node["__id__"] = number
        if "file" in node:
            node["file"] = names[node["file"]]
    files = {names[old]: data for old, data in arrays.items()}
    files[SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    return _archive(files)


def loads(data: bytes, allowed: Collection[str]) -> Any:
    """Read an archive that holds only allowed types.

    Args:
        data: The archive.
        allowed: Full names of the types that may be made.

    Raises:
        IntegrityError: It is damaged, or names a type that is not allowed.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            schema = json.loads(archive.read(SCHEMA))
        foreign = sorted(_foreign(schema, allowed))
        if foreign:
            raise _refused(f"it holds types that are not allowed: {', '.join(foreign)}")
        found = set(skops.io.get_untrusted_types(data=data))
        return skops.io.loads(data, trusted=sorted(found & set(allowed)))
    except (
        zipfile.BadZipFile,
        UntrustedTypesFoundException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        NotImplementedError,
    ) as error:
        raise _refused(f"it cannot be read: {error}") from error


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a schema, parents first, in the order in which they stand."""
    if isinstance(value, dict):
        if "__class__" in value:
            yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


def _foreign(schema: Any, allowed: Collection[str]) -> set[str]:
    """Types and loaders of a schema that are not allowed."""
    nodes = list(_nodes(schema))
    types = {f"{n.get('__module__')}.{n['__class__']}" for n in nodes} - set(allowed)
    loaders = {str(n.get("__loader__")) for n in nodes} - _LOADERS
    return types | {f"node {loader}" for loader in loaders}


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name])
    return buffer.getvalue()


def _refused(why: str) -> IntegrityError:
    return IntegrityError(
        f"the scikit-learn model is refused: {why}",
        where="model.skops of the bundle",
        fix="roll back to an earlier model, or train again",
    )
