"""Something to say about a use case: what, where and how to mend it, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml_platform.errors import PlatformError

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Remark:
    """One remark.

    Attributes:
        level: An error must be mended; a warning should be looked at; a note says what was assumed.
        what: In one sentence.
        where: File and line, column or rows it is about.
        fix: What the reader can do about it.
    """

    level: Level
    what: str
    where: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: PlatformError) -> Remark:
        """An error as a remark."""
        return cls("error", error.what, error.where, error.fix)
