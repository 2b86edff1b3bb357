"""A diagnosis as Markdown, and pages of HTML that stand alone and are read in a minute."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import get_args

from ml_platform.diagnosis.evidence import ESTIMATED_LOSS_CHANGE, WEIGHTED_LOSS_CHANGE
from ml_platform.diagnosis.steps import STEPS
from ml_platform.diagnosis.verdict import Cause, Diagnosis, StepResult
from ml_platform.numbers import number
from ml_platform.statistics.finding import Finding
from ml_platform.statistics.scales import counts_from, scale_of, visible, why_passed
from ml_platform.statistics.states import State

_QUESTIONS = {s.name: f"{s.number}. {s.question}" for s in STEPS}
_LOSSES = "Loss: realised, and expected without labels (never mixed)"
_LOSS_HEADER = (
    "change of the loss",
    "state",
    "estimate [95 %]",
    "visible from",
    "counts from",
    "unit",
    "why",
)
_HEADER = ("question", "state", "estimate [95 %]", "visible from", "counts from", "unit", "tests", "why")
_READING = (
    "Each line has a unit of its own. FAIL: the estimate is beyond 'counts from', and shown to be more than "
    "chance. PASS: it is not, and what counts would have been seen. UNDERPOWERED: what counts could not have "
    "been seen, so that it is no all-clear. UNKNOWN: there is no evidence."
)
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2a37;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:.3rem 0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}.muted{color:#6b7280}
table{border-collapse:collapse;width:100%;font-size:13px}td,th{padding:.35rem .5rem;text-align:left;
border-bottom:1px solid #e5e7eb;vertical-align:top}.pill{color:#fff;border-radius:9px;padding:.1rem .5rem;
font-size:11px;font-weight:700}.PASS{background:#15803d}.FAIL{background:#dc2626}
.UNDERPOWERED{background:#b45309}.UNKNOWN{background:#6b7280}img{max-width:100%}
.log td:first-child{white-space:nowrap}
"""


def markdown(diagnosis: Diagnosis) -> str:
    """The diagnosis as Markdown."""
    verdict = diagnosis.verdict
    return "\n\n".join(
        [
            f"## {verdict.name}: {_md(verdict.sentence)}",
            f"{_md(diagnosis.model_key)}, {diagnosis.partition}, as of {diagnosis.as_of.isoformat()}",
            f"**Answers.** {_md(answers(diagnosis))}",
            f"**Next.** {_md(diagnosis.next)}",
            *([f"**Known events.** {_md(_events(diagnosis))}"] if diagnosis.events else ()),
            "### Causes\n" + _bullets(_cause_text(c) for c in diagnosis.causes),
            f"### Steps\n{_READING}\n\n" + _markdown_table(_HEADER, (_cells(s) for s in diagnosis.steps)),
            f"### {_LOSSES}\n" + _markdown_table(_LOSS_HEADER, _losses(diagnosis)),
            "### What would change its mind\n" + _bullets(diagnosis.would_change_mind),
            "### What could not be seen\n" + _bullets(diagnosis.unseen),
        ]
    )


def html(diagnosis: Diagnosis, images: Mapping[str, bytes] | None = None) -> str:
    """The diagnosis as one page without any external resource.

    Args:
        diagnosis: What to show.
        images: Caption to PNG bytes, which are embedded.
    """
    verdict = diagnosis.verdict
    name = verdict.name + (f" ({verdict.kind})" if verdict.kind else "")
    about = f"{diagnosis.model_key} · {diagnosis.partition} · as of {diagnosis.as_of.isoformat()}"
    body = [
        f'<p class="muted">{escape(about)}</p>',
        f"<h1>{escape(name)}: {escape(verdict.sentence)}</h1>",
        f"<p><b>Answers.</b> {escape(answers(diagnosis))}</p>",
        f"<p><b>Next.</b> {escape(diagnosis.next)}</p>",
        f"<p><b>Known events.</b> {escape(_events(diagnosis))}</p>" if diagnosis.events else "",
        "<h2>Causes</h2>" + _html_list((_cause_text(c) for c in diagnosis.causes), "ol"),
        f'<h2>Steps</h2><p class="muted">{escape(_READING)}</p>'
        + _html_table(_HEADER, (_cells(s) for s in diagnosis.steps)),
        f"<h2>{_LOSSES}</h2>" + _html_table(_LOSS_HEADER, _losses(diagnosis)),
        "<h2>What would change its mind</h2>" + _html_list(diagnosis.would_change_mind),
        "<h2>What could not be seen</h2>" + _html_list(diagnosis.unseen),
        *(_image(caption, png) for caption, png in (images or {}).items()),
        f'<p class="muted">incident {escape(verdict.fingerprint)}</p>',
    ]
    return document(f"{name} · {diagnosis.model_key}", body)


