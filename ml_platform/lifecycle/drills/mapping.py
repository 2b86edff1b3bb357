"""What generic incidents must know of a use case: ``DRILLS`` in its ``drills.py``, or a default."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, ValidationError, model_validator

from ml_platform.errors import ConfigError, NotFoundError
from ml_platform.ingestion.code import package_of
from ml_platform.lifecycle.drills.own_code import guarded, own_code
from ml_platform.lifecycle.platform import Target
from ml_platform.strict import Strict

Mask: TypeAlias = npt.NDArray[np.bool_]
Shift: TypeAlias = Callable[[str, pa.Table, int], pa.Table]
Positive: TypeAlias = Callable[[pa.Table], npt.NDArray[np.float64]]
_Value = TypeVar("_Value")
Flip: TypeAlias = Callable[[pa.Table, Mask, Mask], pa.Table]


class Columns(Strict):
    """Numeric columns of a feed.

    ``factor`` is of the unit change; ``step`` is the least step of the values, to which shifts are rounded.
    """

    feed: str = Field(description="Name of the feed.")
    columns: tuple[str, ...] = Field(min_length=1, description="Columns that change together.")
    factor: float = Field(default=1.0, description="new = factor * old, in a change of unit.")
    step: float = Field(default=0.0, ge=0, description="Least step of the values; 0 where there is none.")


class Segment(Strict):
    """A column of the outcome feed, or of one beside it, and the values at which an outcome's law changes."""

    column: str = Field(description="Column; also the name of the feature whose values are segments.")
    values: tuple[str, ...] = Field(min_length=1, description="Values.")
    feed: str = Field(default="", description="Feed that holds the column; the outcome feed when empty.")
    key: tuple[str, ...] = Field(
        default=(), description="Columns by which an outcome finds its row there, within its partition."
    )

    @model_validator(mode="after")
    def _found_by_a_key(self) -> Segment:
        if bool(self.feed) != bool(self.key):
            raise ValueError("'feed' and 'key' go together")
        return self


class Entity(Strict):
    """Where one case of the use case stands in its raw feeds, so that it can be taken out or come twice."""

    feeds: tuple[str, ...] = Field(min_length=1, description="Feeds that hold a row of it, all by its key.")
    key: tuple[str, ...] = Field(min_length=1, description="Columns of its key within a partition.")
    number: str = Field(
        description="Integer column of the key; one that comes twice gets a number not in use."
    )

    recurring: bool = Field(
        default=False,
        description="Whether a number means the same in later partitions, and features count its past.",
    )

    @model_validator(mode="after")
    def _number_in_key(self) -> Entity:
        if self.number not in self.key:
            raise ValueError(f"number '{self.number}' is no column of the key ({', '.join(self.key)})")
        return self


class DrillMap(Strict):
    """Where the generic incidents strike in one use case. Values are never told to the platform.

    An incident whose key is left out does not apply to the use case, and is not played.

    The use case's ``drills.py`` holds a plain ``DRILLS = {...}`` with these keys, so that it need import
    nothing from here. Without one, :func:`ml_platform.lifecycle.drills.default_map.default_map` says what
    follows from settings, contracts and SQL.
    """

    unit: Columns | None = Field(default=None, description="A feature's raw columns whose unit changes.")
    nulls: Columns | None = Field(default=None, description="A feature's raw columns that lose values.")
    benign: Columns | None = Field(default=None, description="Raw columns of a feature that matters little.")
    outcome: str | None = Field(
        default=None, description="Feed of the outcomes; its known_at delays the labels."
    )
    positive: Positive | None = Field(
        default=None, description="1, 0 or NaN (unknown) for each raw row of the outcome feed."
    )
    flip: Flip | None = Field(
        default=None,
        description="Raw outcomes with some rows made positive and some negative, all columns consistent.",
    )
    entity: Entity | None = Field(
        default=None,
        description="Where a case stands in the feeds; a prior shift of several classes replaces cases.",
    )
    amount: Columns | None = Field(
        default=None,
        description="Raw numeric columns that a regression's label is made of; a prior shift scales them.",
    )
    segment: Segment | None = Field(
        default=None, description="Where the outcome's law changes in a concept drift."
    )
    skewed: tuple[str, ...] = Field(
        default=(),
        description="Features served wrongly; the numeric ones that do not run with time if empty.",
    )
    shift: Shift | None = Field(
        default=None,
        description="(feed, table, days) -> table: moves dates that are kept as text or numbers. Timestamps "
        "and dates are moved before.",
    )
    permuted_from: date | None = Field(
        default=None,
        description="Partitions before this one stay where they are: a beginning that does not repeat.",
    )
    in_order: tuple[str, ...] = Field(
        default=(),
        description="Models whose drills keep the real order of partitions, because a permuted world has "
        "nothing to teach them; real drift is then part of every drill.",
    )
    unsuited: Mapping[str, str] = Field(
        default={},
        description="Incidents that do not apply, with the reason: by their name, or by <model>/<name>.",
    )
    first: date | None = Field(
        default=None, description="First partition served; as early as the windows allow when left out."
    )
    absent: Mapping[str, str] = Field(
        default={}, description="Why a key is left out, by key; told where an incident asks for it."
    )


def needed(value: _Value | None) -> _Value:
    """A key of the map that the incident needs.

    Raises:
        NotFoundError: The use case's map leaves it out.
    """
    if value is None:
        raise NotFoundError(
            "this incident strikes where the use case's map names nothing",
            where="drills.py",
            fix="add the key that the incident `needs`, or play another incident",
        )
    return value


def drill_map(target: Target) -> DrillMap:
    """The use case's own map; without one, what follows from its settings, contracts and SQL.

    Raises:
        ConfigError: Its own is malformed, fails, or ends its process; so do its functions.
    """
    use_case = target.use_case
    file = use_case.folder / "drills.py"
    if not file.exists():
        # It builds maps itself, and reads SQL, which an own map need not pay for.
        from ml_platform.lifecycle.drills.default_map import default_map

        return default_map(target)
    with own_code(file, "the use case's drills.py"):
        module = importlib.import_module(f"{package_of(use_case.folder.resolve())}.drills")
    values: Any = getattr(module, "DRILLS", None)
    try:
        mapped = DrillMap.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            f"DRILLS is malformed: {problems}", where=str(file), fix="correct the keys"
        ) from error
    functions = {n: f for n in ("positive", "flip", "shift") if (f := getattr(mapped, n)) is not None}
    return mapped.model_copy(
        update={n: guarded(f, file, f"'{n}' of the use case's drills.py") for n, f in functions.items()}
    )
