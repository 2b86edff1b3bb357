"""What all settings models share: unknown keys are errors, and settings do not change."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Strict(BaseModel):
    """A model that forbids unknown keys and cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
