"""Which line of a dbt model's file an error of DuckDB is about; nothing is said where that is not certain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")


def said(error: Exception) -> tuple[str, int | None]:
    """What DuckDB said, as one line, and the line of the statement that it names."""
    text = str(error)
    found = _LINE.search(text)
    words = text[: found.start()] if found else text.partition("\n\n")[0]
    sentences = [" ".join(each.split()).replace(": :", ":") for each in words.splitlines() if each.strip()]
    return "; ".join(sentences), int(found[1]) if found else None


def place(file: Path, raw: str, compiled: str, line: int | None) -> str:
    """A model's file, with the line of its source that a line of its compiled SQL came from."""
    came_from = source_line(raw, compiled, line) if line is not None else None
    return f"{file}:{came_from}" if came_from else str(file)


def source_line(raw: str, compiled: str, line: int) -> int | None:
    """The line of a model's source that a line of its compiled SQL came from; None where it is not certain.

    Jinja may make any number of lines out of one. So lines are followed one to one from the top as long as
    each is what its source says outside of Jinja, and in the same way from the bottom.

    Args:
        raw: The model as written.
        compiled: As dbt compiled it.
        line: A line of that, from 1.
    """
    written, made = raw.rstrip().split("\n"), compiled.rstrip().split("\n")
    if not 1 <= line <= len(made):
        return None
    if line <= _alike(written, made):
        return line
    below = len(made) - line
    if below < _alike(written[::-1], made[::-1]):
        return len(written) - below
    return None


def _alike(written: Sequence[str], made: Sequence[str]) -> int:
    """How many first lines came from each other one to one."""
    count = 0
    for source, result in zip(written, made, strict=False):
        pattern = ".*".join(re.escape(part) for part in _JINJA.split(source))
        if not re.fullmatch(pattern, result):
            break
        count += 1
    return count
