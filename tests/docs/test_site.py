"""The documentation builds without a warning, loads nothing from elsewhere, and says what there is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from ml_platform.cli.main import app
from ml_platform.config import json_schema, project_root

ROOT = project_root()
DOCS = ROOT / "docs"
WRITTEN = [p for p in sorted(DOCS.rglob("*.md")) if "generated" not in p.parts]
COMMAND = re.compile(r"(?:`|^|\s)ml-platform ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.M)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


KNOWN = dict(commands(typer.main.get_command(app)))


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe|source)[^>]+(?:src|href)=\"(?:https?:)?//", re.I)
    for page in built.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    for style in built.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), (
            style
        )


@pytest.mark.slow
def test_the_reference_has_every_command_setting_and_rule(built: Path) -> None:
    def page(name: str) -> str:
        text = (built / "reference" / "generated" / f"{name}.html").read_text(encoding="utf-8")
        return re.sub(r"<[^>]+>", "", text)

    told = page("command_line")
    assert all(f"ml-platform {' '.join(p)}" in told for p, c in KNOWN.items() if not hasattr(c, "commands"))
    settings = page("use_case")
    for definition in json_schema()["$defs"].values():
        assert all(key in settings for key in definition.get("properties", ()))
    assert "expect_column_values_to_be_between" in page("contract_rules")
    python = (built / "reference" / "python.html").read_text(encoding="utf-8")
    assert "NotReadyError" in python and "ml_platform.lifecycle.sql.query" in python
    assert (built / "use_case.schema.json").exists() and (built / "searchindex.js").exists()


@pytest.mark.slow
def test_the_picture_of_the_house_is_on_its_page(built: Path) -> None:
    assert "training_dataset" in (built / "explanation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(DOCS)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    for first, second in COMMAND.findall(page.read_text(encoding="utf-8")):
        assert (first,) in KNOWN, first
        if second and hasattr(KNOWN[first,], "commands"):
            assert (first, second) in KNOWN, f"{first} {second}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(DOCS)))
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    options = {o for c in KNOWN.values() for p in c.params for o in (*p.opts, *p.secondary_opts)}  # type: ignore[attr-defined]
    others = {"--name", "--user"}
    lines = [t for t in page.read_text(encoding="utf-8").splitlines() if "ml-platform" in t]
    assert {o for line in lines for o in OPTION.findall(line)} <= options | others


def test_every_page_is_reached_from_an_index() -> None:
    for folder in (DOCS / "how_to", DOCS / "reference"):
        listed = (folder / "index.md").read_text(encoding="utf-8")
        for page in folder.glob("*.md"):
            assert page.stem == "index" or re.search(rf"^{page.stem}$", listed, re.M), page
