"""``ml-platform verdict | retrain | roi | chart``: guarded retraining by hand."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ml_platform.cli.shared import (
    OptionalModel,
    Who,
    Why,
    console,
    day_or_instant,
    one_target,
    person,
    platform,
    table,
)
from ml_platform.errors import PlatformError
from ml_platform.numbers import number

if TYPE_CHECKING:
    from ml_platform.diagnosis.verdict import Diagnosis
    from ml_platform.lifecycle.guard.decisions import DecisionWorth
    from ml_platform.lifecycle.guard.effects import Reckoning
    from ml_platform.lifecycle.platform import Platform, Target
    from ml_platform.storage.tables import Attempt, Verdict

verdicts = typer.Typer(help="Verdicts: what was said of a model, on any day.", no_args_is_help=True)
Model = Annotated[str | None, typer.Argument(help="<use_case>/<model>; may be left out where there is one.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Day or instant; the answer is the one given then.")
]
_COLOURS = {"none": "green", "wait_for_labels": "yellow", "retrain": "cyan", "recalibrate": "cyan"}


@verdicts.command("show")
def show_verdict(
    model: Model = None,
    as_of: AsOf = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write the page that a person reads.")] = None,
) -> None:
    """The verdict in force, with its causes, steps and what happens next."""
    from ml_platform.diagnosis.page import answer, answers
    from ml_platform.lifecycle.guard.records import diagnosis_of, latest_verdict

    stores = platform()
    target = one_target(stores, model)
    verdict = latest_verdict(stores, target, _instant(target, as_of))
    diagnosis = diagnosis_of(stores, verdict)
    if page is not None:
        from ml_platform.diagnosis.page import html
        from ml_platform.lifecycle.guard.showing import evidence_picture

        page.write_text(html(diagnosis, {"What convinced it": evidence_picture(diagnosis)}), encoding="utf-8")
        console.print(f"written to {page}")
        return
    colour = _COLOURS.get(verdict.verdict, "red")
    kind = f" ({verdict.kind})" if verdict.kind else ""
    console.print(f"[bold {colour}]{verdict.verdict}{kind}[/] {escape(verdict.sentence)}", highlight=False)
    console.print(
        f"{target.key}, {verdict.partition}, as of {verdict.as_of:%Y-%m-%d %H:%M} UTC", highlight=False
    )
    if since := _since(stores, target, verdict, diagnosis):
        console.print(since, highlight=False)
    for cause in diagnosis.causes:
        console.print(f"  • {escape(cause.name)} {cause.state}: {escape(' '.join(cause.evidence[:2]))}")
    console.print(answers(diagnosis), highlight=False)
    rows = [(s.name, *answer(s)) for s in diagnosis.steps]
    columns = ("question", "state", "estimate [95 %]", "visible from", "counts from", "unit", "what")
    console.print(table("Steps", columns, rows))
    console.print(f"Next: {escape(diagnosis.next)}", highlight=False)


@verdicts.command("history")
def verdict_history(
    model: Model = None,
    as_of: AsOf = None,
    last: Annotated[int, typer.Option(help="How many of them.")] = 40,
) -> None:
    """Verdicts by partition, with what was done about them."""
    from ml_platform.lifecycle.guard.asked import attempts
    from ml_platform.lifecycle.guard.records import verdicts as given

    stores = platform()
    target = one_target(stores, model)
    done = {a.verdict_id: a for a in attempts(stores, target)}
    found = given(stores, target, _instant(target, as_of))[-last:]
    rows = [_verdict_row(v, done.get(v.id)) for v in found]
    columns = (target.use_case.scheme.noun, "verdict", "cause", "why", "done")
    console.print(table(f"Verdicts on {target.key}", columns, rows))


def retrain(
    model: Model = None,
    explain: Annotated[bool, typer.Option("--explain", help="Only show every guard.")] = False,
    override: Annotated[bool, typer.Option(help="In spite of the guards; needs --why.")] = False,
    why: Why = "",
    who: Who = None,
) -> None:
    """Retrain as the newest verdict says, or say why not: every guard, its value, its limit, its date."""
    from ml_platform.diagnosis.guards import Override
    from ml_platform.lifecycle.guard.asked import attempts_on
    from ml_platform.lifecycle.guard.records import diagnosis_of, latest_verdict
    from ml_platform.lifecycle.guard.retraining import carry_out
    from ml_platform.lifecycle.guard.retraining import explain as judge

    stores = platform()
    target = one_target(stores, model)
    if override and not why.strip():
        raise PlatformError("an override needs a reason", where="retrain --override", fix="add --why '…'")
    order = Override(who or person(), why) if override else None
    now = stores.clock(target.use_case).now()
    verdict = latest_verdict(stores, target)
    diagnosis = diagnosis_of(stores, verdict)
    found = judge(stores, target, diagnosis, now, override=order)
    words = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]UNKNOWN[/]"}
    made = table(f"Guards on retraining {target.key}", ("guard", "value", "limit", "could pass"), [])
    made.add_column("agrees")
    made.add_column("why")
    for g in found.guards:
        agrees = "[magenta]overridden[/]" if g.overridden else words[g.passed]
        made.add_row(g.name, str(g.value), str(g.limit), g.could_pass or "", agrees, escape(g.sentence))
    console.print(made)
    console.print(escape(found.sentence()), highlight=False)
    if since := _since(stores, target, verdict, diagnosis):
        console.print(since, highlight=False)
    if explain:
        return
    number = len(attempts_on(stores, verdict)) + 1
    with console.status("") as status:
        attempt = carry_out(stores, target, verdict.id, number, now, override=order, progress=status.update)
    told = attempt.details.get("sentence", "")
    console.print(
        f"[bold]{attempt.status}[/]: {escape(attempt.outcome)}{escape(f': {told}') if told else ''}",
        highlight=False,
    )
    if attempt.status != "done":
        raise typer.Exit(1)


def chart(model: Model = None, page: Annotated[Path | None, typer.Option("--html")] = None) -> None:
    """The flagship chart of a model as one self-contained page."""
    stores = platform()
    console.print(str(write_chart(stores, one_target(stores, model), page)), highlight=False)


def write_chart(stores: Platform, target: Target, page: Path | None = None) -> Path:
    """Write the model's chart, with its verdicts and actions, as a page."""
    from ml_platform.lifecycle.guard.showing import story_page

    where = page or stores.home / "reports" / f"{target.key.replace('/', '-')}-story.html"
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(story_page(stores, target, stores.clock(target.use_case).now()), encoding="utf-8")
    return where


