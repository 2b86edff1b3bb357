"""What the how-to pages show can be typed: settings that exist, commands that take what they are given."""

import json
import re
import textwrap
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from test_readme import Path_, documented, resolve

from ml_platform.config import project_root

PAGES = sorted((project_root() / "docs" / "how_to").glob("*.md"))
SCHEMA = json.loads(
    (project_root() / "ml_platform/use_cases/use_case.schema.json").read_text(encoding="utf-8")
)
PLACEHOLDERS = {"…": "2013-07-01T00:00:00+00:00", "N": "1"}


def snippets() -> Iterator[tuple[str, Any]]:
    """Blocks of YAML that are settings of a use case, by page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^( *)```yaml\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
            value = yaml.safe_load(textwrap.dedent(block[2]))
            if isinstance(value, dict):
                yield f"{page.stem}:{text[: block.start()].count(chr(10)) + 1}", value


def partial(schema: Any) -> Any:
    """The schema without what it requires: a snippet leaves the rest out."""
    if isinstance(schema, dict):
        return {k: partial(v) for k, v in schema.items() if k != "required"}
    return [partial(v) for v in schema] if isinstance(schema, list) else schema


def wrong(value: Any) -> list[str]:
    """What is wrong with a snippet of a use case, or of one of its models."""
    schema = partial(SCHEMA)
    model = {"$ref": "#/$defs/ModelConfig", "$defs": schema["$defs"]}
    found = [[e.message for e in Draft202012Validator(s).iter_errors(value)] for s in (schema, model)]
    return min(found, key=len)


SNIPPETS = list(snippets())
COMMANDS = [(page.stem, path, rest) for page in PAGES for path, rest in documented(page)]


def test_the_pages_are_read() -> None:
    """Else all that follows would hold of nothing."""
    assert {name.partition(":")[0] for name, _ in SNIPPETS} >= {"add_a_feed", "add_a_gate", "price_decisions"}
    assert len(COMMANDS) > 20
    assert wrong({"models": [{"gates": {"minimum_auk": 0.7}}]})


@pytest.mark.parametrize(("name", "value"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
def test_settings_that_a_page_shows_exist(name: str, value: Any) -> None:
    assert not wrong(value), name


@pytest.mark.parametrize(
    ("page", "path", "rest"), COMMANDS, ids=[" ".join((g, *p, *r)) for g, p, r in COMMANDS]
)
def test_commands_that_a_page_shows_take_what_it_gives_them(page: str, path: Path_, rest: list[str]) -> None:
    _, _, command = resolve(list(path))
    words = list(takewhile(lambda w: w not in ("<", ">", "|"), rest))
    try:
        command.make_context(path[-1], [PLACEHOLDERS.get(w, w) for w in words])
    except Exception as error:
        # A command that is mentioned may leave out what it is about.
        assert type(error).__name__ in {"MissingParameter", "NoArgsIsHelpError"}, f"{page}: {error}"
