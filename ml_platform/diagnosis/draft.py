"""A verdict before its fingerprint, and how findings are named and ranked in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ml_platform.diagnosis.verdict import RetrainKind, VerdictName
from ml_platform.statistics.finding import Finding


@dataclass(frozen=True)
class Draft:
    """A verdict before its fingerprint."""

    name: VerdictName
    cause: str
    sentence: str
    subjects: tuple[str, ...] = ()
    onset: str | None = None
    quarantined: tuple[str, ...] = ()
    recheck: int | None = None
    kind: RetrainKind | None = None
    restores: str | None = None


def subjects_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Features, segments or columns that findings are about."""
    return tuple(sorted({f.subject for f in findings}))


def listed(names: Iterable[str]) -> str:
    """The first five names, and how many more there are."""
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]
