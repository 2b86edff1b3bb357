"""What a benchmark answers, and the table it is shown in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        what: What was measured.
        ours: The platform's median, in ``unit``.
        bare: The median of bare code that does the same; None where there is none to compare with.
        unit: Of both.
        target: Largest ratio that is good enough; None where nothing is promised.
        note: What else to know, such as how many were measured.
    """

    what: str
    ours: float
    bare: float | None
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.bare is None else self.ours / self.bare

    @property
    def verdict(self) -> str:
        if self.target is None or self.ratio is None:
            return "-"
        return "met" if self.ratio <= self.target else "short"


HEADER = ("what", "platform", "bare", "unit", "ratio", "target", "verdict", "note")


def table(lines: Sequence[Line]) -> str:
    """Lines as an aligned text table."""
    rows = [HEADER, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def in_turn(times: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Measure each side once per round, so that a busy moment touches all of them; measurements by side."""
    rounds = [[side() for side in sides] for _ in range(times)]
    return [list(column) for column in zip(*rounds, strict=True)]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.what,
        _number(line.ours),
        _number(line.bare),
        line.unit,
        _number(line.ratio),
        "-" if line.target is None else f"<= {line.target:g}",
        line.verdict,
        line.note,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:,.0f}"
