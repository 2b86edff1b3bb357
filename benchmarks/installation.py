"""An installation to measure on: a copy of what the demo left, else the tests' small use case, played."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ml_platform.config import home
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry.promotions import champion

TESTS = Path(__file__).parents[1] / "tests"


@contextlib.contextmanager
def installation() -> Iterator[tuple[Platform, Target]]:
    """A copy that may be changed, and a model of it that has a champion."""
    sys.path.insert(0, str(TESTS))
    import library

    with tempfile.TemporaryDirectory(prefix="ml-platform-benchmark-") as folder:
        copy = Path(folder) / "home"
        if served_model(Platform()) is not None:
            copy_home(home(), copy)
        else:
            print("no champion here: measuring on the small use case of the tests", flush=True)
            os.environ["ML_PLATFORM_USE_CASES"] = str(library.FOLDER)
            played = library.open_library(copy)
            library.train_first(played)
            library.serve_first(played)
        platform = Platform({"ML_PLATFORM_HOME": str(copy)})
        target = served_model(platform)
        assert target is not None
        yield platform, target


def served_model(platform: Platform) -> Target | None:
    """The first model that has a champion; looks, and makes nothing."""
    if not (platform.home / "ledger.db").exists():
        return None
    found = (t for t in platform.targets() if champion(platform.ledger, t.key) is not None)
    return next(found, None)
