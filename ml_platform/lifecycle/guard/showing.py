"""A diagnosis for people: Markdown for the UI, one self-contained page, and the picture of its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ml_platform.diagnosis.page import html, markdown, story_html
from ml_platform.diagnosis.steps import TERMINATING
from ml_platform.diagnosis.verdict import Diagnosis
from ml_platform.lifecycle import pages
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.guard.asked import attempts
from ml_platform.lifecycle.guard.records import verdicts
from ml_platform.lifecycle.monitors import performance
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.monitoring.evidence_chart import evidence_chart
from ml_platform.registry import promotions
from ml_platform.statistics.states import State, worst

_WORD: Mapping[str, State] = {
    "wait_for_labels": "UNDERPOWERED",
    "retrain": "FAIL",
    "recalibrate": "FAIL",
    "rollback": "FAIL",
    "escalate": "UNKNOWN",
}


@dataclass(frozen=True)
class Shown:
    """A diagnosis ready to be looked at.

    Attributes:
        markdown: For Dagster's metadata.
        evidence: PNG: each question's deciding estimate against its floor.
        page: Digest of the self-contained HTML page.
    """

    markdown: str
    evidence: bytes
    page: str


def show(platform: Platform, target: Target, diagnosis: Diagnosis, chart: bytes | None = None) -> Shown:
    """Render a diagnosis, and publish its page.

    Args:
        platform: The stores.
        target: The model.
        diagnosis: What was said.
        chart: The model's chart, for the page.
    """
    picture = evidence_picture(diagnosis)
    images = {"What convinced it": picture} | ({"The model over time": chart} if chart else {})
    data = html(diagnosis, images).encode()
    page = pages.publish(platform, target, "diagnosis", diagnosis.partition, data, diagnosis.as_of)
    return Shown(markdown(diagnosis), picture, page)


def evidence_picture(diagnosis: Diagnosis) -> bytes:
    """Each question's deciding estimate, as a PNG."""
    said = diagnosis.verdict
    return evidence_chart(
        f"{diagnosis.model_key}, {diagnosis.partition}: {said.name}",
        said.sentence,
        sureness(diagnosis),
        [(s.name, s.headline) for s in diagnosis.steps if s.headline is not None],
    )


def sureness(diagnosis: Diagnosis) -> State:
    """How sure it is: nothing wrong is a PASS only where each question that would tell could be judged."""
    said = diagnosis.verdict.name
    if said != "none":
        return _WORD.get(said, "FAIL")
    asked = (*TERMINATING, "volume", "harm", "concept")
    return worst(s.state for s in diagnosis.steps if s.name in asked)


def story_page(platform: Platform, target: Target, as_of: datetime, chart: bytes | None = None) -> str:
    """The model's chart with its verdicts and actions as one self-contained page of HTML.

    Args:
        platform: The stores.
        target: The model.
        as_of: What was decided later is left out.
        chart: The chart as PNG, where it has been drawn already.

    Raises:
        NotReadyError: Nothing has been served yet.
    """
    picture = performance(platform, target, as_of).chart if chart is None else chart
    rows = [
        (v.partition, v.verdict + (f" ({v.kind})" if v.kind else ""), v.cause, v.sentence)
        for v in reversed(verdicts(platform, target, as_of))
    ]
    day = target.use_case.scheme.local_day
    acted = [
        (day(a.as_of).isoformat(), a.action, a.status, a.outcome)
        for a in reversed(attempts(platform, target))
        if a.as_of <= as_of
    ]
    promoted = [
        (day(p.as_of).isoformat(), p.action, f"v{p.version}", p.who, p.why)
        for p in promotions.history(platform.ledger, target.key)
        if p.as_of <= as_of
    ]
    noun = target.use_case.scheme.noun
    served = platform.ledger.heads(predictions_asset(target), as_of=as_of)
    events = sorted(target.use_case.events_of(served).items(), reverse=True)
    return story_html(target.key, as_of.isoformat(), picture, rows, acted, promoted, noun, events)
