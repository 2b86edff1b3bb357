"""The label: its kind, its values, when it is known, and why it may be none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ml_platform.remarks import Remark
from ml_platform.scaffold.columns import ColumnProfile, identifiers, in_percent
from ml_platform.scaffold.roles import ModelKind, Wishes

_POSITIVE = re.compile(r"^(1|true|t|yes|y|positive|bad|late|failed|default|churn)$", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*[+-]?\d+([.,]\d+)?\s*$")
FEWEST_LABELS = 200
FEWEST_TO_LEARN, FEWEST_OF_CLASS = 5, 30
MOSTLY_MISSING = 0.99
_MOST_CLASSES = 20


@dataclass(frozen=True)
class Label:
    """What is predicted.

    Attributes:
        column: Its column.
        kind: Kind of target.
        positive: Value that is the positive one, as the file writes it; binary only.
        negative: The other value.
        classes: Identifier by value as the file writes it, the usual one first; multiclass only.
        values: One number per row of the file: 0 and 1, the number, or the class's place; NaN while unknown.
    """

    column: ColumnProfile
    kind: ModelKind
    positive: str
    negative: str
    classes: dict[str, str]
    values: np.ndarray


def look_at_label(column: ColumnProfile, texts: pd.Series, wishes: Wishes) -> tuple[Label, list[Remark]]:
    """The label and what is to be said about it; errors where nothing can be learned.

    Args:
        column: Its profile.
        texts: Its values as text, null while unknown, shape (rows,).
        wishes: What was said.
    """
    kind = wishes.kind or _kind(column)
    where = f"column '{column.source}'"
    remarks = list(_unlearnable(column, where))
    values = np.full(len(texts), np.nan)
    if (column.known and column.distinct < 2) or not column.known:  # nothing else can be said of it
        return Label(column, kind, "", "", {}, values), remarks
    positive = negative = ""
    classes: dict[str, str] = {}
    if kind == "binary":
        positive, negative, wrong = _two(column, wishes.positive, where)
        remarks += wrong
        known = texts.notna().to_numpy()
        values[known] = (texts[known] == positive).to_numpy(dtype=float)
    elif kind == "regression":
        values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float)
        if column.kind not in ("integer", "number"):
            remarks.append(_no_numbers(column, texts, where))
    else:
        classes, wrong = _several(column, where)
        remarks += wrong
        places = {v: i for i, v in enumerate(classes)}
        values = texts.map(places).to_numpy(dtype=float)
    remarks += _balance(kind, values, where)
    return Label(column, kind, positive, negative, classes, values), remarks


def _kind(column: ColumnProfile) -> ModelKind:
    if column.distinct <= 2 or column.kind == "boolean":
        return "binary"
    return "regression" if column.kind in ("integer", "number") and column.distinct > 10 else "multiclass"


def _unlearnable(column: ColumnProfile, where: str) -> Iterator[Remark]:
    if column.known and column.distinct < 2:
        shown = column.values[0] if column.values else "one value"
        yield Remark(
            "error",
            f"the label is constant: every row that has one has '{shown}'",
            where,
            "give a file in which the other outcome occurs too, or name another --label",
        )
    share = column.nulls / column.rows
    lacking = f"the label is missing in {column.nulls:,} of {column.rows:,} rows ({in_percent(share)})"
    wrong = "where empty means 'no', write the no out once it is certain"
    if column.known < FEWEST_LABELS or share >= MOSTLY_MISSING:
        what = lacking if column.nulls else f"only {column.known:,} rows have a label"
        fix = f"at least {FEWEST_LABELS} rows and 1 % must have it" + (f"; {wrong}" if column.nulls else "")
        yield Remark("error", what, where, fix)
    elif column.nulls:
        level: Literal["warning", "note"] = "warning" if share > 0.5 else "note"
        yield Remark(level, f"{lacking}: they are scored, and train nothing", where, wrong)
    if column.mixed or column.strange_rows:
        shown = ", ".join(f"row {i}: '{t}'" for i, t in column.strange[:3])
        yield Remark(
            "error", f"the label has values of mixed types ({shown})", where, "write all of them in one type"
        )


def _no_numbers(column: ColumnProfile, texts: pd.Series, where: str) -> Remark:
    shown = ", ".join(f"'{t}'" for t in texts.dropna().unique()[:3])
    suited = _kind(column)
    say = f"say --kind {suited}" if suited == "binary" or column.distinct <= _MOST_CLASSES else ""
    fix = " or ".join(t for t in (say, "name a column of numbers with --label") if t)
    return Remark(
        "error", f"a regression predicts a number, and the label's values are none: {shown}", where, fix
    )


def _two(column: ColumnProfile, wish: str | None, where: str) -> tuple[str, str, list[Remark]]:
    values = list(column.values)
    if len(values) > 2 or not values:
        told = f"{column.distinct} values" if values else "too many values"
        fix = "say --kind regression or --kind multiclass, or reduce it to two values"
        return "", "", [Remark("error", f"a binary label has two values, this one {told}", where, fix)]
    if wish is not None and wish not in values:
        fix = f"it has: {', '.join(values)}"
        return "", "", [Remark("error", f"the label never is '{wish}'", f"--positive, {where}", fix)]
    likely = [v for v in values if _POSITIVE.match(v)]
    positive = wish or (likely[0] if len(likely) == 1 else values[-1])
    negative = next((v for v in values if v != positive), "")
    remarks = []
    if wish is None and len(likely) != 1 and len(values) == 2:
        what = f"'{positive}' is taken for the positive outcome, because it is the rarer one"
        remarks.append(Remark("note", what, where, f"say --positive '{negative}' for the other"))
    return positive, negative, remarks


def _several(column: ColumnProfile, where: str) -> tuple[dict[str, str], list[Remark]]:
    values = list(column.values)
    if not 3 <= len(values) <= _MOST_CLASSES:
        what = f"a multiclass label has 3 to {_MOST_CLASSES} values, this one {column.distinct}"
        return {}, [Remark("error", what, where, "say --kind binary or regression, or group the values")]
    numbers = [v for v in values if _NUMBER.match(v)]
    remarks = []
    if numbers and len(numbers) < len(values):
        words = ", ".join(f"'{v}'" for v in values if v not in numbers)
        what = f"the label is a number in some rows ({', '.join(numbers)}) and a word in others ({words})"
        fix = "write each outcome in one way; as it is each value is a class of its own"
        remarks.append(Remark("warning", what, where, fix))
    return dict(zip(values, identifiers(values), strict=True)), remarks


def _balance(kind: ModelKind, values: np.ndarray, where: str) -> Iterator[Remark]:
    known = values[~np.isnan(values)]
    if kind == "regression" or len(known) < FEWEST_LABELS:
        return
    _, counts = np.unique(known, return_counts=True)
    if kind == "binary" and len(counts) > 1 and counts.min() < FEWEST_TO_LEARN:
        times = "once" if counts.min() == 1 else f"{counts.min()} times"
        yield Remark(
            "error",
            f"the rarest outcome occurs {times} in {len(known):,} rows: nothing can be learned from so few, "
            "and training and gates need some of them each",
            where,
            f"give more history, in which it occurs {FEWEST_TO_LEARN} times at least and better "
            f"{FEWEST_OF_CLASS}, or predict something that happens more often",
        )
    elif len(counts) > 1 and counts.min() < FEWEST_OF_CLASS:
        yield Remark(
            "warning",
            f"the rarest outcome occurs {counts.min()} times in {len(known):,} rows: gates and monitors will "
            "mostly be unable to judge",
            where,
            "give more history, or predict something that happens more often",
        )
