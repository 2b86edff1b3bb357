"""Writes the reference pages that follow from the code: settings of a use case, and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import typer

from ml_platform.cli.main import app
from ml_platform.config import json_schema
from ml_platform.contracts import dialect


def write(folder: Path) -> None:
    """Write all generated pages; one that has not changed keeps its time, so that builds stay incremental."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "use_case.md": use_case_page(json_schema()),
        "command_line.md": command_line_page(typer.main.get_command(app)),
        "contract_rules.md": contract_rules_page(),
    }
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


# --- use_case.yaml ------------------------------------------------------------------------------------


def use_case_page(schema: Mapping[str, Any]) -> str:
    """Every key of ``use_case.yaml`` with type, default and meaning, from its JSON schema."""
    parts = [
        "# Settings: use_case.yaml",
        "Generated from the JSON schema that `ml-platform schema` prints and editors read; it lies "
        "beside these pages as `use_case.schema.json`. Unknown keys are errors. A key without a default is "
        "required.",
        *_object("The file", schema),
    ]
    for name, definition in sorted(schema.get("$defs", {}).items()):
        if "properties" in definition:
            parts += [f"({_target(name)})=", *_object(name, definition)]
        elif "enum" in definition:
            words = ", ".join(f"`{v}`" for v in definition["enum"])
            parts += [f"({_target(name)})=", f"## {name}", words]
    return "\n\n".join(parts) + "\n"


def _object(title: str, definition: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    # Double backticks and roles are for readers of the code.
    yield " ".join(definition.get("description", "").replace("``", "`").split()) or title
    required = set(definition.get("required", ()))
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, value in definition["properties"].items():
        default = "" if key in required else f"`{_short(value.get('default'))}`"
        rows.append(f"| `{key}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |")
    yield "\n".join(rows)


def _type(value: Mapping[str, Any]) -> str:
    name = value.get("$ref", "").rpartition("/")[2]
    if name:
        return f"[{name}](#{_target(name)})"
    several = next((value[j] for j in ("anyOf", "oneOf", "allOf") if j in value), None)
    if several is not None:
        return " or ".join(dict.fromkeys(_type(v) for v in several))
    words = [value["const"]] if "const" in value else value.get("enum")
    return " or ".join(f"`{w}`" for w in words) if words else _plain_type(value)


def _plain_type(value: Mapping[str, Any]) -> str:
    kind = value.get("type", "any")
    if kind == "array":
        items = value.get("items") or (value.get("prefixItems") or [{}])[0]
        return f"list of {_type(items)}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"map to {_type(value['additionalProperties'])}"
    return " ".join(filter(None, (str(kind), value.get("format"), _limits(value))))


def _limits(value: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return " ".join(f"{sign} {value[name]:g}" for name, sign in signs.items() if name in value)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "as below" if value else "{}"
    return str(value) if not isinstance(value, str) else value or "''"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _target(name: str) -> str:
    return f"setting-{name.lower()}"


# --- command line ---------------------------------------------------------------------------------------


def command_line_page(root: click.Command) -> str:
    """Every command with its usage, arguments and options."""
    parts = ["# Command line", "Generated from the commands. `ml-platform COMMAND --help` says the same."]
    for path, command in _commands(root, ("ml-platform",)):
        name = " ".join(path)
        context = click.Context(command, info_name=name)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        parts += [f"## {name}", _text(command), f"```text\n{usage}\n```"]
        rows = [_parameter(p) for p in command.params if p.name != "help"]
        if rows:
            parts.append("\n".join(["| parameter | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from _commands(each, (*path, name))


def _text(command: click.Command) -> str:
    return " ".join((command.help or "").split())


def _parameter(parameter: click.Parameter) -> str:
    optional = [*parameter.opts, *parameter.secondary_opts]
    isargument = parameter.param_type_name == "argument"
    names = (parameter.name or "").upper() if isargument else ", ".join(optional)
    default = parameter.default
    shown = "" if callable(default) or default in (None, False, "") else f"`{default}`"
    meaning = _cell(getattr(parameter, "help", None) or "")
    return f"| `{names}` | {meaning} | {'required' if parameter.required else shown} |"


# --- contracts ------------------------------------------------------------------------------------------


def contract_rules_page() -> str:
    """What a contract may say, from the tables that the parser itself reads."""
    expectations = [
        f"| `{name}` | {'rows' if shape.by_row else 'the partition'} | {_names(shape.columns)} | "
        f"{_names(shape.required)} | {_names(shape.optional)} |"
        for name, shape in sorted(dialect.EXPECTATIONS.items())
    ]
    options = [f"| `{kind}` | {_names(names)} |" for kind, names in dialect.TYPE_OPTIONS.items()]
    parts = [
        "# Contract rules",
        "Generated from what the parser accepts. How to use them: [contracts](../contracts.md).",
        f"`onBreach`: {_names(dialect.ON_BREACH)}. Limits: {_names(dialect.OPERATORS)}. "
        f"Dimensions: {_names(dialect.DIMENSIONS)}. Metrics: {_names(dialect.METRICS)}.",
        "## Options of logical types",
        "\n".join(["| logicalType | logicalTypeOptions |", "|---|---|", *options]),
        "## Expectations",
        "\n".join(
            [
                "| expectation | judges | columns | required | optional |",
                "|---|---|---|---|---|",
                *expectations,
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{n}`" for n in names) or "–"
