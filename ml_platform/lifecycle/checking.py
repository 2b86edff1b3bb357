"""Everything that is wrong with a use case, at once: its files, its code, and what its feeds really deliver.

Files are read in this process. Feed code is imported, and feeds are read, accepted and turned into features,
in processes of their own with a limit on time and memory, in a home that is thrown away: nothing is changed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from ml_platform.config import UseCase, load_use_case
from ml_platform.errors import FeedError, PlatformError
from ml_platform.lifecycle.health import require_importable
from ml_platform.lifecycle.loadable import feeds_before, load_problems
from ml_platform.limited import run_limited
from ml_platform.remarks import Remark

SECONDS, MEGABYTES = 300.0, 4096.0

_LOOK = """
import sys
from pathlib import Path
from ml_platform.lifecycle.data_check import main
main(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def check_files(path: Path, others: Iterable[UseCase] = ()) -> tuple[UseCase | None, list[Remark]]:
    """What is wrong with a use case's files: YAML, contracts, feed code, dbt project.

    Args:
        path: Its ``use_case.yaml``.
        others: All use cases that can be read, in order: one feed may not be told in two ways.
    """
    try:
        use_case = load_use_case(path)
    except PlatformError as error:
        return None, [Remark.of(error)]
    problems = list(load_problems(use_case, feeds_before(use_case, others)))
    if not any(isinstance(p, FeedError) for p in problems):
        try:
            require_importable(use_case)
        except PlatformError as error:
            problems.append(error)
    found = [Remark.of(p) for p in problems]
    return use_case, list(dict.fromkeys([*found, *_known_at(use_case, path)]))


def check_data(use_case: UseCase, *, seconds: float = SECONDS, megabytes: float = MEGABYTES) -> list[Remark]:
    """What is wrong with a use case's data, from a few partitions, judged in a process of its own.

    Args:
        use_case: One whose files can be read.
        seconds: How long it may take.
        megabytes: How much memory it may take.
    """
    with tempfile.TemporaryDirectory(prefix="ml-platform-check-") as scratch:
        answer = Path(scratch) / "remarks.json"
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-W",
            "ignore",
            "-c",
            _LOOK,
            str(use_case.folder / "use_case.yaml"),
            scratch,
        ]
        ended = run_limited(command, seconds=seconds, megabytes=megabytes)
        if ended.why:
            return [
                Remark(
                    "error",
                    f"reading its feeds and building its features was ended: {ended.why}",
                    str(use_case.folder),
                    "make feed code and SQL cheaper; a few partitions should take seconds "
                    "(--timeout and --memory raise the limits)",
                )
            ]
        if not answer.exists():
            lines = ended.errors.strip().splitlines()
            said = lines[-1] if ended.code == 1 and lines else ended.how
            place = ended.place(use_case.folder)
            fix = "correct the code there" if place else "look for what is strange in the files that it reads"
            return [
                Remark(
                    "error",
                    f"looking at its data failed: {said}",
                    place or str(use_case.folder),
                    f"{fix}; a reader returns or raises, and never ends its process",
                )
            ]
        return [Remark(**r) for r in json.loads(answer.read_text(encoding="utf-8"))]


def write_remarks(remarks: list[Remark], folder: Path) -> None:
    """Leave remarks for the process that asked."""
    text = json.dumps([asdict(r) for r in remarks])
    (folder / "remarks.json").write_text(text, encoding="utf-8")


def _known_at(use_case: UseCase, path: Path) -> Iterator[Remark]:
    """What it costs that nobody says when a feed's rows could be known."""
    for feed in use_case.config.feeds:
        if feed.static or not feed.declared or feed.known_at is not None:
            continue
        yield Remark(
            "warning",
            f"feed {feed.name} does not say when its rows could be known: the event itself is taken. What is "
            "reported later then counts too early in features and labels, back-tests look better than "
            "production, and neither late data nor label delay can be seen",
            f"{path}: feed {feed.name}",
            "add known_at: {column: …}, {arrival: true} or {delay: P1D}",
        )
