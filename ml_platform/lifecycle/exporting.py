"""Export of predictions: CSV, Parquet, or a table of any SQLAlchemy database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_platform.errors import ConfigError, NotReadyError
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.scoring import predictions
from ml_platform.partitions import require_order
from ml_platform.serving.export import export_csv, export_database, export_parquet


@dataclass(frozen=True)
class ExportReport:
    """What was exported."""

    rows: int
    partitions: int
    where: str


def export_predictions(
    platform: Platform,
    target: Target,
    to: str,
    first: str | None = None,
    last: str | None = None,
    table: str = "predictions",
) -> ExportReport:
    """Export published predictions of a range of partitions (all, when it is open).

    Args:
        platform: The stores.
        target: The model.
        to: A file ending in ``.csv`` or ``.parquet``, or an SQLAlchemy URL.
        first: First partition.
        last: Last partition.
        table: Table of a database.

    Raises:
        PartitionError: An end of the range is no partition key, or they are exchanged.
        NotReadyError: There are no predictions in the range.
        ConfigError: ``to`` is neither.
        StoreError: It cannot be written; what was there before stays.
    """
    scheme = target.use_case.scheme
    first = scheme.read(first) if first else None
    last = scheme.read(last, end=True) if last else None
    if first and last:
        require_order(first, last, "--from and --to-partition")
    there = sorted(platform.ledger.heads(predictions_asset(target)))
    keys = [k for k in there if (first is None or k >= first) and (last is None or k <= last)]
    rows = predictions(platform, target, keys) if keys else None
    if rows is None:
        span = f"; there are some of {there[0]} to {there[-1]}" if there else ""
        raise NotReadyError(
            "there are no predictions to export",
            where=target.key,
            fix=f"score partitions of that range first{span}",
        )
    if "://" in to:
        key = target.use_case.config.views.key
        count = export_database(rows, to, table, model_key=target.key, partitions=keys, key=key)
        return ExportReport(count, len(keys), f"table {table}")
    writers = {".csv": export_csv, ".parquet": export_parquet}
    path = Path(to)
    if path.suffix not in writers:
        raise ConfigError(
            f"'{to}' is no known kind of export",
            where="--to",
            fix="end the file in .csv or .parquet, or give an SQLAlchemy URL such as sqlite:///file.db",
        )
    return ExportReport(writers[path.suffix](rows, path), len(keys), str(path))


def export_partitions(platform: Platform, target: Target, keys: Sequence[str]) -> dict[str, Path]:
    """One Parquet file per partition under ``exports`` of the home folder, for those who read files."""
    written = {}
    for key in sorted(platform.ledger.heads(predictions_asset(target), keys)):
        path = platform.home / "exports" / target.key / f"{key}.parquet"
        export_predictions(platform, target, str(path), key, key)
        written[key] = path
    return written
