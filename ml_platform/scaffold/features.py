"""Which columns can be inputs: without ids, constants, copies of the label, and what comes too late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.ranking import concordance, either_way
from ml_platform.remarks import Remark
from ml_platform.scaffold.columns import ALSO_MISSING, ColumnProfile, in_percent, is_number
from ml_platform.scaffold.label import Label

Use = Literal["numeric", "categorical", "elapsed", "dropped"]
LEAK_AUC = 0.995
"""A single column that ranks the outcome this well, in either direction, knows it."""
_MOST_CATEGORIES = 100
_MOST_NULLS = 0.95
_ID_SHARE = 0.9
_WITH_TIME = 0.95


@dataclass(frozen=True)
class FeatureGuess:
    """What becomes of a column.

    Attributes:
        column: The column.
        use: How models read it; ``elapsed`` is the days from an instant to the event.
        why: The reason, for the comment beside it.
        runs_with_time: Whether it is expected to rise as time goes by.
        strength: The AUC with which it alone ranks the label.
    """

    column: ColumnProfile
    use: Use
    why: str
    runs_with_time: bool = False
    strength: float = 0.5

    @property
    def name(self) -> str:
        """The feature's column."""
        return f"days_since_{self.column.name}"[:62] if self.use == "elapsed" else self.column.name


def look_at_features(
    columns: Sequence[ColumnProfile], data: pd.DataFrame, label: Label, events: pd.Series
) -> tuple[list[FeatureGuess], list[Remark]]:
    """What becomes of each column, and what is to be said about it.

    Args:
        columns: Those that have no other role.
        data: Their values: numbers, instants (UTC) or text, shape (rows, columns).
        label: The label.
        events: The rows' event times (UTC).
    """
    guesses: list[FeatureGuess] = []
    remarks: list[Remark] = []
    for column in columns:
        guess = _guess(column, data[column.name], label, events)
        guesses.append(guess)
        remarks += _told(guess)
    return guesses, remarks


def _guess(column: ColumnProfile, values: pd.Series, label: Label, events: pd.Series) -> FeatureGuess:
    reason = _useless(column)
    if reason:
        return FeatureGuess(column, "dropped", reason)
    if column.kind == "timestamp":
        return _instant(column, values, events)
    use: Use = "numeric" if column.kind in ("integer", "number") else "categorical"
    known = _strength(values, label, use)
    if known >= LEAK_AUC:
        return FeatureGuess(
            column, "dropped", f"LEAK: alone it ranks the label with an AUC of {known:.3f}, so it knows it"
        )
    if use == "categorical":
        return FeatureGuess(column, use, f"{column.distinct} values", strength=known)
    with_time = _runs_with_time(values, events)
    span = f"{column.low:g} to {column.high:g}" if column.low is not None and column.high is not None else ""
    return FeatureGuess(column, use, f"from {span}" if span else "a number", with_time, known)


def _instant(column: ColumnProfile, values: pd.Series, events: pd.Series) -> FeatureGuess:
    unread = int(values.isna().sum()) - column.nulls
    later = float((values > events).mean())
    if unread:
        why = f"FORMAT: {unread:,} values are not written as the event times are"
    elif later > 0:
        why = f"LATE: in {in_percent(later)} of the rows it is after the event, so it was not known"
    else:
        return FeatureGuess(column, "elapsed", "an instant before the event: its age in days", True)
    return FeatureGuess(column, "dropped", why)


def _useless(column: ColumnProfile) -> str:
    """Why a column is no feature; empty where it may be one."""
    text, nulls = column.kind == "string", column.nulls / column.rows
    own = column.known > _MOST_CATEGORIES and column.distinct > _ID_SHARE * column.known
    reasons = (
        (bool(column.unusable), f"TYPE: {column.unusable} is no single value; make columns of it first"),
        (column.known == 0, "EMPTY: no row has a value"),
        (column.distinct < 2, "CONSTANT: it has one value only"),
        (nulls > _MOST_NULLS, f"EMPTY: missing in {in_percent(nulls)} of the rows"),
        (column.mixed, "MIXED: numbers and texts"),
        (text and own, "ID: nearly every row has a value of its own"),
        (
            column.kind == "integer" and own and column.distinct == column.known,
            "ID: every row has a number of its own",
        ),
        (
            text and column.distinct > _MOST_CATEGORIES,
            f"MANY: {column.distinct} categories; make a rate of it in the SQL of the features",
        ),
    )
    return next((why for is_so, why in reasons if is_so), "")


