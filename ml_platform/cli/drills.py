"""``ml-platform drill``: rehearse incidents in a sandbox."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ml_platform.cli.shared import console, errors, one_target, platform, table
from ml_platform.errors import NotFoundError

if TYPE_CHECKING:
    from ml_platform.lifecycle.drills.judging import Result

_COLOURS = {"right": "green", "WRONG": "red", "NOT SEEN": "yellow"}
_REAL = "the real one: its own drift is there too, and a verdict on that counts as wrong"
_ANOTHER = "it rests on another cause"


def drill(
    incident: Annotated[
        str | None, typer.Argument(help="Name of the incident; leave it out to see them, or with --all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All incidents, from one clean prefix.")] = False,
    use_case: Annotated[
        str | None,
        typer.Option(
            help="<use_case> or <use_case>/<model>; left out where there is one. Without an incident: says "
            "which do not apply."
        ),
    ] = None,
    onset: Annotated[str | None, typer.Option(help="First partition that is changed, its key.")] = None,
    severity: Annotated[
        float, typer.Option(min=0.0, help="In units of the deciding statistic's smallest visible effect.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of days and of what is injected.")] = 1,
    calendar: Annotated[
        bool, typer.Option("--calendar", help="Keep the real order of days, real drift included.")
    ] = False,
    horizon: Annotated[
        int | None, typer.Option(min=0, help="Partitions after the onset that are played at most.")
    ] = None,
    scenarios: Annotated[
        Path | None, typer.Option(help="A Python file with more scenarios; see docs/drills_example.py.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON.")] = False,
) -> None:
    """Inject an incident into a sandboxed copy of a use case, and see whether its guard tells the truth."""
    from ml_platform.lifecycle.drills import running
    from ml_platform.lifecycle.drills.judging import Settings

    if incident is None and not every:
        known = running.scenarios_of(scenarios)
        # Which of them strike somewhere is asked of a use case that is named.
        left_out = (
            running.inapplicable(one_target(platform(), use_case), list(known), scenarios) if use_case else {}
        )
        _list(known, left_out)
        return
    names = running.chosen([incident] if incident else [], scenarios)
    target = one_target(platform(), use_case)
    left_out = running.inapplicable(target, names, scenarios)
    names = [n for n in names if n not in left_out]
    if not names:
        raise NotFoundError(
            "; ".join(f"{n} does not apply: {why}" for n, why in left_out.items()),
            where=target.key,
            fix="choose another drill, or name in drills.py where this one strikes",
        )
    settings = Settings(onset, severity, seed, calendar, horizon, scenarios)
    started = time.perf_counter()
    results = []
    say = errors if as_json else console
    with say.status("") as status:
        for result in running.drill(target, names, settings, lambda text: status.update(f"{text} …")):
            results.append(result)
            if not as_json:
                _show(result)
    results.sort(key=lambda r: names.index(r.name))
    seconds = time.perf_counter() - started
    if as_json:
        told = {"seconds": round(seconds, 1), "drills": [r.to_json() for r in results]}
        sys.stdout.write(json.dumps(told, indent=2, default=str) + "\n")
    elif len(results) > 1:
        _summary(results, seconds)
        _not_played(left_out)
    if not all(r.right or r.missed for r in results):
        raise typer.Exit(1)


def _list(known: dict[str, type], left_out: dict[str, str]) -> None:
    rows = [(n, getattr(c, "cause", ""), getattr(c, "summary", "")) for n, c in known.items()]
    console.print(table("Drills", ("incident", "cause", "what happens"), rows))
    _not_played(left_out)


def _not_played(left_out: dict[str, str]) -> None:
    for name, why in left_out.items():
        console.print(f"{name} is not played: {escape(why)}", highlight=False)


def _show(result: Result) -> None:
    mark = f"[bold {_COLOURS[_word(result)]}]{_word(result)}[/]"
    lines = [
        f"\n[bold]{result.name}[/]  {mark}  {escape(result.why)}",
        f"  truth     {result.truth}: {escape(result.summary)}",
        f"  severity  {result.severity:g}: {escape(result.amount)}",
        f"  verdict   {result.verdict} ({escape(result.cause or 'no cause')}) on {result.partition}, "
        f"{result.days} partition(s) after the onset on {result.onset}; identifiable after "
        f"{result.identifiable_after}",
        f"  says      {escape(result.sentence)}",
        *(f"  evidence  {escape(e)}" for e in result.evidence),
        *(f"  action    {escape(a)}" for a in result.actions),
        f"  seconds   {result.seconds:.1f}",
    ]
    if result.calendar:
        lines.insert(3, f"  order     {_REAL}")
    if result.right and not result.cause_right:
        rests = f"names {result.cause}, which asks for nothing" if result.truth == "none" else _ANOTHER
        lines.insert(4, f"  [yellow]cause     the verdict is right, and {rests}[/]")
    console.print("\n".join(lines), highlight=False)


def _word(result: Result) -> str:
    return "right" if result.right else "NOT SEEN" if result.missed else "WRONG"


def _summary(results: list[Result], seconds: float) -> None:
    rows = [(r.name, r.truth, r.verdict, r.cause, r.days, _word(r), f"{r.seconds:.1f}") for r in results]
    columns = ("incident", "truth", "verdict", "cause named", "partitions", "", "seconds")
    console.print(table("Drills", columns, rows))
    right = sum(r.right for r in results)
    missed = sum(r.missed for r in results)
    unseen = f", {missed} too small to be seen" if missed else ""
    console.print(
        f"{right} of {len(results)} right{unseen}, {seconds:.0f} s with the clean prefix", highlight=False
    )
