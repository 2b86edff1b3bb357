"""The eleven questions of the diagnosis, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One question.

    Attributes:
        name: Key of its findings.
        number: Position, from 1.
        question: In words.
        terminates: A FAIL decides the verdict; later steps only annotate it.
    """

    name: str
    number: int
    question: str
    terminates: bool


_QUESTIONS = {
    "contract": "Does the data keep its contract, overall and per segment?",
    "units": "Did a unit change?",
    "skew": "Were other features served than are rebuilt?",
    "label_definition": "Did the label's meaning change?",
    "maturity": "Are the labels mature?",
    "volume": "Is there enough to judge?",
    "harm": "Is there harm at all?",
    "concept": "Did the outcome change for the same features?",
    "covariates": "Did the features change where it matters?",
    "leakage": "Does the model know what it could not know live, or was it worse from its first day?",
    "season": "Is it a season or a rare day?",
}
STEPS: tuple[Step, ...] = tuple(
    Step(name, number, question, terminates=number <= 5)
    for number, (name, question) in enumerate(_QUESTIONS.items(), 1)
)
DATA_STEPS = tuple(s.name for s in STEPS[:4])
"""Steps whose FAIL means corrupted data."""
TERMINATING = tuple(s.name for s in STEPS if s.terminates)
