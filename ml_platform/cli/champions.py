"""``ml-platform champion``, ``approve``, ``reject``, ``rollback``: who serves, and going back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ml_platform.cli.shared import Who, Why, console, one_target, person, platform, table
from ml_platform.modeling.gate_names import gate_title
from ml_platform.numbers import number

app = typer.Typer(help="Champions.", no_args_is_help=True)
Model = Annotated[str | None, typer.Argument(help="<use_case>/<model>; may be left out where there is one.")]


@app.command()
def history(model: Model = None) -> None:
    """The story of a model: promotions, rollbacks, refusals, and what waits for a person, with its gates."""
    from ml_platform.lifecycle.awaiting import waiting
    from ml_platform.registry.promotions import refused, stories

    stores = platform()
    target = one_target(stores, model)
    day = target.use_case.scheme.local_day
    rows = [
        (
            "▶" if s.in_force else "",
            day(s.promotion.as_of),
            s.promotion.action,
            f"v{s.promotion.version}",
            s.promotion.model_digest[:12],
            s.promotion.who,
            s.promotion.why,
        )
        for s in stories(stores.ledger, target.key)
    ]
    columns = ("", "as of", "what", "version", "model", "who", "why")
    console.print(table(f"Champions of {target.key}", columns, rows))
    for each in refused(stores.ledger, target.key):
        failed = ", ".join(f"{g['name']} {g['state']}" for g in each.gates if g["state"] != "PASS")
        console.print(f"refused as of {day(each.as_of)}: {each.model_digest[:12]} ({failed})")
    if found := waiting(stores, target):
        console.print(f"[yellow]waits[/]: {found.sentence(day(found.evaluation.as_of))}", highlight=False)
        console.print(gates_table(f"version {found.version} of {target.key}", found.evaluation.gates))
        for command in found.commands:
            console.print(f"  {command}", highlight=False)


def gates_table(whose: str, gates: Sequence[Mapping[str, Any]]) -> Table:
    """What each gate measured of a model, its limit, and whether it passed."""
    colours = {"PASS": "[green]PASS[/]", "FAIL": "[red]FAIL[/]"}
    made = table(f"Gates of {whose}", ("gate", "measured", "limit", "what"), [])
    made.add_column("state")
    for g in gates:
        made.add_row(
            gate_title(g["name"]),
            number(g["measured"], 4),
            f"{g['comparison']} {number(g['limit'], 4)}",
            escape(g["description"]),
            colours.get(g["state"], f"[yellow]{g['state']}[/]"),
        )
    return made


def approve(model: Model = None, why: Why = "", who: Who = None) -> None:
    """Approve the candidate that waits for a person, and promote it."""
    from ml_platform.lifecycle.awaiting import takes_over
    from ml_platform.lifecycle.promotion import approve_waiting

    stores = platform()
    target = one_target(stores, model)
    promotion = approve_waiting(stores, target, who or person(), why)
    console.print(
        f"{target.key}: version {promotion.version} is the champion now "
        f"(model {promotion.model_digest[:12]}): {takes_over(stores, target, promotion)}",
        highlight=False,
    )


def reject(model: Model = None, why: Why = "", who: Who = None) -> None:
    """Reject the candidate that waits for a person."""
    from ml_platform.lifecycle.promotion import reject_waiting

    stores = platform()
    target = one_target(stores, model)
    reject_waiting(stores, target, who or person(), why)
    console.print(f"{target.key}: rejected; the champion in force goes on serving")


def rollback(model: Model = None, why: Why = "", who: Who = None) -> None:
    """Restore the champion before this one, and its cache generation, in one step."""
    from ml_platform.lifecycle.promotion import roll_back

    stores = platform()
    target = one_target(stores, model)
    result = roll_back(stores, target, who or person(), why)
    console.print(result.sentence())
