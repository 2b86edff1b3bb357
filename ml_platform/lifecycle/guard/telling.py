"""Who is told of a diagnosis: the owner, once per incident, when a person has something to do."""

from __future__ import annotations

from ml_platform.lifecycle.alerts import Alert
from ml_platform.lifecycle.guard.diagnosing import Diagnosed
from ml_platform.lifecycle.platform import Target

PERSONS_VERDICTS = frozenset({"fix_data", "fix_serving", "block_training", "escalate"})
"""Verdicts that nothing but a person can carry out."""


def alert_about(target: Target, found: Diagnosed, link: str = "") -> Alert | None:
    """The alert that a diagnosis asks for: None when it is old, asks nobody, or goes on with an incident.

    Args:
        target: The model.
        found: The diagnosis.
        link: Its page.
    """
    verdict, incident = found.verdict, found.incident
    if not found.new or verdict.verdict not in PERSONS_VERDICTS:
        return None
    if incident is not None and incident.opened_at != verdict.as_of and verdict.verdict != "escalate":
        return None
    number = f"incident {incident.id}: `ml-platform incident show {incident.id}`\n" if incident else ""
    return Alert(
        title=f"{target.key}: {verdict.verdict} on {verdict.partition}",
        body=f"{verdict.sentence}\nnext: {found.diagnosis.next}\n{number}"
        f"evidence: `ml-platform verdict show {target.key}`",
        owner=target.use_case.config.owner,
        link=link,
    )
