"""A proposal for a use case: everything that is written down, and everything that is to be said about it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import get_args

import numpy as np
import pandas as pd

from ml_platform.errors import ConfigError
from ml_platform.partitions import PartitionScheme, Width
from ml_platform.remarks import Remark
from ml_platform.scaffold import beforehand, edges, timing
from ml_platform.scaffold.columns import ColumnProfile, FileProfile
from ml_platform.scaffold.features import FeatureGuess, look_at_features
from ml_platform.scaffold.instants import about_time, first_rows, instants, retimed, with_format
from ml_platform.scaffold.label import Label, look_at_label
from ml_platform.scaffold.roles import Roles, Wishes, decide, is_id
from ml_platform.scaffold.suspicious import suspicious
from ml_platform.scaffold.timing import Windows
from ml_platform.serving.answers import in_full


@dataclass(frozen=True)
class Proposal:
    """A use case as it will be written.

    Attributes:
        wishes: What was said.
        profile: The file.
        roles: Columns that are no features.
        label: The target.
        features: What becomes of each other column.
        past: Entity columns that come again and again, with whose past outcomes features are made.
        scheme: Partitions.
        width_reason: Why this width.
        windows: Windows and maturity.
        live: Whether the wall clock is the timeline's.
        label_delay: The rule, where no column says when the label was known.
        label_known_null: Whether some labels lack the instant.
        times_of_day: Whether events happen at different hours.
        weekdays: Whether events happen on different days of the week.
        remarks: Warnings and notes.
        at_cutoff: What of the file is known when its partitions are scored.
    """

    wishes: Wishes
    profile: FileProfile
    roles: Roles
    label: Label
    features: tuple[FeatureGuess, ...]
    past: tuple[ColumnProfile, ...]
    scheme: PartitionScheme
    width_reason: str
    windows: Windows
    live: bool
    label_delay: timedelta | None
    label_known_null: bool
    times_of_day: bool
    weekdays: bool
    remarks: tuple[Remark, ...]
    at_cutoff: beforehand.AtCutoff

    @property
    def inputs(self) -> list[ColumnProfile]:
        """The columns of the rows' feed besides entity and time."""
        found = [f.column for f in self.used]
        known = self.roles.row_known_at
        return found if known is None or known in found else [*found, known]

    @property
    def used(self) -> list[FeatureGuess]:
        """The columns that become features."""
        return [f for f in self.features if f.use != "dropped"]

    @property
    def median_rows(self) -> int:
        """Rows of a usual partition."""
        keys = len(self.scheme.keys(self.scheme.first_key, self.scheme.last_key or ""))
        scored = self.at_cutoff.rows * (1 - self.at_cutoff.labels)
        return max(1, round(int(self.profile.table.num_rows) * scored / keys))


class Refusal(ConfigError):
    """The data cannot become a use case as they are; all reasons at once.

    Attributes:
        remarks: The errors, and what else there was to say.
    """

    def __init__(self, remarks: Sequence[Remark], where: str) -> None:
        self.remarks = tuple(remarks)
        errors = [r for r in remarks if r.level == "error"]
        told = "\n".join(
            f"    {i}. {r.what}\n       where: {r.where}\n       fix:   {r.fix}"
            for i, r in enumerate(errors, 1)
        )
        super().__init__(
            f"{len(errors)} thing(s) in the data must be mended first:\n{told}",
            where=where,
            fix="mend them, then run `ml-platform use-case new` again; nothing has been written",
        )


