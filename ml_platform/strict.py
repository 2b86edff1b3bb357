"""What all settings models share: unknown keys are errors, and settings do not change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

IDENTIFIER = r"^[a-z][a-z0-9_]{0,62}$"
Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
Place: TypeAlias = "tuple[str | int, ...]"
"""Keys and indexes that lead to a value."""


class Misfits(ValueError):
    """What does not fit together in a model whose settings are right one by one.

    Args:
        found: What is wrong, and where below the model.
    """

    def __init__(self, found: Sequence[tuple[str, Place]]) -> None:
        super().__init__("; ".join(what for what, _ in found))
        self.found = tuple(found)


def _no_number(kind: str) -> BeforeValidator:
    """Refuses numbers, which pydantic takes for seconds: YAML reads 20:00 without quotes as 1200."""

    def refuse(value: object) -> object:
        if isinstance(value, int | float):
            raise PydanticCustomError(kind, "a number is no {what}", {"what": kind})
        return value

    return BeforeValidator(refuse)


LocalTime = Annotated[time, _no_number("time_type")]
Duration = Annotated[timedelta, _no_number("time_delta_type")]
Day = Annotated[date, _no_number("date_type")]
Instant = Annotated[datetime, _no_number("datetime_type")]
DayOrInstant = Annotated[date | datetime, _no_number("date_type")]


class Strict(BaseModel):
    """A model that forbids unknown keys and cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
