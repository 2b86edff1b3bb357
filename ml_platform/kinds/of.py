"""The kind of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml_platform.kinds.base import Kind
from ml_platform.kinds.binary import Binary
from ml_platform.kinds.multiclass import Multiclass
from ml_platform.kinds.regression import Regression
from ml_platform.model_config import KindName, ModelConfig

KINDS: Mapping[KindName, type[Kind]] = {k.name: k for k in (Binary, Regression, Multiclass)}


def kind_of(model: ModelConfig) -> Kind:
    """The kind that a model's settings name."""
    return kind_named(model.kind, model.label.classes)


def kind_named(name: KindName, classes: Sequence[str] = ()) -> Kind:
    """A kind, with its classes where it has any."""
    return KINDS[name](tuple(classes))
