"""The health of all use cases: broken ones, code that fails or hangs, and ones that are gone."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Literal

from ml_platform.config import UseCase
from ml_platform.errors import FeedError, PlatformError
from ml_platform.lifecycle.absent import removed
from ml_platform.lifecycle.loadable import require_loadable
from ml_platform.lifecycle.platform import Platform
from ml_platform.limited import run_limited

State = Literal["ok", "broken", "removed"]
IMPORT_SECONDS, IMPORT_MEGABYTES = 60.0, 2048.0
"""How long a use case's module may take to import, and how much memory, before it counts as hanging."""

_IMPORT = """
import json, sys
from pathlib import Path
from ml_platform.errors import PlatformError
from ml_platform.ingestion.code import load_code
for spec in sys.argv[2:]:
    try:
        load_code(Path(sys.argv[1]), spec)
    except PlatformError as error:
        print()
        print(json.dumps([error.what, error.where, error.fix]))
        sys.exit(3)
sys.exit(4)
"""
_IMPORTED = 4
"""Exit code of its end: that of a module which ends the process meanwhile may be 0."""


@dataclass(frozen=True)
class Health:
    """How one use case is.

    Attributes:
        name: Its name; of one that cannot be read its folder's.
        state: ``removed`` is in the ledger and on no search path.
        where: Its folder.
        error: Why it is not ok.
    """

    name: str
    state: State
    where: str
    error: PlatformError | None = None


def examine(platform: Platform, *, run_code: bool = True) -> list[Health]:
    """How all use cases are.

    Args:
        platform: The stores.
        run_code: Import feed code too, each use case's in a process of its own with a time limit.
    """
    seen = [Health(b.name, "broken", str(b.path.parent), b.error) for b in platform.discovery.broken]
    feeds: dict[str, UseCase] = {}
    for use_case in platform.use_cases.values():
        try:
            require_loadable(use_case, feeds)
            if run_code:
                require_importable(use_case)
        except PlatformError as error:
            seen.append(Health(use_case.name, "broken", str(use_case.folder), error))
            continue
        for feed in use_case.config.feeds:
            feeds.setdefault(feed.name, use_case)
        seen.append(Health(use_case.name, "ok", str(use_case.folder)))
    return [*seen, *(Health(name, "removed", "", error) for name, error in removed(platform).items())]


def require_importable(use_case: UseCase, seconds: float = IMPORT_SECONDS) -> None:
    """Import a use case's feed code in a process of its own.

    Raises:
        FeedError: It raises, hangs, or ends its process.
    """
    specs = sorted({f.reader for f in use_case.config.feeds if f.reader})
    if not specs:
        return
    command = [sys.executable, "-X", "faulthandler", "-c", _IMPORT, str(use_case.folder), *specs]
    done = run_limited(command, seconds=seconds, megabytes=IMPORT_MEGABYTES)
    where = f"{use_case.folder} ({', '.join(specs)})"
    if done.why:
        raise FeedError(
            f"importing its feed code was ended: {done.why}",
            where=where,
            fix="move work from the top of the module into the reader",
        )
    if done.code == 3:
        what, where, fix = json.loads(done.output.splitlines()[-1])
        raise FeedError(what, where=where, fix=fix)
    if done.code != _IMPORTED:
        raise FeedError(
            f"its feed code ended its process: {done.how}",
            where=done.place(use_case.folder) or where,
            fix="correct the module",
        )
