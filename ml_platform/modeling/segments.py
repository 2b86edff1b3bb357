"""Which segment of a slice each row belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ml_platform.errors import ConfigError
from ml_platform.model_config import SliceConfig
from ml_platform.modeling.encoding import as_text
from ml_platform.modeling.frames import Ints

MISSING = "(missing)"
MOST_SEGMENTS = 500


def segment_codes(table: pa.Table, config: SliceConfig) -> tuple[list[str], Ints]:
    """Names of a slice's segments, and the segment of each row as a position in them.

    Args:
        table: Has the slice's column.
        config: The column, and the inner edges of its bands; without edges each value is a segment.

    Raises:
        ConfigError: A column with bands holds no numbers, or one without has too many values.
    """
    column = table[config.column]
    return _banded(column, config) if config.bands else _valued(column, config)


def _valued(column: pa.ChunkedArray, config: SliceConfig) -> tuple[list[str], Ints]:
    encoded = as_text(column).combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    if len(found) > MOST_SEGMENTS:
        raise ConfigError(
            f"slice {config.column} has {len(found)} values",
            where=f"gates.slices, column {config.column}",
            fix="give it bands, or slice by a column with fewer values",
        )
    names = sorted(found)
    place = np.array([names.index(n) for n in found] + [len(names)], dtype=np.int64)
    codes = encoded.indices.fill_null(len(found)).to_numpy().astype(np.int64)
    return [*names, MISSING], place[codes]


def _banded(column: pa.ChunkedArray, config: SliceConfig) -> tuple[list[str], Ints]:
    try:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f"slice {config.column} has bands but holds no numbers",
            where=f"gates.slices, column {config.column}",
            fix="leave the bands out, or slice by a numeric column",
        ) from error
    edges = sorted(config.bands)
    codes = np.searchsorted(edges, values, side="right").astype(np.int64)
    names = [*_band_names(edges), MISSING]
    return names, np.where(np.isnan(values), len(names) - 1, codes)


def _band_names(edges: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to <{high:g}" for low, high in pairwise(edges)]
    return [f"<{edges[0]:g}", *inner, f"≥{edges[-1]:g}"]
