"""The use case's SQL, compiled once by dbt: the one definition of its entities, features and labels."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from ml_platform.config import UseCase
from ml_platform.errors import ConfigError, NotFoundError
from ml_platform.features.sql_lines import place

DIRECTORY_VARIABLE = "ML_PLATFORM_DBT_DIR"
"""Names the folder in which dbt finds and fills its disposable database, ``warehouse.duckdb``."""

TARGET = "target"
"""The variable's value, where dbt's own output goes too: seen from the project, because dbt parses everything
anew where its database has another path than the last time."""
_OUTPUT = (TARGET, "logs")

_FAILED = ("error", "fail", "runtime error")
_FIX = "correct the model or YAML that dbt names"
_GREETING = re.compile(r"^[\d:]+\s+Encountered an error:\s*")
_SOURCES = (".sql", ".yml", ".yaml", ".csv", ".md")


@dataclass(frozen=True)
class View:
    """One dbt model: its name and the SQL text that dbt compiled.

    Attributes:
        name: The dbt model's name, which is its table's.
        sql: Compiled SQL; reads feeds, cutoffs and views only.
        columns: Description by column, as dbt's YAML gives them.
        version: SHA-256 of the compiled text, white space at line ends aside.
        file: Where it is written; None of SQL that was kept.
        raw: As it is written there.
    """

    name: str
    sql: str
    columns: dict[str, str]
    version: str
    file: Path | None = None
    raw: str = ""

    def where(self, line: int | None = None) -> str:
        """Where it is written, for people; with the line that a line of its SQL came from, where certain."""
        if self.file is None:
            return f"dbt model {self.name}"
        return place(self.file, self.raw, self.sql, line)


@dataclass(frozen=True)
class CompiledViews:
    """A use case's three views and the versions of the code behind them."""

    entities: View
    features: View
    labels: View

    @property
    def feature_version(self) -> str:
        """Version of the feature code: entities and features."""
        return _hash(self.entities.sql + "\n" + self.features.sql)

    @property
    def label_version(self) -> str:
        """Version of the label code: entities and labels."""
        return _hash(self.entities.sql + "\n" + self.labels.sql)

    @property
    def by_name(self) -> dict[str, str]:
        """Versions of feature and label code, as a model's provenance names them."""
        return {"features": self.feature_version, "labels": self.label_version}

    @property
    def versions(self) -> tuple[str, str]:
        """Version of the feature code and of the label code."""
        return self.feature_version, self.label_version


def as_view(name: str, sql: str) -> View:
    """A view of SQL text that was compiled before."""
    return View(name, sql, {}, _hash(sql))


def manifest_path(dbt_dir: Path) -> Path:
    """Where :func:`compile_project` leaves dbt's manifest."""
    return dbt_dir / TARGET / "manifest.json"


def compile_project(dbt_dir: Path, *, force: bool = False) -> Path:
    """Compile a dbt project unless its sources are those of the last time; returns the manifest.

    Raises:
        ConfigError: There is no project, or dbt refuses it; dbt's own words are passed on.
    """
    if not (dbt_dir / "dbt_project.yml").exists():
        raise ConfigError(
            "there is no dbt project here",
            where=str(dbt_dir),
            fix="set `dbt_project` in use_case.yaml to the folder that holds dbt_project.yml",
        )
    manifest, stamp = manifest_path(dbt_dir), dbt_dir / TARGET / "sources.sha256"
    (dbt_dir / TARGET).mkdir(exist_ok=True)
    with FileLock(dbt_dir / TARGET / ".lock"):
        sources = _sources_hash(dbt_dir)
        if not force and manifest.exists() and stamp.exists() and stamp.read_text() == sources:
            return manifest
        stamp.unlink(missing_ok=True)
        _run_dbt(dbt_dir, "compile")
        stamp.write_text(sources)
    return manifest


def copy_project(dbt_dir: Path, folder: Path) -> Path:
    """Copy a project's sources, to be built where nothing else is; returns where its database goes.

    What dbt remembers of its parsing comes along: then nothing is parsed twice.
    """

    def output(where: str, names: list[str]) -> set[str]:
        return set(_OUTPUT) & set(names) if Path(where) == dbt_dir else set()

    shutil.copytree(dbt_dir, folder, ignore=output, dirs_exist_ok=True)
    (folder / TARGET).mkdir()
    parsed = dbt_dir / TARGET / "partial_parse.msgpack"
    if parsed.exists():
        shutil.copy(parsed, folder / TARGET)
    return folder / TARGET / "warehouse.duckdb"


def compiled_views(use_case: UseCase) -> CompiledViews:
    """The use case's compiled views; compiles when sources have changed.

    Raises:
        ConfigError: dbt refuses the project.
        NotFoundError: A view named in ``use_case.yaml`` is no dbt model.
    """
    manifest = compile_project(use_case.dbt_dir)
    nodes = _models(manifest, manifest.stat().st_mtime_ns)
    names = use_case.config.views
    return CompiledViews(*(_view(nodes, n, use_case) for n in (names.entities, names.features, names.labels)))


