"""Values as YAML writes them in one line."""

from __future__ import annotations

import json


def yaml_text(value: object) -> str:
    """Texts in double quotes, letters of all scripts as they are; escaped where one cannot be printed."""
    plain = json.dumps(value, ensure_ascii=False)
    return plain if plain.isprintable() else json.dumps(value)