def propose(profile: FileProfile, wishes: Wishes) -> Proposal:
    """Look at the data and propose.

    Raises:
        Refusal: The data cannot become a use case as they are.
        ConfigError: A column's role is neither said nor to be guessed.
    """
    profile = retimed(profile, wishes)
    roles = decide(profile, wishes)
    wishes = with_format(wishes, roles.time)
    remarks = list(_guessed(roles, wishes))
    for column in (roles.time, roles.known_at, roles.row_known_at):
        remarks += about_time(profile, column, roles.time, wishes) if column is not None else ()
    if any(r.level == "error" for r in remarks):
        raise Refusal(remarks, str(profile.path))
    events = instants(profile, roles.time, wishes)
    label, said = look_at_label(roles.label, _texts(profile, roles.label), wishes)
    remarks += said
    known, delay, said = _label_known(profile, roles, label, events, wishes)
    remarks += said
    if any(r.level == "error" for r in remarks):
        raise Refusal(remarks, str(profile.path))
    width, why = _width(events, known, wishes)
    scheme = timing.scheme_of(width, wishes.timezone, events.min(), events.max())
    if width == "hourly" and wishes.timezone not in ("UTC", "Etc/UTC"):
        what = f"hourly partitions are hours of UTC, not of {wishes.timezone}: a local hour may occur twice"
        remarks.append(Remark("note", what, f"column '{roles.time.source}'"))
    if known is None:
        delay = wishes.label_delay or _usual_delay(scheme)
        known = events + delay
        remarks.append(_assumed_delay(delay, roles.label, wishes))
    keys = pd.Series([scheme.key_at(e) for e in events])
    remarks += _repeated(profile, roles, scheme, keys, events)
    at_cutoff = beforehand.look_at_cutoff(beforehand.Rows(profile, roles, wishes, scheme, keys, known, label))
    remarks += at_cutoff.remarks
    remarks += _holes(scheme, events)
    others = _others(profile, roles)
    frame = _frame(profile, others, wishes)
    guesses, said = look_at_features(others, frame, label, events)
    past = tuple(c for c in roles.entity if c.distinct * 2 <= c.known)
    remarks += (
        said + suspicious(guesses, frame) + list(_few_features(guesses, past)) + list(_once(roles, past))
    )
    if any(r.level == "error" for r in remarks):
        raise Refusal(remarks, str(profile.path))
    there = known.notna().to_numpy() & ~np.isnan(label.values)
    maturity, late = timing.maturity_of(scheme, list(events[there]), list(known[there]))
    if late:
        what = f"{late:,} label(s) come later than the {maturity} partitions that training waits"
        remarks.append(Remark("note", what, "", "raise label.maturity_partitions to wait for them"))
    live = timing.is_live(scheme, events.max())
    scheme, said = edges.whole(scheme, events, known.where(there) if delay is None else None, live=live)
    remarks += said
    local = events.dt.tz_convert(wishes.timezone)
    return Proposal(
        wishes=wishes,
        profile=profile,
        roles=roles,
        label=label,
        features=tuple(guesses),
        past=past,
        scheme=scheme,
        width_reason=why,
        windows=timing.choose_windows(scheme, maturity, at_start=roles.row_known_at is not None),
        live=live,
        label_delay=delay,
        label_known_null=bool((known.isna() & ~np.isnan(label.values)).any()),
        times_of_day=bool(local.dt.hour.nunique() > 1),
        weekdays=bool(local.dt.weekday.nunique() > 1),
        remarks=tuple(remarks),
        at_cutoff=at_cutoff,
    )


def _guessed(roles: Roles, wishes: Wishes) -> Iterator[Remark]:
    """Roles that nobody said: they were found by name and type."""
    entity = ", ".join(c.source for c in roles.entity)
    known = roles.known_at.source if roles.known_at else ""
    for said, column, what, flag in (
        (wishes.time, roles.time.source, "when a row happened", "--time"),
        (wishes.label, roles.label.source, "what is to be predicted", "--label"),
        (wishes.known_at or not known, known, "when the label became known", "--known-at"),
        (wishes.entity, entity, "whom a row is about", "--entity"),
    ):
        if not said:
            yield Remark(
                "note", f"taken for {what}: {column}", f"column '{column}'", f"say {flag} for another"
            )


def _usual_delay(scheme: PartitionScheme) -> timedelta:
    """Two partitions: what happened at the begin of one is then known after the whole next one."""
    return timedelta(hours=2) if scheme.width == "hourly" else timedelta(days=2 * math.ceil(scheme.days))


