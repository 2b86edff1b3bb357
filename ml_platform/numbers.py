"""The one way in which numbers of any size are shown to people: ``103,900``, ``0.0123``, ``16,967``."""

from __future__ import annotations

import math

MISSING = "–"
_TINY = 1e-6
"""Below it a row of zeros is harder to read than a power of ten."""
_EXACT = 1e15


def number(value: float | None, digits: int = 3, missing: str = MISSING, sign: bool = False) -> str:
    """A number as people read it, never as ``1.039e+05``.

    Args:
        value: The number; whole ones, which are counts as a rule, are shown in full.
        digits: Significant digits of all others; those before the point are never fewer than there are.
        missing: What is shown for None, NaN and infinity.
        sign: Whether a plus is shown.
    """
    if value is None or not math.isfinite(value):
        return missing
    mark = "+" if sign else ""
    if value == int(value) and abs(value) < _EXACT:
        return f"{int(value):{mark},d}"
    if abs(value) < _TINY:
        return f"{value:{mark}.{digits - 1}e}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    shown = f"{rounded:{mark},.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def signed(value: float | None, digits: int = 3, missing: str = MISSING) -> str:
    """A change, with its sign."""
    return number(value, digits, missing, sign=True)
