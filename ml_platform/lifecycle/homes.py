"""Copies of an installation's state, for sandboxes and tests."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

_IMMUTABLE = ("lake", "lake-cache")


def copy_home(source: Path, target: Path) -> Path:
    """The state at another place, MLflow's artifact addresses included; returns the place.

    Objects of the lake, which never change, are hard links.
    """
    for folder, _, names in os.walk(source):
        inside = Path(folder).relative_to(source)
        (target / inside).mkdir(parents=True, exist_ok=True)
        never_changes = bool(inside.parts) and inside.parts[0] in _IMMUTABLE
        for name in names:
            file = Path(folder, name)
            if never_changes:
                os.link(file, target / inside / name)
            elif not file.is_socket():
                shutil.copy2(file, target / inside / name)
    if (target / "mlflow.db").exists():
        with sqlite3.connect(target / "mlflow.db") as database:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(source), str(target))
                )
        database.close()
    return target