def _texts(profile: FileProfile, column: ColumnProfile) -> pd.Series:
    values: pd.Series = profile.table[column.name].to_pandas()
    if column.kind == "boolean":
        return values.map(lambda v: None if pd.isna(v) else str(v).lower())
    return values.map(lambda v: None if pd.isna(v) else str(v))


def _label_known(
    profile: FileProfile, roles: Roles, label: Label, events: pd.Series, wishes: Wishes
) -> tuple[pd.Series | None, timedelta | None, list[Remark]]:
    """When each label was known, the rule where one is asked for, and remarks."""
    remarks: list[Remark] = []
    if events.isna().any():
        rows = first_rows(events.isna().to_numpy())
        what = f"{int(events.isna().sum())} row(s) have no event time"
        where = f"column '{roles.time.source}', rows {rows}"
        remarks.append(Remark("error", what, where, "fill them in: a row without one is in no partition"))
    if roles.known_at is None:
        return None, wishes.label_delay, remarks
    known = instants(profile, roles.known_at, wishes)
    lacking = int((known.isna().to_numpy() & ~np.isnan(label.values)).sum())
    where = f"column '{roles.known_at.source}'"
    if lacking:
        what = f"{lacking} row(s) have a label and no instant at which it was known: they will not be used"
        remarks.append(Remark("warning", what, where, "fill the instants in"))
    before = int((known < events).sum())
    if before:
        what = f"{before} label(s) were known before their event"
        fix = "check --time and --known-at; a label that is known before needs no prediction"
        mostly = before > 0.5 * known.notna().sum()
        remarks.append(Remark("error" if mostly else "warning", what, where, fix))
    return known, None, remarks


def _width(events: pd.Series, known: pd.Series | None, wishes: Wishes) -> tuple[Width, str]:
    if wishes.width is not None:
        return wishes.width, "as asked for"
    delay = (
        pd.Timedelta((known - events).median()).to_pytimedelta() if known is not None else wishes.label_delay
    )
    return timing.choose_width(list(events), delay, wishes.timezone)


def _assumed_delay(delay: timedelta, label: ColumnProfile, wishes: Wishes) -> Remark:
    if wishes.label_delay is not None:
        return Remark(
            "note",
            f"labels count as known {in_full(delay)} after the event, as said",
            f"column '{label.source}'",
        )
    return Remark(
        "warning",
        f"nothing says when a label became known: {in_full(delay)} after the event is assumed. If it takes "
        "longer, training and gates use outcomes that nobody could have known, and look better than "
        "production will",
        f"column '{label.source}'",
        "name the column with --known-at, or the usual wait with --label-delay P30D",
    )


def _repeated(
    profile: FileProfile, roles: Roles, scheme: PartitionScheme, keys: pd.Series, events: pd.Series
) -> Iterator[Remark]:
    """Rows of one partition with one entity: the same ones are dropped, contradicting ones cannot be."""
    names = [c.name for c in roles.entity]
    frame = profile.table.select(names).to_pandas().assign(__key=keys)
    where = ", ".join(c.source for c in roles.entity)
    empty = frame[names].isna().any(axis=1)
    if empty.any():
        rows = first_rows(empty.to_numpy())
        what = f"{int(empty.sum())} row(s) have no entity"
        yield Remark("error", what, f"column(s) {where}, rows {rows}", "fill them in, or leave the rows out")
    everything = profile.table.to_pandas().astype(str).assign(__key=keys)
    same = everything.duplicated(keep="first")
    if same.any():
        what = f"{int(same.sum())} row(s) repeat another row exactly: of each the first will be kept"
        yield Remark("warning", what, f"rows {first_rows(same.to_numpy())}")
    left = frame[~same]
    again = left.duplicated([*names, "__key"], keep=False)
    if again.any():
        first = left[again].iloc[0]
        alike = (left[[*names, "__key"]] == first[[*names, "__key"]]).all(axis=1)
        rows = [int(i) + 1 for i in left.index[alike][:3]]
        shown = "/".join(str(first[n]) for n in names)
        yield Remark(
            "error",
            f"{int(again.sum()):,} row(s) share their key ({where}, and the partition)",
            f"for example rows {rows}: {shown} in {first['__key']}",
            _told_apart(profile, roles, left, scheme, events),
        )


