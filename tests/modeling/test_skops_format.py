"""Archives are equal for equal objects, and types we do not allow are never made."""

import io
import json
import operator
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ml_platform.errors import IntegrityError
from ml_platform.modeling import skops_format
from ml_platform.modeling.linear import ALLOWED_TYPES


def _scaler() -> StandardScaler:
    return StandardScaler().fit(np.arange(12.0).reshape(4, 3))


def test_equal_objects_give_equal_bytes() -> None:
    kept = [_scaler() for _ in range(3)]
    assert len({skops_format.dumps(s) for s in kept}) == 1
    assert skops.io.dumps(kept[0]) != skops.io.dumps(kept[1])


def test_what_was_written_is_read_back() -> None:
    scaler = _scaler()
    again = skops_format.loads(skops_format.dumps(scaler), ALLOWED_TYPES)
    row = np.array([[5.0, 1.0, 2.0]])
    assert np.array_equal(again.transform(row), scaler.transform(row))


@pytest.mark.parametrize(
    "foreign",
    [DummyClassifier(), FunctionTransformer(np.sin), operator.methodcaller("read")],
)
def test_types_that_are_not_allowed_are_refused_by_name(foreign: object) -> None:
    with pytest.raises(IntegrityError, match="not allowed"):
        skops_format.loads(skops.io.dumps(foreign), ALLOWED_TYPES)


def test_a_node_that_would_run_code_is_refused_before_it_is_made(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    node = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "MethodNode",
        "__id__": 1,
        "content": {"func": "touch", "obj": str(mark)},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(node))
    with pytest.raises(IntegrityError, match="node MethodNode"):
        skops_format.loads(buffer.getvalue(), ALLOWED_TYPES)
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut short", b"\x80\x04."])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        skops_format.loads(data, ALLOWED_TYPES)


def test_an_archive_without_one_of_its_arrays_is_refused() -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops_format.dumps(_scaler()))) as whole,
        zipfile.ZipFile(buffer, "w") as part,
    ):
        part.writestr("schema.json", whole.read("schema.json"))
    with pytest.raises(IntegrityError, match="cannot be read"):
        skops_format.loads(buffer.getvalue(), ALLOWED_TYPES)
