"""Values of a file that are taken as they are and hardly meant so: told, and never changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml_platform.remarks import Remark
from ml_platform.scaffold.columns import in_percent
from ml_platform.scaffold.features import FeatureGuess

_BEYOND = 3.0
"""Interquartile ranges: a number is far off where it lies so far beyond a quartile, and beyond all others."""
_MOST = 0.01
"""Share of a column's numbers; more of them are a second kind of value, and no mistake."""
_SHOWN = 3


def suspicious(guesses: Sequence[FeatureGuess], frame: pd.DataFrame) -> list[Remark]:
    """What is to be said of the values of columns that become features.

    Args:
        guesses: What becomes of each column.
        frame: Their values; numbers where the column is one of numbers.
    """
    found: list[Remark] = []
    for guess in guesses:
        column, where = guess.column, f"column '{guess.column.source}'"
        if guess.use == "categorical" and column.kind == "string":
            found += _spellings(frame[column.name], where)
        elif guess.use == "numeric":
            found += _far_off(frame[column.name], where)
    return found


def _spellings(values: pd.Series, where: str) -> list[Remark]:
    """Categories that differ only in case or spaces."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for text, count in values.value_counts().items():
        groups.setdefault(" ".join(str(text).split()).casefold(), []).append((int(count), str(text)))
    several = [sorted(same, reverse=True) for same in groups.values() if len(same) > 1]
    if not several:
        return []
    shown = "; ".join(" = ".join(f"'{t}' ({n:,} rows)" for n, t in same) for same in several[:_SHOWN])
    what = (
        f"{len(several)} categories are written in several ways that differ in case or spaces only: {shown}"
        + (" …" if len(several) > _SHOWN else "")
    )
    fix = "write each in one way in the source; until then each way is a category of its own"
    return [Remark("warning", what, where, fix)]


def _far_off(values: pd.Series, where: str) -> list[Remark]:
    """Few numbers far from all others: another unit, a word for missing, a slip of the keyboard."""
    numbers = np.sort(values.dropna().to_numpy(np.float64))
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return []
    low, high = np.quantile(numbers, [0.25, 0.75])
    room = _BEYOND * (high - low)
    if room <= 0:
        return []
    gaps = np.flatnonzero(np.diff(numbers) > room)
    above = [i + 1 for i in gaps if numbers[i + 1] > high + room]
    below = [i for i in gaps if numbers[i] < low - room]
    first, last = (below[-1] + 1 if below else 0), (above[0] if above else numbers.size)
    far = np.concatenate([numbers[:first], numbers[last:]])
    if not far.size or far.size > max(1.0, _MOST * numbers.size):
        return []
    examples = ", ".join(f"{v:g}" for v in dict.fromkeys([*far[:_SHOWN], far[-1]]))
    share = in_percent(far.size / numbers.size)
    what = (
        f"{far.size:,} of {numbers.size:,} numbers ({share}) lie far beyond the others, which are "
        f"from {numbers[first]:g} to {numbers[last - 1]:g}: {examples}"
    )
    fix = (
        "if they are mistakes, mend them in the source, and narrow the range in the contract, which has room "
        "for them: then rows that break it can go to quarantine"
    )
    return [Remark("warning", what, where, fix)]