def roi(model: OptionalModel = None) -> None:
    """What models, retrainings, rollbacks and refusals were worth, side by side, where it can be known."""
    from ml_platform.lifecycle.guard.decisions import decision_worth
    from ml_platform.lifecycle.guard.effects import reckon
    from ml_platform.lifecycle.recorded import has_run

    stores = platform()
    everything = [stores.target(model)] if model else stores.targets()
    targets = [t for t in everything if model or has_run(stores, t)]
    if others := ", ".join(t.key for t in everything if t not in targets):
        console.print(f"Not run here, so that there is nothing to reckon: {others}", highlight=False)
    if not targets:
        return
    times = {t.key: stores.clock(t.use_case).now() for t in targets}
    reckoned = {t.key: reckon(stores, t, times[t.key]) for t in targets}
    decided = {t.key: decision_worth(stores, t, times[t.key]) for t in targets}
    console.print(
        table(
            "Models, each on its own clock and in its own currency",
            (
                "model",
                "decisions",
                "right",
                "worth",
                "beyond a constant",
                "actions",
                "gained",
                "cost",
                "net",
            ),
            [_roi_row(decided[key], reckoned[key]) for key in reckoned],
        )
    )
    for key, decisions in decided.items():
        known = "what they are worth cannot be known: " if decisions.worth is None else "worth = "
        console.print(escape(f"{key}: {known}{decisions.reason}"), highlight=False)
    for target in targets:
        found = reckoned[target.key]
        rows = [
            (
                target.use_case.scheme.local_day(e.as_of),
                e.action,
                e.outcome[:40],
                _number(e.loss_change),
                e.partitions,
                _number(e.worth),
                f"{e.cost:.2f}",
                e.reason,
            )
            for e in found.effects
        ]
        columns = (
            "as of",
            "action",
            "outcome",
            "loss saved",
            f"{target.use_case.scheme.noun}s",
            "worth",
            "cost",
            "how it is known",
        )
        if rows:
            console.print(table(f"What its actions were worth: {target.key}", columns, rows))
        console.print(escape(f"{target.key}: {found.sentence()}"), highlight=False)


def _roi_row(decisions: DecisionWorth, reckoned: Reckoning) -> tuple[Any, ...]:
    def money(amount: float | None) -> str:
        return "cannot be known" if amount is None else f"{amount:,.2f} {decisions.currency}"

    share = f"{decisions.right / decisions.rows:.1%}" if decisions.rows else "–"
    known = [e for e in reckoned.effects if e.worth is not None]
    actions = f"{len(known)} of {len(reckoned.effects)} known" if reckoned.effects else "none"
    return (
        decisions.model_key,
        f"{decisions.rows:,}",
        share,
        money(decisions.worth),
        money(decisions.added),
        actions,
        money(reckoned.gained if known else None),
        money(reckoned.cost),
        money(reckoned.net if known else None),
    )


def _verdict_row(verdict: Verdict, attempt: Attempt | None) -> tuple[Any, ...]:
    kind = f" ({verdict.kind})" if verdict.kind else ""
    done = "" if attempt is None else f"{attempt.status}: {attempt.outcome}"
    return verdict.partition, verdict.verdict + kind, verdict.cause, verdict.sentence, done[:120]


def _since(stores: Platform, target: Target, verdict: Verdict, diagnosis: Diagnosis) -> str:
    """Since when the cause of a verdict, or an incident that is still open beside it, has been there."""
    from ml_platform.lifecycle.guard.records import incident_of, open_incident

    incident = incident_of(stores, verdict.incident_id) or open_incident(stores, target, verdict.as_of)
    onset = diagnosis.verdict.onset
    dated = f"the change is dated to {onset}" if onset else ""
    if incident is None:
        return f"Since {onset}, as far as the change can be dated" if onset else ""
    told = f"Incident {incident.id} ({incident.status}, {escape(incident.report['cause'])}): seen since "
    return f"{told}{incident.report['first_partition']}" + (f"; {dated}" if dated else "")


def _instant(target: Target, text: str | None) -> datetime | None:
    """The end of a day of the use case's zone, or the instant itself."""
    found = day_or_instant(text)
    return found if found is None or isinstance(found, datetime) else target.use_case.scheme.end_of_day(found)


def _number(value: float | None) -> str:
    return number(value, 4)
