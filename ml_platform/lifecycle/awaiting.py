"""The candidate that waits for a person, and from when on a champion is seen in what is served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ml_platform.lifecycle.agenda import last_scored
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.tables import Evaluation, Promotion


@dataclass(frozen=True)
class Waiting:
    """A candidate that passed its gates and waits for a person.

    Attributes:
        model_key: The model.
        evaluation: What its gates said, and when.
        version: The version that it would be.
    """

    model_key: str
    evaluation: Evaluation
    version: int

    def sentence(self, since: date) -> str:
        """For people; ``since`` is the local day of its evaluation."""
        passed, digest = len(self.evaluation.gates), self.evaluation.model_digest[:12]
        return (
            f"version {self.version} (model {digest}) waits for a person since {since}; "
            f"it passed its {passed} gates"
        )

    @property
    def commands(self) -> tuple[str, str]:
        """What a person can say."""
        ask = f'{self.model_key} --why "…"'
        return f"ml-platform approve {ask}", f"ml-platform reject {ask}"


def waiting(platform: Platform, target: Target) -> Waiting | None:
    """The candidate judged last, where it passed, the policy asks a person, and nobody has decided."""
    if target.model.promotion.policy != "approval":
        return None
    found = promotions.latest_evaluation(platform.ledger, target.key)
    if found is None or not found.passed or promotions.approval_of(platform.ledger, found.id):
        return None
    champion = promotions.champion(platform.ledger, target.key)
    if champion is not None and champion.model_digest == found.model_digest:
        return None
    return Waiting(target.key, found, promotions.next_version(platform.ledger, target.key))


def takes_over(platform: Platform, target: Target, champion: Promotion) -> str:
    """From which partition on a new champion is read, as what was served before keeps its own version."""
    scheme, last = target.use_case.scheme, last_scored(platform, target)
    told = f"version {champion.version}"
    if last is None:
        return f"nothing is served yet; `ml-platform run {target.use_case.name}` scores the first by {told}"
    following = scheme.shift(last, 1)
    before = f"what was served up to {last} stays as the champion before said it"
    if scheme.last_key is not None and following > scheme.last_key:
        return f"{before}; the data end there, and {told} scores what comes after"
    return f"{before}; {told} scores from {following} on"
