"""``ml-platform use-case new``: looks at a file, asks where there is a terminal, writes one folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args
from zoneinfo import available_timezones

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from ml_platform.cli.shared import console, table
from ml_platform.config import SEARCH_PATH_VARIABLE, OwnerConfig, keeper_of, use_case_files
from ml_platform.config_errors import told
from ml_platform.discovery import discover
from ml_platform.errors import ConfigError
from ml_platform.partitions import Width
from ml_platform.remarks import Remark

if TYPE_CHECKING:
    from ml_platform.scaffold.columns import FileProfile
    from ml_platform.scaffold.proposal import Proposal
    from ml_platform.scaffold.roles import ModelKind, Wishes

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}$")
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_Kind = Literal["binary", "regression", "multiclass"]


def new(
    name: Annotated[str, typer.Argument(help="Name of the use case: lower case, digits and underscores.")],
    source: Annotated[Path, typer.Option("--from", help="CSV or Parquet file with a row per event.")],
    entity: Annotated[
        str | None,
        typer.Option(help="Columns, separated by commas, that identify a row within its partition."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column that says when a row happened.")] = None,
    label: Annotated[str | None, typer.Option(help="Column to predict; empty while nobody knows.")] = None,
    known_at: Annotated[
        str | None, typer.Option(help="Column that says when the label became known.")
    ] = None,
    row_known_at: Annotated[
        str | None,
        typer.Option(
            help="Column that says when a row itself was known, before it happened, as of a booking: each "
            "partition is then scored at its begin."
        ),
    ] = None,
    label_delay: Annotated[
        str | None,
        typer.Option(help="Without --known-at: how long after the event it is known, such as P30D or PT6H."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="binary, regression or multiclass; found in the label when left out.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Binary: the label's value that is a yes.")] = None,
    width: Annotated[
        str | None, typer.Option(help="Partitions: hourly, daily, weekly or monthly; chosen when left out.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of times without an offset, and of days.")] = "UTC",
    time_format: Annotated[
        str,
        typer.Option(
            help="strptime format of times, such as '%d/%m/%Y', where the data do not tell; or "
            "epoch_seconds or epoch_milliseconds."
        ),
    ] = "",
    team: Annotated[str, typer.Option(help="Team that owns it.")] = "owner",
    email: Annotated[str, typer.Option(help="Address of the owner.")] = "owner@example.org",
    into: Annotated[
        Path | None,
        typer.Option(help="Folder to write into; the first of ML_PLATFORM_USE_CASES, else ./use_cases."),
    ] = None,
    ask: Annotated[
        bool | None, typer.Option(help="Ask for what is not said; by default where there is a terminal.")
    ] = None,
) -> None:
    """Propose a use case from a file, and write it as one folder.

    It looks at the data and proposes contracts, features and settings: types, ranges, categories and keys; no
    ids, constants or copies of the label among the features; partitions, windows and the wait for labels from
    the times in the file. The folder's README says what was assumed; `use_case.yaml` says why, line by line.
    """
    from ml_platform.scaffold.columns import profile_file
    from ml_platform.scaffold.proposal import Refusal, propose
    from ml_platform.scaffold.roles import Wishes
    from ml_platform.scaffold.writing import write_use_case

    if not _NAME.match(name):
        raise ConfigError(
            f"'{name}' is no name", where="NAME", fix="use lower-case letters, digits and underscores"
        )
    _require_free(name)
    if timezone not in available_timezones():
        close = get_close_matches(timezone, available_timezones(), 1, 0.5)
        fix = f"name an IANA zone such as {close[0] if close else 'Europe/Berlin'}"
        raise ConfigError(f"there is no time zone '{timezone}'", where="--timezone", fix=fix)
    _require_owner(team, email)
    wishes = Wishes(
        name=name,
        entity=tuple(c.strip() for c in (entity or "").split(",") if c.strip()),
        time=time,
        label=label,
        known_at=known_at,
        row_known_at=row_known_at,
        kind=cast("ModelKind | None", _one_of(kind, get_args(_Kind), "--kind")),
        positive=positive,
        label_delay=_duration(label_delay),
        width=cast("Width | None", _one_of(width, get_args(Width), "--width")),
        timezone=timezone,
        time_format=time_format,
        team=team,
        email=email,
    )
    with console.status(f"looking at {source} …"):
        profile = profile_file(source)
    _show(profile)
    asks = ask if ask is not None else sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        wishes = _asked(profile, wishes)
    try:
        proposal = propose(profile, wishes)
    except Refusal as refusal:
        show_remarks([r for r in refusal.remarks if r.level != "error"])
        raise
    folder = write_use_case(proposal, into or _usual_place())
    show_remarks(proposal.remarks)
    _tell(proposal, folder)


def _require_owner(team: str, email: str) -> None:
    owner = {"team": team, "email": email}
    try:
        OwnerConfig.model_validate(owner)
    except ValidationError as error:
        (key, *_), what = told(error, OwnerConfig, owner)[0]
        raise ConfigError(what, where=f"--{key}", fix="name who answers for the use case") from None


def _require_free(name: str) -> None:
    """A name that no use case has, and that neither SQL nor the platform keeps for itself."""
    taken = {path.parent.name: path.parent for path in use_case_files()}
    taken |= {each.name: each.folder for each in discover().use_cases.values()}
    if name in taken:
        raise ConfigError(
            f"there is a use case '{name}' already", where=str(taken[name]), fix="choose another name"
        )
    if keeper := keeper_of(name):
        what = f"'{name}' is a name that {keeper} keeps for itself"
        raise ConfigError(what, where="NAME", fix="choose another name")


def show_remarks(remarks: Sequence[Remark]) -> None:
    """Print remarks, each with where and fix."""
    for remark in remarks:
        colour = _COLOURS[remark.level]
        console.print(f"[{colour}]{remark.level:8}[/] {escape(remark.what)}", highlight=False)
        if remark.where:
            console.print(f"           where: {escape(remark.where)}", highlight=False)
        if remark.fix:
            console.print(f"           fix:   {escape(remark.fix)}", highlight=False)


def _show(profile: FileProfile) -> None:
    from ml_platform.scaffold.columns import in_percent

    rows = []
    for c in profile.columns:
        span = (
            f"{c.low:g} to {c.high:g}"
            if c.low is not None and c.high is not None
            else ", ".join(c.values[:4])
        )
        missing = f"{c.nulls:,} ({in_percent(c.nulls / c.rows)})" if c.nulls else "0"
        told = (c.unusable, "–", "–", "–") if c.unusable else (c.kind, f"{c.distinct:,}", missing, span)
        rows.append((c.source, *told))
    title = f"{profile.path.name}: {profile.table.num_rows:,} rows"
    console.print(table(title, ("column", "type", "different", "missing", "values"), rows))


def _answer(question: str, *, default: str | None = None) -> str:
    """What is answered; a pipe echoes no answer, and with it the end of the line is missing."""
    try:
        return str(typer.prompt(question, default=default))
    finally:
        if not sys.stdin.isatty():
            console.print()


def _asked(profile: FileProfile, wishes: Wishes) -> Wishes:
    """Ask for what was not said; the guesses are the defaults."""
    from ml_platform.scaffold.instants import retimed
    from ml_platform.scaffold.roles import guess

    profile = retimed(profile, wishes)
    found = guess(profile, wishes)

    def column(question: str, default: str | None) -> str:
        shown = profile.column(default).source if default else None
        return _answer(question, default=shown)

    if wishes.time is None:
        wishes = replace(wishes, time=column("When did a row happen? (column)", found.get("time")))
    if wishes.label is None:
        wishes = replace(wishes, label=column("What is to be predicted? (column)", found.get("label")))
    if not wishes.entity:
        told = column("What identifies a row in its partition? (columns)", found.get("entity"))
        wishes = replace(wishes, entity=tuple(c.strip() for c in told.split(",")))
    if wishes.known_at is None and wishes.label_delay is None:
        default = profile.column(found["known_at"]).source if "known_at" in found else ""
        told = _answer("When did the label become known? (column, or a wait such as P7D)", default=default)
        if re.match(r"^P\d|^PT\d", told):
            wishes = replace(wishes, label_delay=_duration(told))
        else:
            wishes = replace(wishes, known_at=told or None)
    taken = {profile.column(n).name for n in (wishes.time, wishes.known_at) if n}
    others = [c for c in profile.columns if c.kind == "timestamp" and c.name not in taken]
    if wishes.row_known_at is None and others:
        told = _answer(
            "When was a row itself known? (a column, as of a booking; empty: when it happens)", default=""
        )
        wishes = replace(wishes, row_known_at=told or None)
    if wishes.width is None:
        told = _answer("How wide is a partition? (hourly, daily, weekly, monthly, or auto)", default="auto")
        known = _one_of(None if told == "auto" else told, get_args(Width), "width")
        wishes = replace(wishes, width=cast("Width | None", known))
    return wishes


def _tell(proposal: Proposal, folder: Path) -> None:
    name, windows = proposal.wishes.name, proposal.windows
    console.print(f"\nWritten: [bold]{escape(str(folder))}[/]", highlight=False)
    told = [
        ("predicts", f"{proposal.roles.label.source} ({proposal.label.kind})"),
        ("for", ", ".join(c.source for c in proposal.roles.entity)),
        ("happens at", proposal.roles.time.source),
        ("known at", _known(proposal)),
        ("scored at", f"the {'end' if proposal.roles.row_known_at is None else 'begin'} of its partition"),
        ("partitions", f"{proposal.scheme.width}: {proposal.width_reason}"),
        ("labels complete", f"after {windows.maturity} partition(s)"),
        ("windows", f"{windows.train} to train, {windows.gate} to judge"),
        ("features", ", ".join(f.name for f in proposal.used)),
        ("left out", ", ".join(f.column.source for f in proposal.features if f.use == "dropped") or "–"),
    ]
    for what, value in told:
        console.print(f"  {what:16} {escape(value)}", highlight=False)
    console.print("\n[bold]Next[/]")
    paths = [Path(p).resolve() for p in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if p]
    if folder.parent not in paths:
        console.print(f"  export {SEARCH_PATH_VARIABLE}={escape(str(folder.parent))}", highlight=False)
    console.print(f"  ml-platform use-case check {name}", highlight=False)
    console.print(f"  ml-platform run {name}", highlight=False)


def _known(proposal: Proposal) -> str:
    column = proposal.roles.known_at
    if column is not None:
        return column.source
    from ml_platform.serving.answers import in_full

    return f"{in_full(proposal.label_delay or timedelta())} after that"


def _usual_place() -> Path:
    """The first search path that is no use case itself."""
    paths = [Path(p) for p in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if p]
    return next((p for p in paths if not (p / "use_case.yaml").exists()), Path("use_cases"))


def _one_of(value: str | None, allowed: Sequence[str], where: str) -> str | None:
    if value is not None and value not in allowed:
        raise ConfigError(f"'{value}' is not known", where=where, fix=f"choose one of: {', '.join(allowed)}")
    return value


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return TypeAdapter(timedelta).validate_python(text)
    except ValidationError:
        raise ConfigError(
            f"'{text}' is no duration", where="--label-delay", fix="write P30D, PT6H or P1DT12H"
        ) from None
