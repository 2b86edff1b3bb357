"""The notebooks run on an installation they have never seen, and are stored without outputs."""

import re
from pathlib import Path

import nbformat
import pytest
from library import MODEL, Library
from nbclient import NotebookClient

from ml_platform.config import project_root
from ml_platform.lifecycle.guard.diagnosing import diagnose_now

FOLDER = project_root() / "docs" / "notebooks"
NAMES = ("explore_a_dataset", "read_a_verdict", "try_a_feature")


def text_of(notebook: nbformat.NotebookNode) -> str:
    """All that a notebook's cells printed or returned."""
    outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
    return "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.fixture
def run(served: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs a notebook on the served library, in a kernel of its own."""
    diagnose_now(served.platform, served.target, served.now)
    served.close()
    monkeypatch.setenv("ML_PLATFORM_HOME", str(served.platform.home))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def play(name: str) -> nbformat.NotebookNode:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        return NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()

    return play


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code and all(not c.outputs and c.execution_count is None for c in code)
    assert notebook.cells[0].source.startswith("# ")


def test_every_notebook_is_listed_and_tested() -> None:
    assert {f.stem for f in FOLDER.glob("*.ipynb")} == set(NAMES)
    listed = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<(\w+)\.ipynb>", listed)) == set(NAMES)


@pytest.mark.slow
def test_a_dataset_version_is_explored(run) -> None:  # type: ignore[no-untyped-def]
    played = run("explore_a_dataset")

    told = text_of(played)
    assert MODEL in told and "'train': 18" in told and "'gate': 8" in told and "52" in told
    assert any("image/png" in o.get("data", {}) for c in played.cells for o in c.get("outputs", []))


@pytest.mark.slow
def test_a_verdict_is_read(run) -> None:  # type: ignore[no-untyped-def]
    told = text_of(run("read_a_verdict"))

    assert "wait_for_labels" in told and "UNKNOWN" in told and "would change its mind" in told


@pytest.mark.slow
def test_a_feature_is_tried(run) -> None:  # type: ignore[no-untyped-def]
    told = text_of(run("try_a_feature"))

    said = re.search(r"saves (\S+) log loss, one-sided 95 % bounds (\S+) to (\S+), 18 partitions", told)
    assert said, told
    mean, lower, upper = map(float, said.groups())
    assert lower < mean < upper
    assert ("not shown to help" in told) == (lower <= 0)
