"""Label maturity of a model as of an instant: the same answer for training, monitors and diagnosis."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from ml_platform.lifecycle.platform import Target
from ml_platform.monitoring.label_maturity import LabelMaturity, label_maturity

AGED = 28
"""Aged partitions that the arrival law is fitted on."""


def label_keys(target: Target, as_of: datetime, first: str | None = None) -> list[str]:
    """Partitions whose labels are looked at: aged ones for the law, more from ``first`` on."""
    scheme = target.use_case.scheme
    begin = _first_aged(target, as_of)
    return scheme.keys(begin if first is None else min(begin, first), scheme.key_at(as_of))


def maturity_of(target: Target, labels: pa.Table, as_of: datetime) -> LabelMaturity:
    """What may be done with the labels of some partitions, by the law of the last aged ones among them.

    Args:
        target: The model.
        labels: Rows of the labels view; with those of :func:`label_keys` the law is everywhere the same.
        as_of: The present of the timeline.
    """
    return label_maturity(
        target.kind.encoded(labels, target.model.label.column),
        as_of,
        last_aged=target.use_case.last_mature(target.model, as_of),
        first_aged=_first_aged(target, as_of),
        settings=target.model.diagnosis,
        label=target.model.label.column,
        classes=target.kind.paces,
    )


def _first_aged(target: Target, as_of: datetime) -> str:
    return target.use_case.scheme.shift(target.use_case.last_mature(target.model, as_of), 1 - AGED)
