"""Why a run failed, in the words of the platform's errors: what, where and how to fix it."""

from __future__ import annotations

import re

from dagster import DagsterEvent, DagsterRun
from dagster_shared.error import SerializableErrorInfo

from ml_platform.orchestration.limits import ENDED_TAG

_OWN = re.compile(r"ml_platform\.[\w.]*Error: ")
_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+:)")


def words(error: SerializableErrorInfo | None) -> str:
    """The message of what a step raised.

    Dagster wraps that, and puts the class before the words, which matters for other errors only.
    What caused an error of the platform's own says less than it does.
    """
    while error is not None and error.cause is not None and not _OWN.match(error.message.strip()):
        error = error.cause
    if error is None:
        return "no message"
    told = error.message.strip()
    return _MODULE.sub("", _OWN.sub("", told, count=1))


def limit_of(run: DagsterRun) -> str:
    """Which limit ended a run, if one did; its steps then tell an interrupt only."""
    return run.tags.get(ENDED_TAG, "")


def step_words(event: DagsterEvent) -> str:
    """What a step's failure says."""
    return words(event.step_failure_data.error)
