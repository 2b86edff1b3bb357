"""Everything that is wrong with a use case, at once: its files, its code, and what its feeds really deliver.

Files are read in this process. Feed code is imported, and feeds are read, accepted and turned into features,
in processes of their own with a limit on time and memory, in a home that is thrown away: nothing is changed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from ml_platform.config import UseCase, load_use_case
from ml_platform.errors import FeedError, PlatformError
from ml_platform.lifecycle.health import require_importable
from ml_platform.lifecycle.loadable import feeds_before, load_problems
from ml_platform.limited import run_limited
from ml_platform.remarks import Remark

SECONDS = 300.0
"""How long a look at a few partitions may take."""
REMARKS, STAGE = "remarks.json", "stage"
"""What the process that looks leaves: what it found, and what it is doing."""

# Shortly before its time is up it tells where it is, for the one who ends it.
_LOOK = """
import faulthandler, sys, time
from pathlib import Path
faulthandler.dump_traceback_later(max(0.1, float(sys.argv[3]) - time.time() - 0.5))
from ml_platform.lifecycle.data_check import main
main(Path(sys.argv[1]), Path(sys.argv[2]), everything=sys.argv[4] == "all")
"""
_LAST_WORDS = "Timeout ("
"""How ``dump_traceback_later`` begins."""


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


def check_data(
    use_case: UseCase,
    *,
    seconds: float | None = None,
    megabytes: float | None = None,
    everything: bool = False,
) -> list[Remark]:
    """What is wrong with a use case's data, from a few partitions or all, judged in a process of its own.

    Args:
        use_case: One whose files can be read.
        seconds: How long it may take; when left out what a run of it may, and a few partitions not longer
            than :data:`SECONDS`.
        megabytes: How much memory it may take; when left out what a run of it may.
        everything: Look at all partitions.
    """
    limits = _limits(use_case, seconds, megabytes, everything)
    (longest, _), (largest, _) = limits["seconds"], limits["megabytes"]
    with tempfile.TemporaryDirectory(prefix="ml-platform-check-") as scratch:
        answer = Path(scratch) / REMARKS
        options = ["-X", "faulthandler", "-W", "ignore", "-c", _LOOK]
        file = use_case.folder / "use_case.yaml"
        deadline = time.time() + longest
        given = [str(file), scratch, str(deadline), "all" if everything else ""]
        command = [sys.executable, *options, *given]
        ended = run_limited(command, seconds=longest, megabytes=largest)
        if (ended.code or 0) < 0 and _LAST_WORDS in ended.errors:
            # The last words before the limit are read off a running thread, which now and then crashes it.
            ended = replace(ended, code=None, why=f"it did not end within {longest:g} s", limit="seconds")
        if answer.exists() and not ended.why:
            return [Remark(**r) for r in json.loads(answer.read_text(encoding="utf-8"))]
        stage = Path(scratch) / STAGE
        told = stage.read_text(encoding="utf-8") if stage.exists() else "opening its stores\n"
        doing, origin = told.split("\n")
        place = ended.place(use_case.folder) or (f"{use_case.folder} ({origin})" if origin else "")
        if ended.why:
            return [
                Remark(
                    "error",
                    f"{doing} was ended: {ended.why}",
                    place or str(use_case.folder),
                    "make its code or SQL cheaper: a few partitions should take seconds; or raise "
                    f"{limits[ended.limit][1]}",
                )
            ]
        lines = ended.errors.strip().splitlines()
        said = lines[-1] if ended.code == 1 and lines else ended.how
        found = ended.place(use_case.folder)
        fix = "correct the code there" if found else "look for what is strange in the files that it reads"
        return [
            Remark(
                "error",
                f"{doing} failed: {said}",
                place or str(use_case.folder),
                f"{fix}; a reader returns or raises, and never ends its process",
            )
        ]


def _limits(
    use_case: UseCase, seconds: float | None, megabytes: float | None, everything: bool
) -> dict[str, tuple[float, str]]:
    """What a look at the data may take, each with the place where that is said."""
    limits, file = use_case.config.limits, use_case.folder / "use_case.yaml"
    run = limits.run_time.total_seconds()
    time_ = (run, f"limits.run_time in {file}") if everything or run < SECONDS else (SECONDS, "--timeout")
    memory = (float(limits.memory_mb), f"limits.memory_mb in {file}")
    return {
        "seconds": time_ if seconds is None else (seconds, "--timeout"),
        "megabytes": memory if megabytes is None else (megabytes, "--memory"),
    }


def write_remarks(remarks: list[Remark], folder: Path) -> None:
    """Leave remarks for the process that asked."""
    text = json.dumps([asdict(r) for r in remarks])
    (folder / REMARKS).write_text(text, encoding="utf-8")


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