def story_html(
    title: str,
    as_of: str,
    chart: bytes,
    verdicts: Sequence[Sequence[str]],
    actions: Sequence[Sequence[str]],
    champions: Sequence[Sequence[str]],
    noun: str = "day",
    events: Sequence[Sequence[str]] = (),
) -> str:
    """A model's chart with what was said and done, as one page without any external resource.

    Args:
        title: The model.
        as_of: Instant of the page.
        chart: PNG.
        verdicts: Partition, verdict, cause and sentence, newest first.
        actions: What verdicts asked for: day, action, status and outcome, newest first.
        champions: Promotions and rollbacks: day, what, version, who and why, newest first.
        noun: What a partition is called.
        events: Partition and name of what is known to be unlike others, newest first.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">as of {escape(as_of)}</p>',
        _image(f"Realised loss by {noun}, verdicts, actions and known events", chart),
        "<h2>Actions and refusals</h2>",
        table(("as of", "action", "status", "outcome"), actions)
        if actions
        else "<p>No verdict asked for anything.</p>",
        "<h2>Champions</h2>" + table(("as of", "what", "version", "who", "why"), champions),
        "<h2>Verdicts</h2>" + table((noun, "verdict", "cause", "why"), verdicts),
    ]
    if events:
        body.insert(3, f"<h2>Known to be unlike other {escape(noun)}s</h2>" + table((noun, "event"), events))
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """A page without any external resource; ``body`` is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as an HTML table; the first column is a short one, such as a date."""
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows)
    return f'<table class="log"><tr>{head}</tr>{lines}</table>'


def _events(diagnosis: Diagnosis) -> str:
    """Days among those looked at that are known to be unlike others."""
    return "; ".join(diagnosis.events)


def _cause_text(cause: Cause) -> str:
    strength = "" if cause.strength is None else f" {number(cause.strength)} ({cause.unit})"
    return f"{cause.name}, {cause.state}{strength}: {' '.join(cause.evidence)}"


def answers(diagnosis: Diagnosis) -> str:
    """How many questions were answered how, with the names of all that are no PASS."""
    told = []
    for state in get_args(State):
        names = [s.name for s in diagnosis.steps if s.state == state]
        if names:
            told.append(f"{len(names)} {state}" + ("" if state == "PASS" else f" ({', '.join(names)})"))
    return f"Of {len(diagnosis.steps)} questions {', '.join(told)}."


def _cells(step: StepResult) -> tuple[str, ...]:
    return (_QUESTIONS[step.name], *answer(step)[:-1], str(step.findings), answer(step)[-1])


def answer(step: StepResult) -> tuple[str, ...]:
    """State, estimate, from where on it is visible and counts, unit, and why."""
    top = step.headline
    if top is None:
        return (step.state, "", "", "", "", step.reason)
    why = step.reason or f"{top.subject}: {top.detail}"
    return (
        step.state,
        _estimate(top),
        _number(visible(step.name, top)),
        counts_from(step.name, top),
        scale_of(step.name, top).unit,
        _and(why, why_passed(step.name, top)),
    )


def _and(detail: str, more: str) -> str:
    """Two sentences as one text."""
    return detail if not more else f"{detail.rstrip('.')}. {more}"


def _number(value: float | None) -> str:
    return number(value, missing="")


def _losses(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """Change of the realised loss beside the changes that the features alone lead one to expect."""
    steps = {s.name: s for s in diagnosis.steps}
    found = {f.statistic: f for f in steps["covariates"].beside} if "covariates" in steps else {}
    realised = steps["harm"].headline if "harm" in steps else None
    shown = {
        "realised, on matured labels": (realised, "not known"),
        "expected without labels (CBPE)": (found.get(ESTIMATED_LOSS_CHANGE), "not known"),
        "expected, density-weighted": (
            found.get(WEIGHTED_LOSS_CHANGE),
            "looked at only where a loss or P(y|x) fires",
        ),
    }
    return [_loss(name, finding, missing) for name, (finding, missing) in shown.items()]


def _loss(name: str, finding: Finding | None, missing: str) -> tuple[str, ...]:
    if finding is None:
        return (name, "UNKNOWN", "", "", "", "", missing)
    question = "harm"
    seen, floor = _number(visible(question, finding)), counts_from(question, finding)
    why = _and(finding.detail, why_passed(question, finding))
    return (name, finding.state, _estimate(finding), seen, floor, scale_of(question, finding).unit, why)


def _estimate(finding: Finding) -> str:
    bounds = finding.low, finding.high
    interval = "" if None in bounds else f" [{_number(finding.low)}, {_number(finding.high)}]"
    return _number(finding.estimate) + interval


def _html_table(names: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in names)
    return f"<table><tr>{head}</tr>{''.join(map(_html_row, rows))}</table>"


def _html_row(cells: tuple[str, ...]) -> str:
    shown = [escape(c) for c in cells]
    shown[1] = f'<span class="pill {shown[1]}">{shown[1]}</span>'
    return "<tr>" + "".join(f"<td>{c}</td>" for c in shown) + "</tr>"


def _html_list(items: Iterable[str], tag: str = "ul") -> str:
    lines = "".join(f"<li>{escape(i)}</li>" for i in items)
    return f"<{tag}>{lines}</{tag}>" if lines else "<p>Nothing.</p>"


def _image(caption: str, png: bytes) -> str:
    data, text = base64.b64encode(png).decode("ascii"), escape(caption)
    return f'<h2>{text}</h2><img alt="{text}" src="data:image/png;base64,{data}">'


def _markdown_table(names: Sequence[str], cells: Iterable[tuple[str, ...]]) -> str:
    rows = [names, ["---" for _ in names], *([_md(c) for c in row] for row in cells)]
    return "\n".join(f"| {' | '.join(r)} |" for r in rows)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {_md(i)}" for i in items) or "Nothing."


def _md(text: str) -> str:
    """Text that can neither end a table's cell nor become markup."""
    plain = " ".join(text.split())
    for mark in ("\\", "|", "`", "*", "_", "[", "]"):
        plain = plain.replace(mark, "\\" + mark)
    return escape(plain, quote=False)
