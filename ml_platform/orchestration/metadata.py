"""How results look in the UI: numbers that plot over time, tables, inline plots and links."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster import (
    AssetKey,
    MetadataValue,
    TableColumn,
    TableColumnDep,
    TableColumnLineage,
    TableRecord,
    TableSchema,
)

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Platform

_MOST_RECORDS = 60


def table(rows: Iterable[Mapping[str, Any]]) -> MetadataValue[Any]:
    """Records as a table, cut to what the UI shows at once."""
    records = [TableRecord({k: _plain(v) for k, v in row.items()}) for row in list(rows)[:_MOST_RECORDS]]
    if not records:
        return MetadataValue.text("nothing")
    columns = [TableColumn(name, _column_type(records, name)) for name in records[0].data]
    return MetadataValue.table(records, TableSchema(columns))


def image(png: bytes, alt: str) -> MetadataValue[Any]:
    """A PNG inside the page."""
    return MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")


def text(value: Any) -> Any:
    """A plain value: addresses as links, several lines as Markdown, all else as it is."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return MetadataValue.url(value)
    if isinstance(value, str) and "\n" in value:
        return MetadataValue.md(value)
    return _plain(value)


def schema(columns: Mapping[str, tuple[str, str]]) -> TableSchema:
    """A column schema from type and description by name."""
    return TableSchema(
        [TableColumn(name, kind, description=text or None) for name, (kind, text) in columns.items()]
    )


def readme(use_case: UseCase) -> dict[str, MetadataValue[Any]]:
    """A link to a use case's README, where ``ml-platform pages`` shows it."""
    return {"readme": MetadataValue.url(Platform().readme_address(use_case))}


def same_columns(names: Sequence[str], source: AssetKey) -> TableColumnLineage:
    """Lineage of columns that come from the columns of the same name of one asset."""
    return TableColumnLineage({name: [TableColumnDep(asset_key=source, column_name=name)] for name in names})


def listed(values: Sequence[str], most: int = 12) -> str:
    """Names in a line, with how many more there are."""
    shown = ", ".join(values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown or "none"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")  # sixteen digits are for the ledger, which has them
    if isinstance(value, int | str | bool) or value is None:
        return value
    return str(value)


def _column_type(records: Sequence[TableRecord], name: str) -> str:
    kinds = {type(r.data[name]) for r in records} - {type(None)}
    if kinds <= {int}:
        return "int"
    return "float" if kinds <= {int, float} else "string"