def _told_apart(
    profile: FileProfile, roles: Roles, left: pd.DataFrame, scheme: PartitionScheme, events: pd.Series
) -> str:
    """What makes the key unique: one more column, or a narrower partition; only what really does."""
    names = [c.name for c in roles.entity]
    tips = []
    # A number of its own tells rows apart best, then a category with few values; a measure by accident.
    more = [c for c in _others(profile, roles) if c.kind in ("string", "integer") and not c.nulls]
    for column in sorted(more, key=lambda c: (not is_id(c), c.kind != "string", c.distinct)):
        values = profile.table[column.name].to_pandas()
        if column.name not in names and not left.assign(__one_more=values).duplicated().any():
            entity = ",".join(c.source for c in (*roles.entity, column))
            tips.append(f"--entity {shlex.quote(entity)}")
            break
    narrower = get_args(Width)[: get_args(Width).index(scheme.width)]
    for width in reversed(narrower):
        narrow = timing.scheme_of(width, scheme.timezone, events.min(), events.max())
        if not left.assign(__key=events[left.index].map(narrow.key_at)).duplicated().any():
            tips.append(f"--width {width}")
            break
    if not tips:
        return "no one column more and no narrower --width tells them apart: keep one row of each key"
    return f"tell them apart with {' or '.join(tips)}, or correct the file"


def _holes(scheme: PartitionScheme, events: pd.Series) -> Iterator[Remark]:
    holes = timing.gaps(scheme, list(events))
    if holes:
        shown = ", ".join(holes[:3])
        yield Remark("note", f"{len(holes)} partition(s) have no row, for example {shown}")


def _others(profile: FileProfile, roles: Roles) -> list[ColumnProfile]:
    """Columns without a role; an entity that comes again and again is a category too."""
    taken = {c.name for c in (roles.time, roles.label, roles.known_at) if c}
    taken |= {c.name for c in roles.entity if c.distinct > 20}
    return [c for c in profile.columns if c.name not in taken]


def _frame(profile: FileProfile, columns: Sequence[ColumnProfile], wishes: Wishes) -> pd.DataFrame:
    found = {}
    for column in columns:
        if column.kind == "timestamp" and not column.mixed:
            found[column.name] = instants(profile, column, wishes)
        elif column.kind in ("integer", "number"):
            found[column.name] = pd.to_numeric(profile.table[column.name].to_pandas(), errors="coerce")
        else:
            found[column.name] = profile.table[column.name].to_pandas()
    return pd.DataFrame(found, index=range(profile.table.num_rows))


def _few_features(guesses: Sequence[FeatureGuess], past: Sequence[ColumnProfile]) -> Iterator[Remark]:
    if not [g for g in guesses if g.use != "dropped"] and not past:
        yield Remark(
            "error",
            "no column is left to predict from",
            ", ".join(g.column.source for g in guesses) or "the file",
            "give a file with more columns; each one's reason stands above",
        )


def _once(roles: Roles, past: Sequence[ColumnProfile]) -> Iterator[Remark]:
    where = ", ".join(c.source for c in roles.entity)
    seen_once = [c for c in roles.entity if c.distinct == c.known]
    if seen_once:
        yield Remark(
            "note",
            "each entity is seen once: none has a past, so no feature is made of past outcomes",
            f"column(s) {where}",
            "name a column that comes again (a machine, a shop) in --entity to have them",
        )
    elif not past:
        yield Remark(
            "note", "entities hardly come again: no feature is made of their past", f"column(s) {where}"
        )
