"""``ml-platform replay``: a stretch of production, what was decided in it, and other policies beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ml_platform.cli.guards import write_chart
from ml_platform.cli.shared import console, platform, table
from ml_platform.numbers import number

if TYPE_CHECKING:
    from ml_platform.config import UseCase
    from ml_platform.lifecycle.platform import Platform, Target


def replay(
    use_case: Annotated[str, typer.Argument(help="Use case, or <use_case>/<model>.")],
    first: Annotated[str, typer.Option("--from", help="First partition.")],
    last: Annotated[str, typer.Option("--to", help="Last partition.")],
    compare: Annotated[bool, typer.Option(help="Beside never and calendar retraining.")] = True,
) -> None:
    """Play production day by day on the replay clock; a stopped replay goes on where it stood.

    What it counts and compares is of the partitions asked for. They begin after those that have been played,
    by `ml-platform run` too: time does not go back.
    """
    import time as wall

    from ml_platform.lifecycle.guard.days import describe
    from ml_platform.lifecycle.guard.replaying import replay as play

    stores = platform()
    target = stores.target(use_case)
    scheme = target.use_case.scheme
    first, last = scheme.read(first), scheme.read(last, end=True)
    demo = target.use_case.config.demo
    started = wall.perf_counter()
    days, before = 0, ""
    with console.status("landing what came before …") as status:
        for day in play(
            stores,
            target,
            first,
            last,
            promote_at=demo.promote_at if demo else None,
            progress=status.update,
            compare=compare,
        ):
            days += 1
            pace = (wall.perf_counter() - started) / days
            text = describe(day) or day.note
            status.update(f"{day.partition} · {pace:.1f} s a {target.use_case.scheme.noun}")
            if text != before and (_changed(text, before) or day.attempt is not None or day.note):
                console.print(f"  {day.partition}  {escape(day.note or text)}", highlight=False)
            before = text
    seconds = wall.perf_counter() - started
    if days:
        console.print(f"{scheme.counted(days)} in {seconds:.0f} s", highlight=False)
    if left := len(scheme.keys(first, last)) - days:
        _tell_of_the_past(stores, target, first, last, left)
    _ledger_of_the_stretch(stores, target, first, last)
    if compare:
        _compared(stores, target, first, last)
    console.print(f"chart: {write_chart(stores, target)}", highlight=False)


def _tell_of_the_past(stores: Platform, target: Target, first: str, last: str, left: int) -> None:
    """What was not played because its time is past, what can be played, and how it is played again."""
    from ml_platform.lifecycle.guard.replaying import next_to_play

    use_case, scheme = target.use_case, target.use_case.scheme
    now = stores.clock(use_case).now()
    asked = scheme.keys(first, last)
    which = f"every one of these {scheme.noun}s" if left == len(asked) else f"{left} of {len(asked)}"
    have = "has" if left in (1, len(asked)) else "have"
    stands = f"the timeline stands at {now.astimezone(scheme.zone):%Y-%m-%d %H:%M %Z}"
    console.print(f"{which} {have} been played already: {stands}", highlight=False)
    if left < len(asked):
        return
    following = what_follows(use_case, target.model.name, next_to_play(stores, target))
    again = f"ML_PLATFORM_HOME=… ml-platform replay {target.key} --from {first} --to {last}"
    console.print(f"  {following}", highlight=False)
    console.print(f"  afresh, in a new folder that nothing of this one changes: `{again}`", highlight=False)


def _by_days(count: tuple[str, int]) -> int:
    return count[1]


def _changed(text: str, before: str) -> bool:
    """Another verdict than the day before."""
    return text.split(":", maxsplit=1)[0] != before.split(":", maxsplit=1)[0]


def _ledger_of_the_stretch(stores: Platform, target: Target, first: str, last: str) -> None:
    from ml_platform.lifecycle.guard.asked import attempts
    from ml_platform.lifecycle.guard.records import verdicts as given

    counts: dict[str, int] = {}
    begin, end = (target.use_case.cutoff(key) for key in (first, last))
    for verdict in given(stores, target, end):
        if verdict.as_of < begin:
            continue
        name = verdict.verdict + (f" ({verdict.kind})" if verdict.kind else "")
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=_by_days, reverse=True)
    noun = target.use_case.scheme.noun
    console.print(table("Verdicts", ("verdict", f"{noun}s"), ordered))
    made = [a for a in attempts(stores, target) if begin <= a.as_of <= end]
    day = target.use_case.scheme.local_day
    rows = [
        (day(a.as_of), a.action, a.kind or "", a.status, a.outcome[:90], f"{a.seconds:.0f} s")
        for a in made
        if a.status != "refused"
    ]
    refused = sum(a.status == "refused" for a in made)
    if rows:
        console.print(table("Actions", ("as of", "action", "kind", "status", "outcome", "took"), rows))
    else:
        console.print("No action was taken.", highlight=False)
    console.print(f"Refusals: {refused}", highlight=False)


def _compared(stores: Platform, target: Target, first: str, last: str) -> None:
    from ml_platform.lifecycle.guard.policies import policies

    now = stores.clock(target.use_case).now()
    noun = target.use_case.scheme.noun
    with console.status(f"other policies on the same {noun}s …") as status:
        found = policies(stores, target, now, progress=status.update, within=(first, last))
    if not found:
        told = f"No {noun} of these is mature and was served, so that policies cannot be compared."
        console.print(told, highlight=False)
        return
    rows = [(p.name, number(p.loss, 4), p.trainings, len(p.by_day)) for p in found]
    columns = ("policy", f"mean {target.kind.loss_words} by {noun}", "retrainings", f"matured {noun}s")
    title = f"{_stretch(found[0].by_day)} under other policies, with the same recipe"
    console.print(table(title, columns, rows))
    console.print(
        f"A calendar has no gates: its first model learns on the first {noun} from all that is mature then, "
        "the gate's rows too, and is not counted.",
        highlight=False,
    )


def _stretch(keys: Iterable[str]) -> str:
    """The partitions that a table is about."""
    first, *others = sorted(keys)
    return f"{first} to {others[-1]}" if others else first


def what_follows(use_case: UseCase, model: str, following: str) -> str:
    """How a timeline goes on with a partition that has not been played; what to type for it."""
    last = use_case.scheme.last_key
    if last is not None and following > last:
        return f"the data end with {last}; raise `partitions: end` where there are more"
    command = f"ml-platform replay {use_case.name}/{model} --from {following} --to {last or '…'}"
    return f"what came since is played by `{command}`"
