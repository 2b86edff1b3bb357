"""Writes a proposal as one folder, all of it or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from ml_platform.config import json_schema, load_use_case
from ml_platform.errors import ConfigError
from ml_platform.scaffold.contracts import contract_files
from ml_platform.scaffold.proposal import Proposal
from ml_platform.scaffold.readme import readme
from ml_platform.scaffold.settings import use_case_yaml
from ml_platform.scaffold.sql import dbt_files


def write_use_case(p: Proposal, into: Path) -> Path:
    """Write the folder ``<into>/<name>``; nothing is written over.

    Raises:
        ConfigError: The folder is there already, or cannot be made.
    """
    folder = into.resolve() / p.wishes.name
    if folder.exists():
        raise ConfigError(
            "there is something already", where=str(folder), fix="choose another name or --into, or remove it"
        )
    files = {
        "use_case.yaml": use_case_yaml(p, folder),
        "use_case.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        "README.md": readme(p, folder),
        ".gitignore": "dbt/target/\ndbt/logs/\n",
        **contract_files(p),
        **dbt_files(p),
    }
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=into) as scratch:
            made = Path(scratch) / p.wishes.name
            for name, text in files.items():
                file = made / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            load_use_case(made / "use_case.yaml")
            shutil.move(made, folder)
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be written: {error}", where=str(folder), fix="choose another --into"
        ) from error
    return folder
