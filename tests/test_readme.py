"""Every command in the README exists as it is written there, and a test or CI runs it."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from ml_platform.cli.main import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
CALLS = {"cli", "run", "invoke", "command_serving"}
TARGETS_RUN_HERE = {
    "clean-demo": "test_clean_demo_forgets_only_what_is_the_platform_s",
    "bench": "test_a_benchmark_runs",
    "dev": "test_make_dev_starts_what_is_tested",
    "docs": "test_make_docs_builds_as_it_is_tested",
}
Path_ = tuple[str, ...]


# --- what the README says -----------------------------------------------------------------------------


def spans(text: str) -> Iterator[list[str]]:
    """Code of each line: the spans between backticks, or the line itself inside a block."""
    block = False
    for line in text.splitlines():
        if line.startswith("```"):
            block = not block
        elif block:
            yield [line.split("#")[0].strip()]
        else:
            yield re.findall(r"`([^`]+)`", line)


def words_of(code: str) -> list[str]:
    """Words as a shell reads them; an ellipsis stands for one word."""
    return [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', code)]


@cache
def group() -> Any:
    return typer.main.get_command(app)


def resolve(words: list[str]) -> tuple[Path_, list[str], Any]:
    """The longest path of words that is a command, the words after it, and the command."""
    command, path = group(), []
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words[0]]
        path.append(words[0])
        words = words[1:]
    return tuple(path), words, command


def documented(page: Path = README) -> list[tuple[Path_, list[str]]]:
    """Commands of ``ml-platform``, with arguments; a span may go on where the one before it left off."""
    found: list[tuple[Path_, list[str]]] = []
    for codes in spans(page.read_text(encoding="utf-8")):
        before: Path_ = ()
        for code in codes:
            words = words_of(code)
            if words and words[0] == "ml-platform":
                path, rest, _ = resolve(words[1:])
                assert path or not words[1:], f"{page.name}: there is no command `{code}`"
            elif before and (again := _continued(before, words)) is not None:
                path, rest = again
            else:
                continue
            if path:
                found.append((path, rest))
                before = path
    return found


def _continued(before: Path_, words: list[str]) -> tuple[Path_, list[str]] | None:
    if words[0].startswith("--"):
        return before, words
    for start in (before[:-1], ()):
        path, rest, _ = resolve([*start, *words])
        if len(path) > len(start):
            return path, rest
    return None


DOCUMENTED = documented()


def make_targets() -> set[str]:
    lines = [c for codes in spans(README.read_text(encoding="utf-8")) for c in codes]
    return {m.group(1) for c in lines if (m := re.match(r"make ([a-z-]+)", c))}


# --- what tests and CI run ----------------------------------------------------------------------------


@cache
def exercised() -> set[Path_]:
    """Commands that a test calls: its first word begins a call, the others are in the same function."""
    found: set[Path_] = set()
    known = commands(group())
    for file in (ROOT / "tests").rglob("test_*.py"):
        if file == Path(__file__):
            continue
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and (called := _called(function)):
                texts = {c.value for c in ast.walk(function) if isinstance(c, ast.Constant)}
                found |= {p for p in known if p[0] in called and texts >= set(p)}
    # docs/test_tutorial.py runs every command of the tutorial.
    blocks = re.findall(
        r"^```bash\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found | {p for p in known if re.search(rf"ml-platform {' '.join(p)}\b", "".join(blocks))}


def _called(function: ast.FunctionDef) -> set[str]:
    first: set[str] = set()
    for call in ast.walk(function):
        name = getattr(getattr(call, "func", None), "id", getattr(getattr(call, "func", None), "attr", ""))
        if not isinstance(call, ast.Call) or name not in CALLS:
            continue
        lists = [a.elts for a in call.args if isinstance(a, ast.List)]
        for words in (call.args, *lists):
            if words and isinstance(words[0], ast.Constant):
                first.add(str(words[0].value))
    return first


def commands(command: Any, *path: str) -> list[Path_]:
    if not hasattr(command, "commands"):
        return [path]
    return [p for name, inner in command.commands.items() for p in commands(inner, *path, name)]


def recipe(target: str) -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n?)*)", text, re.MULTILINE)
    assert found is not None, f"the Makefile has no target '{target}'"
    return found.group(1)


# --- the tests ----------------------------------------------------------------------------------------


def test_the_readme_is_read() -> None:
    """Else all that follows would hold of nothing."""
    paths = {path for path, _ in DOCUMENTED}
    assert {("incident", "resolve"), ("verdict", "history"), ("reject",), ("clock", "set"), ("get",)} <= paths
    assert (("catalogue",), ["--json"]) in DOCUMENTED and len(paths) > 25
    assert {"demo", "dev", "test", "clean-demo"} <= make_targets()


@pytest.mark.parametrize(("path", "rest"), DOCUMENTED, ids=[" ".join((*p, *r)) for p, r in DOCUMENTED])
def test_a_documented_command_takes_what_the_readme_gives_it(path: Path_, rest: list[str]) -> None:
    _, _, command = resolve(list(path))
    given = ["2013-07-01T00:00:00+00:00" if w == "…" else w for w in rest]
    try:
        command.make_context(path[-1], given)
    # Typer brings a click of its own, so that the class of its errors has no public name.
    except Exception as error:
        missing = type(error).__name__ in {"MissingParameter", "NoArgsIsHelpError"}
        assert missing and not given, f"README: {' '.join((*path, *rest))}: {error}"


@pytest.mark.parametrize("path", sorted({p for p, _ in DOCUMENTED}), ids=" ".join)
def test_a_documented_command_is_run_by_a_test(path: Path_) -> None:
    assert path in exercised(), f"no test runs `ml-platform {' '.join(path)}`"


@pytest.mark.parametrize("target", sorted(make_targets()))
def test_a_documented_target_is_run_by_ci_or_a_test(target: str) -> None:
    recipe(target)
    in_ci = f"make {target}\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert in_ci or TARGETS_RUN_HERE.get(target, "") in globals(), f"nothing runs `make {target}`"


def test_make_dev_starts_what_is_tested() -> None:
    """``orchestration/test_dagster_dev.py`` and ``cli/test_cli.py`` run these commands for real."""
    started = recipe("dev")
    assert "dagster dev -w workspace.yaml -h 127.0.0.1 -p" in started
    tested = (ROOT / "tests/orchestration/test_dagster_dev.py").read_text(encoding="utf-8")
    assert '["dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p"' in tested
    assert set(re.findall(r"/ml-platform (\w+)", started)) <= {p[0] for p in exercised() if len(p) == 1}


def test_make_docs_builds_as_it_is_tested() -> None:
    """``docs/test_site.py`` builds the site with these options."""
    assert "sphinx-build -W --keep-going -q -b html docs" in recipe("docs")
    tested = (ROOT / "tests/docs/test_site.py").read_text(encoding="utf-8")
    assert '"sphinx", "-W", "--keep-going", "-q", "-b", "html"' in tested


def test_clean_demo_forgets_only_what_is_the_platform_s(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.db").touch()
    command = ["make", "clean-demo", f"ML_PLATFORM_HOME={home}"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode and "does not look like" in refused.stderr and home.exists()
    (home / ".ml-platform-home").touch()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert not home.exists()


@pytest.mark.slow
def test_a_benchmark_runs(served_home: Path) -> None:
    assert "python -m benchmarks" in recipe("bench")
    command = [sys.executable, "-m", "benchmarks", "serving"]
    environment = os.environ | {"ML_PLATFORM_HOME": str(served_home)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # 1 where a machine misses a target, which is no fault of the code.
    assert done.returncode in {0, 1} and "get by key" in done.stdout, done.stderr[-2000:]
    assert "no champion here" not in done.stdout, "it measures on what is there, in a copy"
