"""Arrow tables and data frames alike, checked for the columns a monitor needs."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeAlias

import pandas as pd
import pyarrow as pa

from ml_platform.errors import ConfigError, IntegrityError

PARTITION = "partition_key"

Table: TypeAlias = pa.Table | pd.DataFrame


def as_frame(table: Table, needed: Collection[str], what: str) -> pd.DataFrame:
    """The table as a data frame.

    Args:
        table: Arrow table or data frame.
        needed: Columns that must be there.
        what: Name of the table for the error.

    Raises:
        IntegrityError: A needed column is missing.
    """
    frame: pd.DataFrame = table.to_pandas() if isinstance(table, pa.Table) else table
    missing = [c for c in needed if c not in frame.columns]
    if missing:
        raise IntegrityError(
            f"{what} lack the column(s) {', '.join(missing)}",
            where=what,
            fix=f"they have {', '.join(map(str, frame.columns))}; check the view that makes them",
        )
    return frame


def require_unique(frame: pd.DataFrame, key: Sequence[str], what: str) -> None:
    """Refuse two rows with one key.

    Raises:
        IntegrityError: A key occurs twice; the first one is named.
    """
    twice = frame.duplicated(list(key))
    if twice.any():
        first = "/".join(str(v) for v in frame.loc[twice, list(key)].iloc[0])
        raise IntegrityError(
            f"{int(twice.sum())} row(s) of {what} repeat a key, for example {first}",
            where=what,
            fix="pass one row per key, for example the champion's latest scoring revision",
        )


def known_mask(frame: pd.DataFrame, label: str, as_of: datetime) -> pd.Series:
    """Which labels are known at ``as_of``: not null, and ``label_known_at`` not later.

    Raises:
        ConfigError: ``as_of`` has no offset.
    """
    if as_of.tzinfo is None:
        raise ConfigError(
            "as_of has no UTC offset", where=f"as_of={as_of}", fix="pass a timezone-aware instant"
        )
    arrived = pd.to_datetime(frame["label_known_at"], utc=True, cache=False) <= pd.Timestamp(as_of)
    return frame[label].notna() & arrived


def finite(value: float | None) -> float | None:
    """The value as a plain float; None where it is missing or not finite (JSON has neither)."""
    return float(value) if value is not None and math.isfinite(value) else None