def dbt_command() -> list[str]:
    """dbt of this interpreter, wherever PATH points."""
    return [sys.executable, "-m", "dbt.cli.main"]


def _run_dbt(dbt_dir: Path, *arguments: str) -> None:
    command = [*dbt_command(), "--quiet", "--no-use-colors", *arguments]
    result = subprocess.run(
        [*command, "--project-dir", ".", "--profiles-dir", "."],
        cwd=dbt_dir,
        env=os.environ | {DIRECTORY_VARIABLE: TARGET, "DO_NOT_TRACK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    (dbt_dir / TARGET / "warehouse.duckdb").unlink(missing_ok=True)
    if result.returncode:
        # dbt explains itself on stdout; stderr holds the interpreter's and DuckDB's warnings at exit.
        words = _GREETING.sub("", result.stdout.strip() or result.stderr.strip())
        raise ConfigError(
            f"dbt cannot compile the project:\n{words[-2000:]}",
            where=_named_by_dbt(dbt_dir, words),
            fix=_FIX,
        )


def build_error(dbt_dir: Path, target: Path, words: str) -> ConfigError:
    """What ``dbt build`` could not build, or which of its tests failed, and in which file.

    Args:
        dbt_dir: The project.
        target: Where dbt left its ``run_results.json``.
        words: What dbt said, told where it left no results.
    """
    results = target / "run_results.json"
    found = json.loads(results.read_text(encoding="utf-8"))["results"] if results.exists() else []
    wrong = [r for r in found if r["status"] in _FAILED]
    if not wrong:
        return ConfigError(f"dbt build failed:\n{words[-2000:]}", where=str(dbt_dir), fix=_FIX)
    nodes = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["nodes"]
    files = [str(dbt_dir / nodes[r["unique_id"]]["original_file_path"]) for r in wrong]
    told = [f"{nodes[r['unique_id']]['name']}: {_plain(r['message'])}" for r in wrong]
    return ConfigError(
        "dbt build failed: " + "\n".join(told), where=", ".join(dict.fromkeys(files)), fix=_FIX
    )


def _plain(message: str) -> str:
    """dbt's message without its first line, which repeats name and file, and lines of what dbt made of it."""
    head, _, rest = message.strip().partition("\n")
    lines = [line.strip() for line in rest.splitlines()] if " in " in head and rest else [message.strip()]
    return " ".join(line for line in lines if line.strip("^ ") and not re.match(r"LINE \d+:", line))


def _named_by_dbt(dbt_dir: Path, words: str) -> str:
    """The file that dbt's words name, with its line where they name one; else the project."""
    files = [f for f in re.findall(r"\b[\w./-]+\.(?:sql|ya?ml)\b", words) if (dbt_dir / f).is_file()]
    if len(set(files)) != 1:
        return str(dbt_dir)
    line = re.search(r"^\s*line (\d+)$", words, re.MULTILINE)
    return f"{dbt_dir / files[0]}:{line[1]}" if line else str(dbt_dir / files[0])


def _sources_hash(dbt_dir: Path) -> str:
    hasher = hashlib.sha256()
    for file in sorted(_source_files(dbt_dir)):
        hasher.update(f"{file.relative_to(dbt_dir)}\0".encode() + file.read_bytes() + b"\0")
    return hasher.hexdigest()


def _source_files(dbt_dir: Path) -> Iterator[Path]:
    """Found in one walk, dbt's own output left out: each view that is built asks whether they changed."""
    for folder, folders, names in os.walk(dbt_dir):
        if folder == str(dbt_dir):
            folders[:] = [f for f in folders if f not in _OUTPUT]
        yield from (Path(folder, n) for n in names if n.endswith(_SOURCES))


@lru_cache(maxsize=8)
def _models(manifest: Path, _changed: int) -> dict[str, dict[str, Any]]:
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"].values()
    return {n["name"]: n for n in nodes if n["resource_type"] == "model"}


def _view(nodes: dict[str, dict[str, Any]], name: str, use_case: UseCase) -> View:
    if name not in nodes:
        raise NotFoundError(
            f"the dbt project has no model '{name}'",
            where=str(use_case.dbt_dir),
            fix=f"add it, or correct `views` in {use_case.folder / 'use_case.yaml'}",
        )
    node = nodes[name]
    columns = {c["name"]: c.get("description", "") for c in node["columns"].values()}
    file, sql = use_case.dbt_dir / node["original_file_path"], node["compiled_code"]
    # A model of a package lies elsewhere.
    return View(name, sql, columns, _hash(sql), file if file.is_file() else None, node["raw_code"])


def _hash(sql: str) -> str:
    text = "\n".join(line.rstrip() for line in sql.strip().splitlines())
    return hashlib.sha256(text.encode()).hexdigest()
