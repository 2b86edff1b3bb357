"""What an estimator's parameter may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ml_platform.errors import ConfigError

Value: TypeAlias = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number with its default, its range (both ends inclusive), and how tuning searches it.

    Attributes:
        default: The platform's default; its type is the parameter's.
        low: Least value.
        high: Largest value.
        search: Range that tuning searches; None where it keeps the value.
        log: Whether tuning searches on a logarithmic scale.
    """

    default: int | float
    low: float
    high: float
    search: tuple[float, float] | None = None
    log: bool = False

    def check(self, name: str, value: Value) -> int | float:
        """The value as the parameter's type.

        Raises:
            ConfigError: It is not a number of that type, or out of range.
        """
        whole = isinstance(self.default, int)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        inside = number and self.low <= float(value) <= self.high
        if not inside or (whole and float(value) != int(value)):
            raise ConfigError(
                f"parameter {name} cannot be {value!r}",
                where=f"training.parameters.{name}",
                fix=f"use {'a whole number' if whole else 'a number'} from {self.low:g} to {self.high:g}",
            )
        return int(value) if whole else float(value)
