"""The platform knows no use case: what is built in is named in its own folders alone."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
USE_CASES = ROOT / "ml_platform" / "use_cases"
TEXT = {".py", ".yaml", ".yml", ".sql", ".md", ".mako", ".toml", ".html"}

# Words that a use case's columns share with everybody's language.
GENERIC = {
    "alt",
    "distance",
    "engine",
    "engines",
    "model",
    "name",
    "origin",
    "source",
    "speed",
    "temp",
    "type",
    "tz",
    "weekday",
    "year",
}


def names(value: Any) -> Iterator[str]:
    """All that is called ``name`` in a YAML document, and the columns that identify an entity."""
    if isinstance(value, dict):
        found = value.get("name")
        if isinstance(found, str):
            yield found
        for key, inner in value.items():
            yield from inner if key == "key" and isinstance(inner, list) else ()
            yield from names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


@cache
def declared() -> frozenset[str]:
    """Feeds, columns, features, models and use cases that the built-in use cases declare."""
    found: set[str] = set()
    for file in USE_CASES.glob("*/use_case.yaml"):
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        for part in ("feeds", "models", "timeline", "views"):
            found |= set(names(config[part])) | set(names({part: config[part]}))
        found.add(config["name"])
        folder = (file.parent / config.get("contracts", "contracts")).resolve()
        for contract in folder.glob("*.yaml"):
            for table in yaml.safe_load(contract.read_text(encoding="utf-8"))["schema"]:
                found |= {p["name"] for p in table["properties"]}
    return frozenset(w for w in found if re.fullmatch(r"[a-z][a-z0-9_]*", w))


@cache
def nouns() -> frozenset[str]:
    """What the use cases are about: the words in the names of their feeds, in the singular."""
    feeds: set[str] = set()
    for file in USE_CASES.glob("*/use_case.yaml"):
        feeds |= {f["name"] for f in yaml.safe_load(file.read_text(encoding="utf-8"))["feeds"]}
    parts = {part.removesuffix("s") for feed in feeds for part in feed.split("_")}
    return frozenset(parts - {"schedule", "outcome", "observation"})


def files(top: str, beside: Path) -> list[Path]:
    """Text files below a folder of the checkout, without the use case's own and without what is built."""
    found = [f for f in (ROOT / top).rglob("*") if f.is_file() and f.suffix in TEXT]
    built = {"__pycache__", "target", "logs"}
    return [
        f
        for f in sorted(found)
        if beside not in f.parents and not built & set(f.parts) and f != Path(__file__)
    ]


def mentions(text: str) -> set[str]:
    """Words of the built-in use cases that a text holds."""
    lower = text.lower()
    tokens = set(re.findall(r"[a-z][a-z0-9_]*", lower))
    words = (declared() - GENERIC) & tokens
    # "Planes" begins "explanes"-like words nowhere, but "plane" ends others; so nouns must start a word.
    return words | {n for n in nouns() if re.search(rf"(?<![a-z]){n}s?(?![a-z])", lower)}


def test_there_is_something_to_look_for() -> None:
    assert {"flight", "airport"} <= nouns()
    assert {"flight_schedule", "flight_delay"} <= declared()
    assert mentions("def f(airports): ...") == {"airport", "airports"}
    assert len(declared() - GENERIC) > 30


@pytest.mark.parametrize(
    ("top", "beside"),
    [("ml_platform", USE_CASES), ("tests", ROOT / "tests" / "use_cases"), ("benchmarks", USE_CASES)],
)
def test_nothing_outside_a_use_case_s_folder_names_it(top: str, beside: Path) -> None:
    found = {}
    for file in files(top, beside):
        words = mentions(file.read_text(encoding="utf-8")) | mentions(file.stem)
        if words:
            found[str(file.relative_to(ROOT))] = sorted(words)

    assert found == {}
