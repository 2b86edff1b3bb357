"""What an estimator is fitted for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ml_platform.kinds.base import Kind
from ml_platform.kinds.of import kind_of
from ml_platform.model_config import ModelConfig

Objective: TypeAlias = Literal["squared_error", "poisson", "tweedie"]


@dataclass(frozen=True, slots=True)
class Task:
    """Kind of target, and what is fitted where the kind leaves a choice.

    Attributes:
        kind: Kind of target.
        objective: Of a regression by boosted trees.
    """

    kind: Kind
    objective: Objective = "squared_error"

    @classmethod
    def of(cls, config: ModelConfig) -> Task:
        """The task of a model's settings."""
        return cls(kind_of(config), config.training.objective)
