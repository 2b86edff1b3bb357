"""Finding a use case's own Python code: without running it, and then by importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_platform.errors import FeedError
from ml_platform.ingestion.unending import kept_running

_SPEC = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


def code_file(folder: Path, spec: str) -> tuple[Path, str, str]:
    """The file, the module's name and the function's name that ``module:function`` means.

    Raises:
        FeedError: The spec is malformed, or there is no such file.
    """
    if not _SPEC.match(spec):
        raise FeedError(
            f"'{spec}' does not name a reader", where=str(folder), fix="write it as 'module:function'"
        )
    module_name, function_name = spec.split(":")
    file = folder / (module_name.replace(".", "/") + ".py")
    if not file.exists():
        raise FeedError(
            f"there is no module for the reader '{spec}'",
            where=str(file),
            fix="create it, or correct 'reader'",
        )
    return file, module_name, function_name


def check_code(folder: Path, spec: str) -> None:
    """Whether ``module:function`` can be there, read from its source and without running any of it.

    Raises:
        FeedError: No such file, a syntax error, an import of a package that is not installed, or no such
            function.
    """
    file, _, function_name = code_file(folder, spec)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise FeedError(
            f"the reader's module is not Python: {getattr(error, 'msg', error)}",
            where=f"{file}:{line}",
            fix="correct the syntax",
        ) from error
    for line, package in _imported(tree):
        if importlib.util.find_spec(package) is None:
            raise FeedError(
                f"the reader's module imports '{package}', which is not installed",
                where=f"{file}:{line}",
                fix="install it beside the platform, or do without it",
            )
    names = set(_bound(tree))
    if function_name not in names and "*" not in names:
        raise _no_function(file, function_name)


def load_code(folder: Path, spec: str) -> Callable[..., Any]:
    """The function that ``spec`` names.

    Args:
        folder: Folder of the use case. Its modules may import each other relatively
            (``from .helper import x``), and never collide with another use case's.
        spec: ``module:function``, for example ``feeds:read_orders``.

    Raises:
        FeedError: The spec is malformed, or there is no such module or function, or the module fails.
    """
    file, module_name, function_name = code_file(folder, spec)
    try:
        with kept_running():
            module = importlib.import_module(f"{package_of(folder.resolve())}.{module_name}")
    except (Exception, SystemExit) as error:  # one that ends its process would end a run without a word
        raise FeedError(
            f"the reader's module fails to import: {type(error).__name__}: {error}",
            where=place_of(error, folder) or str(file),
            fix="correct the module",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise _no_function(file, function_name)
    return function  # type: ignore[no-any-return]


def place_of(error: BaseException, folder: Path) -> str:
    """File and line of the innermost code below a folder that an error went through; empty if none did."""
    root = folder.resolve()
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(root):
        return f"{error.filename}:{error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{f.filename}:{f.lineno}" for f in frames if Path(f.filename).is_relative_to(root)]
    return own[-1] if own else ""


def defined_at(function: Callable[..., Any]) -> str:
    """File and line of a function's definition; its module where it has none, as a built-in."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(function.__module__)


def package_of(folder: Path) -> str:
    """The package a use case's modules live in; one is made up for folders outside this one."""
    if folder.is_relative_to(_PACKAGE_ROOT):
        return ".".join((_PACKAGE_ROOT.name, *folder.relative_to(_PACKAGE_ROOT).parts))
    name = f"_use_case_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        importlib.invalidate_caches()
    return name


def _no_function(file: Path, name: str) -> FeedError:
    return FeedError(
        f"the module has no function '{name}'", where=str(file), fix="define it, or correct 'reader'"
    )


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level package of the module's own unconditional absolute imports."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.lineno, node.module.split(".")[0]


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names that a module's top level may bind; '*' where an import hides which."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
