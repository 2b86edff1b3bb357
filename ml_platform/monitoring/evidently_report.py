"""Evidently's drift report, for people who know it. It is linked, and decides nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Evidently reads this when it is imported, and its telemetry must stay off.
os.environ["DO_NOT_TRACK"] = "true"

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from ml_platform.errors import NotReadyError
from ml_platform.statistics.frames import Table, as_frame


@dataclass(frozen=True)
class EvidentlyColumn:
    """Evidently's row-level view of a column.

    Attributes:
        name: Column.
        method: Evidently's choice of method.
        score: Drift score.
        threshold: Evidently's limit.
        drifted: Evidently's verdict.
    """

    name: str
    method: str
    score: float
    threshold: float
    drifted: bool


@dataclass(frozen=True)
class EvidentlyReport:
    """A self-contained page and what it says.

    Attributes:
        html: The page, UTF-8, about 4 MB; it loads nothing from elsewhere.
        share_drifted: Share of columns that Evidently calls drifted.
        columns: The columns reported.
        left_out: Columns without any value in one of the windows, which Evidently cannot compare.
    """

    html: bytes
    share_drifted: float
    columns: tuple[EvidentlyColumn, ...]
    left_out: tuple[str, ...]


def evidently_html(
    reference: Table, current: Table, numeric: Sequence[str], categorical: Sequence[str]
) -> EvidentlyReport:
    """Evidently's data drift preset with its tests, about a second per call.

    Args:
        reference: Rows of the reference window.
        current: Rows of the current window.
        numeric: Numeric columns, the score among them.
        categorical: Categorical columns.

    Raises:
        IntegrityError: A column is missing.
        NotReadyError: No column has values in both windows.
    """
    names = [*numeric, *categorical]
    before = as_frame(reference, names, "reference rows")
    now = as_frame(current, names, "current rows")
    kept = [n for n in names if before[n].notna().any() and now[n].notna().any()]
    if not kept:
        raise NotReadyError(
            "there is nothing to compare: no column has values in both windows",
            where="Evidently report",
            fix="choose windows with rows",
        )
    definition = DataDefinition(
        numerical_columns=[n for n in numeric if n in kept],
        categorical_columns=[n for n in categorical if n in kept],
    )
    snapshot = Report([DataDriftPreset()], include_tests=True).run(
        _dataset(now, definition), _dataset(before, definition)
    )
    columns = _columns(snapshot.dict())
    return EvidentlyReport(
        html=snapshot.get_html_str(as_iframe=False).encode(),
        share_drifted=sum(c.drifted for c in columns) / len(columns),
        columns=columns,
        left_out=tuple(n for n in names if n not in kept),
    )


def _dataset(frame: pd.DataFrame, definition: DataDefinition) -> Dataset:
    """Plain float and object columns: Evidently does not know pandas' own string type."""
    numbers = {n: frame[n].astype("float64") for n in definition.numerical_columns}
    words = {n: frame[n].astype(object) for n in definition.categorical_columns}
    return Dataset.from_pandas(pd.DataFrame({**numbers, **words}), data_definition=definition)


def _columns(result: dict[str, Any]) -> tuple[EvidentlyColumn, ...]:
    """Scores from the metrics, verdicts from the tests that Evidently attaches to them."""
    failed = {
        t["metric_config"]["params"].get("column")
        for t in result["tests"]
        if str(t["status"].value) != "SUCCESS"
    }
    per_column = [m for m in result["metrics"] if "column" in m["config"]]
    return tuple(
        EvidentlyColumn(
            name=m["config"]["column"],
            method=m["config"]["method"],
            score=float(m["value"]),
            threshold=float(m["config"]["threshold"]),
            drifted=m["config"]["column"] in failed,
        )
        for m in per_column
    )
