"""A YAML file and what is wrong in it, in plain words and each with its line."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ml_platform.errors import ConfigError, PlatformError
from ml_platform.strict import IDENTIFIER, Misfits, Place

YAML_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader; libyaml's where it is built in, because it is eight times as fast at every start."""

_LISTED = 12
_TEXT_SHOWN = 40
_DURATION = "a duration such as P3D (days), PT2H (hours) or PT30M (minutes)"
_EXPECTED = {
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "date": "a date such as 2024-01-31",
    "datetime": "an instant such as 2024-01-31T10:00:00+01:00",
    "time": 'a time of day in quotes, such as "20:00",',
    "timezone": "an instant with its UTC offset, such as 2024-01-31T10:00:00+01:00",
}
"""What is expected, by the first word of pydantic's type of an error."""
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


@dataclass(frozen=True)
class YamlFile:
    """A YAML file that could be read.

    Attributes:
        path: The file.
        node: Its composed document, which knows lines; None where it is empty.
        data: What it says.
    """

    path: Path
    node: yaml.Node | None
    data: Any

    def line(self, place: Place) -> int:
        """The line of a place, of its nearest parent where it is missing."""
        node, line = self.node, 1
        for step in place:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(step)]
                if not found:
                    break
                line, node = found[-1][0].start_mark.line + 1, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line


