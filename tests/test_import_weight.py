"""Composing the graph imports nothing heavy: every process of Dagster pays for it."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "alembic",
    "apprise",
    "boto3",
    "duckdb",
    "evidently",
    "fastapi",
    "great_expectations",
    "lightgbm",
    "lmdb",
    "matplotlib",
    "mlflow",
    "networkx",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "redis",
    "scipy",
    "sklearn",
    "skops",
    "sqlalchemy",
    "uvicorn",
)
ASK = """
import json, sys
import dagster, dagster_dbt
paid = set(sys.modules)
import ml_platform.definitions
ours = sorted(m for m in sys.modules if m.startswith("ml_platform."))
print(json.dumps({"new": sorted(set(sys.modules) - paid), "ours": ours}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Modules that a fresh process has loaded after the definitions, beyond Dagster's own."""
    command = [sys.executable, "-W", "ignore", "-c", ASK]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = json.loads(answer.splitlines()[-1])
    return found


@pytest.mark.parametrize("package", HEAVY)
def test_the_definitions_do_not_import(package: str, loaded: dict[str, list[str]]) -> None:
    assert package not in {name.split(".")[0] for name in loaded["new"]}


def test_the_definitions_did_load(loaded: dict[str, list[str]]) -> None:
    assert "ml_platform.orchestration.assets.models" in loaded["ours"]
    assert "ml_platform.contracts.parse" in loaded["ours"], "contracts are read where the graph is composed"


def test_stages_import_their_domain_only_when_they_run(loaded: dict[str, list[str]]) -> None:
    late = {
        "ml_platform.lifecycle.acceptance",
        "ml_platform.lifecycle.training",
        "ml_platform.lifecycle.scoring",
        "ml_platform.storage.ledger",
    }

    assert late.isdisjoint(loaded["ours"])
