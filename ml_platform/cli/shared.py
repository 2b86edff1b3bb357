"""What the commands share: the platform, the terminal, and tables."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.config import SEARCH_PATH_VARIABLE
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.platform import Platform, Target

OptionalModel = Annotated[str | None, typer.Option("--model", help="<use_case>/<model>.")]
Who = Annotated[str | None, typer.Option(help="Who decides; the user of this terminal when left out.")]
Why = Annotated[str, typer.Option(help="The reason to keep.")]
_WIDE = 160
"""Columns of a table in a file or a log, where Rich would take 80 and break every other word."""


def _width() -> int | None:
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE


console = Console(soft_wrap=True, width=_width())
errors = Console(stderr=True, soft_wrap=True)


def platform() -> Platform:
    """The platform of this environment."""
    return Platform()


def one_target(stores: Platform, name: str | None) -> Target:
    """The model named; else the only one there is, or the only one that has a champion.

    Raises:
        NotFoundError: There are several.
    """
    if name:
        return stores.target(name)
    targets = stores.targets()
    if len(targets) > 1:
        from ml_platform.registry.promotions import champion

        targets = [t for t in targets if champion(stores.ledger, t.key) is not None] or targets
    if len(targets) == 1:
        return targets[0]
    from ml_platform.errors import NotFoundError

    if not targets:
        raise NotFoundError(
            "no use case can be read, so that there is no model",
            where=os.environ.get(SEARCH_PATH_VARIABLE) or "the built-in use cases",
            fix=f"name folders of use cases in {SEARCH_PATH_VARIABLE}; `ml-platform use-case list` shows "
            "what was found, and what is broken",
        )
    raise NotFoundError("there are several models", fix="name one: " + ", ".join(t.key for t in targets))


def tell_absent(stores: Platform) -> None:
    """Say, beside what a command shows, which use cases it cannot show, and why.

    A ledger that is down is no reason not to begin: `serve` waits for it.
    """
    from ml_platform.lifecycle import absent

    gone: list[str] = []
    with contextlib.suppress(PlatformError):
        gone = [str(error) for error in absent.removed(stores).values()]
    for told in (*gone, absent.lacking_folders()):
        if told:
            errors.print(f"[yellow]{escape(told)}[/]", highlight=False)


def person() -> str:
    """Who sits at the terminal."""
    try:
        return getpass.getuser()
    except OSError:
        return "unknown"


def day_or_instant(text: str | None) -> date | datetime | None:
    """What ``--as-of`` says: a day, or an instant with its offset.

    Raises:
        PlatformError: It is neither.
    """
    if text is None:
        return None
    try:
        if "T" not in text:
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
    except ValueError:
        raise PlatformError(
            f"'{text}' is neither a day nor an instant with its offset",
            where="--as-of",
            fix="write 2013-07-01 or 2013-07-01T22:00:00-04:00",
        ) from None
    return found


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table for the terminal."""
    made = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(escape(str(cell)) for cell in row))
    return made
