"""What imports what: every process of Dagster pays for the graph, and each short command for its stages."""

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


ASK_IN_TURN = """
import importlib, json, sys
loaded = {}
for module in sys.argv[1:]:
    importlib.import_module(module)
    loaded[module] = sorted({m.split(".")[0] for m in sys.modules})
print(json.dumps(loaded))
"""
LEFT_OUT = {
    # In this order, in one process: each stays without what those before it did not load either.
    "ml_platform.lifecycle.guard.effects": {"great_expectations", "lightgbm", "sklearn", "optuna", "mlflow"},
    "ml_platform.lifecycle.guard.ingesting_ahead": {"lightgbm", "sklearn", "matplotlib", "mlflow", "skops"},
    "ml_platform.modeling.bundle": {"mlflow", "skops"},
    "ml_platform.lifecycle.training": {"mlflow", "skops"},
    "ml_platform.lifecycle.drills.running": {"mlflow", "skops"},
}
"""Imported only where it is used: worth, the ingestion of a replay, a bundle, a training, a drill."""


def test_short_processes_import_what_they_use() -> None:
    command = [sys.executable, "-W", "ignore", "-c", ASK_IN_TURN, *LEFT_OUT]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded = {module: set(packages) for module, packages in json.loads(answer.splitlines()[-1]).items()}

    assert {module: loaded[module] & packages for module, packages in LEFT_OUT.items()} == {
        module: set() for module in LEFT_OUT
    }
    assert "lightgbm" in loaded["ml_platform.lifecycle.drills.running"]