def _strength(values: pd.Series, label: Label, use: Use) -> float:
    """The best AUC with which a column ranks the label, in either direction; for numbers its concordance."""
    known = ~np.isnan(label.values)
    outcome = label.values[known]
    column = values[known]
    if use == "categorical":
        if column.nunique() > len(column) / 20:
            return 0.5
        means = pd.Series(outcome).groupby(column.astype(str).to_numpy()).transform("mean")
        ranks = means.to_numpy()
    else:
        ranks = column.fillna(column.min() - 1).to_numpy(dtype=float)
    if len(np.unique(outcome)) < 2 or len(np.unique(ranks)) < 2:
        return 0.5
    several = label.kind == "multiclass"
    ranked = [(outcome == c).astype(float) for c in np.unique(outcome)] if several else [outcome]
    return max(either_way(concordance(each, ranks)) for each in ranked)


def _runs_with_time(values: pd.Series, events: pd.Series) -> bool:
    there = values.notna()
    if there.sum() < 10 or values[there].nunique() < 3:
        return False
    return bool(spearmanr(values[there], events[there].astype("int64")).statistic > _WITH_TIME)


def _told(guess: FeatureGuess) -> Iterator[Remark]:
    column, where = guess.column, f"column '{guess.column.source}'"
    if guess.use == "dropped" and guess.why.startswith(("LEAK", "LATE")):
        yield Remark(
            "warning",
            f"left out of the features: {guess.why}",
            where,
            "if it really is known by then, add it to the SQL of the features and to use_case.yaml",
        )
    elif guess.use == "dropped" and guess.why.startswith("FORMAT"):
        what = f"left out of the features: {guess.why}"
        yield Remark("warning", what, where, "write all times of the file in one format to use it")
    elif guess.use == "dropped":
        fix = "write it in one type to use it" if column.mixed else ""
        shown = ", ".join(f"row {i}: '{t}'" for i, t in column.strange[:3]) if column.mixed else ""
        level: Literal["warning", "note"] = "warning" if column.mixed else "note"
        yield Remark(level, f"left out of the features: {guess.why} {shown}".strip(), where, fix)
    elif guess.strength > (limit := DiagnosisConfig().leakage_auc):
        yield Remark(
            "warning",
            f"it is kept, but alone it ranks the label with an AUC of {guess.strength:.3f}: above {limit:g} "
            "the diagnosis takes a feature for one that knows the label, and blocks training",
            where,
            "if it is not known by the cutoff, take it out of the file, use_case.yaml and the SQL of the "
            "features; if it is, raise diagnosis: leakage_auc in use_case.yaml",
        )
    if guess.use != "dropped" and column.missing_words:
        words = ", ".join(f"'{w}'" for w in column.missing_words)
        fix = "take a text out of `source: missing` in use_case.yaml where it means something"
        yield Remark("note", f"{words} is read as missing: {column.nulls:,} values", where, fix)
    if guess.use == "categorical" and column.numbers:
        yield _few_of_both(column, where)
    if guess.use != "dropped" and column.strange_rows:
        shown = ", ".join(f"row {i}: '{t}'" for i, t in column.strange[:3])
        yield Remark(
            "warning",
            f"{column.strange_rows} of {column.known:,} values are no {column.kind} ({shown}): those rows "
            "will be quarantined",
            where,
            "mend them, or name the text in `source: missing` where it means nothing",
        )


def _few_of_both(column: ColumnProfile, where: str) -> Remark:
    """Few values, numbers and texts: a category, unless the texts only say that there is no number."""
    numbers = [v for v in column.values if is_number(v)]
    texts = [v for v in column.values if v not in numbers]
    shown = ", ".join(f"'{v}'" for v in texts[:3])
    nothing = [v for v in texts if v.strip().lower() in ALSO_MISSING]
    meant = ", ".join(f"'{v}'" for v in nothing or texts[:1])
    rows = ", ".join(f"row {i}: '{t}'" for i, t in column.strange[:3])
    return Remark(
        "warning",
        f"it has values of mixed types, {column.numbers:,} numbers ({', '.join(numbers[:3])}"
        f"{', …' if len(numbers) > 3 else ''}) and {column.known - column.numbers:,} texts ({shown}): each "
        "value is taken for a category of its own, so that 2 is no more than 1",
        f"{where}, for example {rows}",
        f"leave it if they are codes; if texts such as {meant} mean that nothing is known, leave those cells "
        "empty in the file, and it is read as a number",
    )
