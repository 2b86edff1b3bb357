"""The tutorial's commands, run one after the other as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ml_platform.config import project_root

ROOT = project_root()
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
ACTIVATE = "source .venv/bin/activate\n"


def test_the_page_has_every_step_from_file_to_verdict() -> None:
    script = "".join(BLOCKS)
    order = [
        "parcels.py",
        "use-case new",
        "use-case check",
        "ml-platform run",
        "ml-platform get",
        "verdict show",
    ]
    at = [script.index(step) for step in order]
    assert at == sorted(at) and BLOCKS[0].startswith(ACTIVATE)


@pytest.mark.slow
def test_the_commands_lead_from_a_csv_to_a_verdict(tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ML_PLATFORM_", "DAGSTER_"))}
    environment = kept | {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(ROOT),
        "COLUMNS": "200",
    }
    # This interpreter's environment is the one that a reader would activate.
    script = "set -euo pipefail\n" + "\n".join(BLOCKS).removeprefix(ACTIVATE)

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    folder = tmp_path / "parcels_tutorial"
    for word in ("parcel_no,handed_in_at", "use_case.yaml", "probability", "Next:", "guard"):
        assert word in said, word
    assert (folder / "use_cases" / "parcels" / "use_case.yaml").exists()
    assert "parcels" in (folder / "catalogue_site" / "use_case_parcels.html").read_text(encoding="utf-8")
    assert not (ROOT / "ml_platform" / "use_cases" / "parcels").exists()
