"""Code that a use case or a person brings to a drill: ``drills.py`` and files of scenarios.

It is kept from ending the process, as feeds' code is: ``sys.exit(0)`` would read as a drill that went well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from ml_platform.errors import ConfigError, PlatformError
from ml_platform.ingestion.code import place_of
from ml_platform.ingestion.unending import kept_running

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


@contextlib.contextmanager
def own_code(file: Path, what: str) -> Iterator[None]:
    """Run code of a file.

    Args:
        file: Where it is.
        what: What fails if it does, for example ``the use case's drills.py``.

    Raises:
        ConfigError: It fails, or asks for the end of its process.
        PlatformError: What it raises itself.
    """
    try:
        with kept_running():
            yield
    except PlatformError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
        fix = (
            "let it return or raise an error instead of ending the process"
            if isinstance(error, SystemExit)
            else "correct the file"
        )
        place = place_of(error, file.parent) or str(file)
        raise ConfigError(f"{what} fails: {said}", where=place, fix=fix) from error


def guarded(function: Callable[_Arguments, _Answer], file: Path, what: str) -> Callable[_Arguments, _Answer]:
    """The function, run as :func:`own_code`."""

    @wraps(function)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        with own_code(file, what):
            return function(*args, **kwargs)

    return run
