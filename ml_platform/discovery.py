"""Which use cases there are: those that can be read, and those that cannot, with the reason.

One that cannot be read stops no other: it is kept beside them, so that everything can show it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_platform.config import SEARCH_PATH_VARIABLE, UseCase, load_use_case, use_case_files
from ml_platform.errors import ConfigError, PlatformError


@dataclass(frozen=True)
class BrokenUseCase:
    """A use case that cannot be loaded.

    Attributes:
        name: The name of its folder, because its own may be what cannot be read.
        path: Its ``use_case.yaml``.
        error: Why, with what, where and fix.
    """

    name: str
    path: Path
    error: PlatformError


@dataclass(frozen=True)
class Discovery:
    """All use cases of the search paths.

    Attributes:
        use_cases: Those that can be read, by name.
        broken: The others, in the order in which they were found.
    """

    use_cases: Mapping[str, UseCase]
    broken: tuple[BrokenUseCase, ...]


def absent_folders() -> list[Path]:
    """Folders of ``$ML_PLATFORM_USE_CASES`` that do not exist: what they held is found nowhere."""
    paths = [Path(p) for p in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if p]
    return [p for p in dict.fromkeys(paths) if not p.is_dir()]


def discover(
    paths: Iterable[Path] | None = None, probe: Callable[[UseCase], object] = lambda _: None
) -> Discovery:
    """Read all use cases; of two with one name the first stays.

    Args:
        paths: Files to read; those of the search paths when left out.
        probe: Asked of each that can be read; a :class:`PlatformError` of it breaks the use case too.
    """
    found: dict[str, UseCase] = {}
    broken: list[BrokenUseCase] = []
    for path in _distinct(use_case_files() if paths is None else paths):
        try:
            use_case = load_use_case(path)
            _require_own_name(use_case, found)
            probe(use_case)
        except PlatformError as error:
            broken.append(BrokenUseCase(path.parent.name, path, error))
            continue
        found[use_case.name] = use_case
    return Discovery(found, tuple(broken))


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Without files that two search paths lead to."""
    return list({p.resolve(): p for p in paths}.values())


def _require_own_name(use_case: UseCase, found: Mapping[str, UseCase]) -> None:
    if use_case.name in found:
        raise ConfigError(
            f"another use case is named '{use_case.name}'",
            where=f"{found[use_case.name].folder} and {use_case.folder}",
            fix="rename one; the first is kept, and nothing of the second is loaded",
        )
