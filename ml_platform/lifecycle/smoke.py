"""A fast look before a merge: does a use case load, and does its guard tell the truth in a few drills?

The clean drill is the smoke on a sample of the data: it lands, accepts, trains, gates, serves and diagnoses
in a sandbox that is deleted at the end. Nothing of the installation is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ml_platform.errors import PlatformError
from ml_platform.lifecycle.drills import running
from ml_platform.lifecycle.drills.judging import Settings
from ml_platform.lifecycle.platform import Target
from ml_platform.statistics.states import State

DRILLS = ("clean", "null_spike")
"""What is played where nothing is named: that nothing is found where nothing is, and that a fault is."""
HORIZON = 7
"""Partitions after the onset that these are played at most: what is told late is no matter of a fast look."""
_MARKS = {"PASS": "✅ pass", "FAIL": "❌ fail", "UNKNOWN": "❔ unknown", "UNDERPOWERED": "❔ underpowered"}


@dataclass(frozen=True)
class Smoked:
    """One check of one model.

    Attributes:
        model_key: The model.
        what: Name of the drill.
        state: PASS where the verdict was right, FAIL where not, UNKNOWN where it could not be played or where
            too little could be seen.
        said: Why, in a sentence.
        seconds: How long it took, without what drills share.
    """

    model_key: str
    what: str
    state: State
    said: str
    seconds: float = 0.0


def smoke(
    targets: Iterable[Target],
    names: Sequence[str],
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Smoked]:
    """Play some drills on each model; one that cannot be played stops no other.

    Raises:
        NotFoundError: There is no drill of a name.
    """
    chosen = running.chosen(list(names), settings.scenarios)
    for target in targets:
        left_out = running.inapplicable(target, chosen, settings.scenarios)
        for name, why in left_out.items():
            yield Smoked(target.key, name, "UNKNOWN", f"not played: {why}")
        if not (played := [n for n in chosen if n not in left_out]):
            continue
        try:
            for result in running.drill(target, played, settings, progress):
                state: State = "PASS" if result.right else "UNKNOWN" if result.missed else "FAIL"
                said = result.error or f"{result.verdict}: {result.why}"
                yield Smoked(target.key, result.name, state, said, result.seconds)
        except PlatformError as error:
            yield Smoked(target.key, ", ".join(played), "FAIL", error.what)


def markdown(found: Sequence[Smoked]) -> str:
    """The result as a comment on a change."""
    failed = sum(s.state == "FAIL" for s in found)
    unknown = sum(s.state == "UNKNOWN" for s in found)
    rows = [f"| {s.model_key} | {s.what} | {_MARKS[s.state]} | {_cell(s.said)} |" for s in found]
    head = f"{len(found)} check(s): {failed} failed, {unknown} could not be judged"
    return (
        "\n".join(["## Smoke", "", head, "", "| model | drill | result | why |", "|---|---|---|---|", *rows])
        + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
