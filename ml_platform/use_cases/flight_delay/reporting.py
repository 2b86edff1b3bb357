"""When an outcome is reported: a law that we add, because the files hold no reporting time.

``known_at`` of an outcome is its end (see :mod:`.flights`) plus a delay. The delay is log-logistic, cut at a
maximum, and slower for late flights. Its only randomness is a hash of the flight's key, so that it does not
depend on the order or choice of rows, on the version of a library, or on the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Hashes: TypeAlias = "npt.NDArray[np.uint64]"
Shares: TypeAlias = "npt.NDArray[np.float64]"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


class ReportingLaw(BaseModel):
    """Settings of the delay between the end of a flight and the report of its outcome."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=2013, ge=0, description="Another seed draws other delays.")
    median_hours: float = Field(default=16.0, gt=0, description="Median delay of a flight on time.")
    late_factor: float = Field(default=2.0, ge=1, description="Late flights take so many times longer.")
    spread: float = Field(default=0.76, gt=0, description="Exponent of the odds: the tail's weight.")
    # 42 h from midnight to the last arrival, and 220 h, are less than 11 days with a change of clocks.
    maximum_hours: float = Field(default=220.0, gt=0, le=240, description="No delay is longer.")

    def minutes(self, uniform: Shares, late: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Delays in whole minutes.

        Method: inverse of the log-logistic distribution function, truncated above; with odds ``p/(1-p)``
        the delay is ``median · odds^spread``.

        Args:
            uniform: Shares in (0, 1), one for each flight.
            late: Whether the flight was late, diverted or cancelled.
        """
        median = self.median_hours * np.where(late, self.late_factor, 1.0)
        below_maximum = 1.0 / (1.0 + (median / self.maximum_hours) ** (1.0 / self.spread))
        share = uniform * below_maximum
        hours = median * (share / (1.0 - share)) ** self.spread
        return np.ceil(hours * 60.0).astype(np.int64)


def uniform_of_key(seed: int, parts: Sequence[Hashes]) -> Shares:
    """A share in (0, 1) for each key, a function of the seed and the key alone.

    Method: SplitMix64's finaliser (Steele et al. 2014, "Fast splittable pseudorandom number generators"),
    applied once for each part of the key.

    Args:
        seed: Seed.
        parts: The key's columns, each as whole numbers (uint64) of one length.
    """
    state = np.full(len(parts[0]), seed, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = _mixed((state ^ part) + _GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def text_hashes(values: Sequence[str | None]) -> Hashes:
    """A whole number for each text, the same in every version of everything."""
    digests = (hashlib.blake2b((v or "").encode(), digest_size=8).digest() for v in values)
    return np.asarray([int.from_bytes(d, "little") for d in digests], np.uint64)


def _mixed(state: Hashes) -> Hashes:
    for shift, factor in _MIX:
        state = (state ^ (state >> shift)) * factor
    return state ^ (state >> np.uint64(31))