def read_yaml(path: Path, noun: str, kind: type[PlatformError], example: str) -> YamlFile:
    """Read a YAML file that holds a mapping.

    Args:
        path: The file.
        noun: What it is, for people.
        kind: The class of its errors.
        example: How somebody begins who has an empty file.

    Raises:
        PlatformError: Of ``kind``: it cannot be read, is empty, or is no YAML; with the line.
    """
    node: yaml.Node | None = None
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=YAML_LOADER)
        data = yaml.load(text, Loader=YAML_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        raise kind(
            f"cannot read {noun}: {error}", where=str(path), fix="check path, rights and UTF-8"
        ) from error
    except yaml.YAMLError as error:
        what, line = _syntax(error, text)
        tabs = "tab" in what or "\t" in "".join(text.splitlines()[line - 1 : line])
        fix = "indent with spaces, never with tabs" if tabs else "mend the syntax there, or just above it"
        raise kind(f"this is not YAML: {what}", where=f"{path}:{line}", fix=fix) from error
    except ValueError as error:  # of a scalar that looks like a date and is none
        raise kind(
            f"a date or time cannot be: {error}",
            where=f"{path}:{_impossible_time(node)}",
            fix="correct it; a text that looks like a date is written in quotes",
        ) from error
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds {described(data)}, and no keys with values"
        raise kind(f"{noun} {what}", where=f"{path}:1", fix=example)
    return YamlFile(path, node, data)


def _syntax(error: yaml.YAMLError, text: str) -> tuple[str, int]:
    """The problem and its line, without PyYAML's own name of the file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        begun = f", {error.context}" if error.context else ""
        if begun and error.context_mark is not None and error.context_mark.line != error.problem_mark.line:
            begun += f" that begins in line {error.context_mark.line + 1}"
        return f"{error.problem}{begun}", error.problem_mark.line + 1
    position = getattr(error, "position", 0)
    return str(getattr(error, "reason", error)), text.count("\n", 0, position) + 1


def require_each_key_once(path: Path, node: yaml.Node | None) -> None:
    """YAML would keep the last of two, in silence.

    Raises:
        ConfigError: A key stands twice in one mapping.
    """
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in lines:
                raise ConfigError(
                    f"'{key.value}' stands twice, first in line {lines[str(key.value)]}",
                    where=f"{path}:{line}",
                    fix="keep one of them",
                )
            lines[str(key.value)] = line
            require_each_key_once(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            require_each_key_once(path, value)


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        for each in part if isinstance(part, tuple) else (part,):
            yield from _scalars(each)


def _impossible_time(node: yaml.Node | None) -> int:
    """The line of the first scalar that looks like a date and is none."""
    for scalar in _scalars(node):
        if scalar.tag.endswith(":timestamp"):
            try:
                yaml.constructor.SafeConstructor().construct_yaml_timestamp(scalar)
            except ValueError:
                return int(scalar.start_mark.line) + 1
    return 1


def told(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[Place, str]]:
    """What a validation found, each as the place and what is wrong there, in plain words.

    Args:
        error: What pydantic found.
        model: The model that was to be made.
        data: What it was to be made from.
    """
    said: dict[Place, list[str]] = {}
    for one in _causes(error):
        place = _written(one, data)
        for below, what in _sentences(one, place, model):
            said.setdefault((*place, *below), []).append(what)
    return [(place, _joined(words)) for place, words in said.items()]


def dotted(place: Place) -> str:
    """A place for people."""
    return ".".join(map(str, place)) or "file"


def nearest(name: object, known: Sequence[str]) -> str:
    """The name that may be meant, as a question; empty where none is near."""
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_key(key: object, known: Sequence[str]) -> str:
    """That there is no such key, and which one may be meant, or which ones there are."""
    there = f"; there are: {_some(known)}" if known else ""
    return f"there is no setting '{key}' here{nearest(key, known) or there}"


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that a model knows at a place."""
    at = _model_at(model, place)
    return [f.alias or n for n, f in at.model_fields.items()] if at is not None else []


def described(value: object) -> str:
    """What a value of YAML is, for people."""
    match value:
        case None:
            what = "nothing"
        case bool():
            what = "true" if value else "false"
        case int() | float():
            what = f"the number {value}"
        case datetime():
            what = f"the instant {value.isoformat()}"
        case date():
            what = f"the date {value}"
        case list() | tuple():
            what = "a list"
        case dict():
            what = f"a mapping ({_some(list(map(str, value)), 3)})"
        case _:
            text = str(value)
            what = f"the text '{text if len(text) <= _TEXT_SHOWN else text[:_TEXT_SHOWN] + '…'}'"
    return what


def _some(names: Sequence[str], most: int = _LISTED) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _causes(error: ValidationError) -> list[ErrorDetails]:
    """The errors without "too short" lists that are only short of items with errors of their own."""
    every = error.errors()

    def follows(one: ErrorDetails) -> bool:
        inside = [e for e in every if e is not one and e["loc"][: len(one["loc"])] == one["loc"]]
        return one["type"] == "too_short" and bool(inside)

    return [e for e in every if not follows(e)]


def _written(error: ErrorDetails, data: Any) -> Place:
    """Where in the data an error is, without a missing key and the union's members that pydantic appends."""
    place: list[str | int] = []
    for step in error["loc"]:
        there = isinstance(data, dict) and step in data
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            there = True
        if not there:
            break
        place.append(step)
        data = data[step]
    return tuple(place)


def _sentences(error: ErrorDetails, place: Place, model: type[BaseModel]) -> list[tuple[Place, str]]:
    """What is wrong, and where below the error's own place."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Misfits):
        return [(below, what) for what, below in cause.found]
    return [((), str(cause) if isinstance(cause, ValueError) else _sentence(error, place, model))]


def _sentence(error: ErrorDetails, place: Place, model: type[BaseModel]) -> str:
    """One of pydantic's errors in plain words; its own where it is of a kind that no settings have."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    expected = _EXPECTED.get(kind.split("_", maxsplit=1)[0])
    if kind == "missing":
        said = f"'{error['loc'][-1]}' is missing"
    elif kind == "extra_forbidden":
        said = unknown_key(place[-1], known_keys(model, place[:-1]))
    elif kind == "literal_error":
        known = re.findall(r"'?([^',]+?)'?(?:, | or |$)", context["expected"])
        said = f"{' or '.join(known)} is expected, found {described(value)}{nearest(value, known)}"
    elif kind in _LIMITS:
        words, limit = _LIMITS[kind]
        said = f"it must be {words} {context[limit]}, found {value}"
    elif kind == "string_pattern_mismatch" and context["pattern"] == IDENTIFIER:
        said = f"'{value}' is no name: it begins with a letter and has lower-case letters, digits and _ only"
    elif kind in ("too_short", "string_too_short"):
        said = f"at least {context['min_length']} is needed, found {context.get('actual_length', 0)}"
    elif kind.startswith("time_delta"):
        said = f"{_DURATION} is expected, found {described(value)}"
    elif expected is not None:
        keys = known_keys(model, place) if kind == "model_type" else []
        with_keys = f" with the keys {_some(keys)}" if keys else ""
        said = f"{expected}{with_keys} is expected, found {described(value)}{_quotes(kind, value)}"
    else:
        said = error["msg"]
    return said


def _quotes(kind: str, value: object) -> str:
    """What quotes would change: YAML takes some texts for something else."""
    if kind == "string_type" and isinstance(value, bool | int | float | date):
        return "; write it in quotes"
    if kind == "time_type" and isinstance(value, int):
        return f" (as which YAML reads {value // 60}:{value % 60:02} without quotes)"
    return ""


def _joined(words: Sequence[str]) -> str:
    """What the members of a union say of one value, as one sentence."""
    distinct = list(dict.fromkeys(words))
    heads = [w.partition(" is expected, found ") for w in distinct]
    if len(distinct) == 1 or not all(h[1] for h in heads):
        return "; ".join(distinct)
    return f"{' or '.join(h[0] for h in heads)}{heads[0][1]}{heads[0][2]}"


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The model at a place below another; None where there is none."""
    at: type[BaseModel] | None = model
    for step in place:
        if isinstance(step, int) or at is None:
            continue
        fields = {f.alias or n: f for n, f in at.model_fields.items()}
        at = _model_in(fields[step].annotation) if step in fields else None
    return at


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation means: itself, one that may be missing, or a list's."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for m in map(_model_in, get_args(annotation)) if m is not None), None)
