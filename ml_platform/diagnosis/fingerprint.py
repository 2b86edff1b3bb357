"""One identity per incident, which does not depend on the day it is looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Literal

from ml_platform.diagnosis.evidence import UNANSWERED, IncidentFacts

Family = Literal["none", "data", "model"]


def family_of(verdict: str, cause: str) -> Family:
    """``model`` for waiting, recalibrating, retraining and so on: one incident passes through several.

    The cause tells the family, so that a wait, a fix of the window and an escalation stay in it.
    """
    if verdict == "none":
        return "none"
    return "data" if cause.startswith("data:") or cause == UNANSWERED else "model"


def fingerprint(model_key: str, family: Family, cause: str, subjects: Iterable[str]) -> str:
    """Sixteen hexadecimal digits; the order and repetition of subjects do not matter."""
    text = json.dumps([model_key, family, cause, sorted(set(subjects))], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def incident_fingerprint(
    model_key: str, family: Family, cause: str, subjects: Iterable[str], current: IncidentFacts | None
) -> str:
    """The open incident's fingerprint while it lasts, else a new one.

    Segments come and go from one day to the next; an incident of the same cause that shares one of
    them is the same incident.
    """
    found = set(subjects)
    if current and (current.family, current.cause) == (family, cause):
        known = set(current.subjects)
        if found & known or not found or not known:
            return current.fingerprint
    return fingerprint(model_key, family, cause, found)
