"""Load a bundle in a fresh process and score a sample, as a server would.

Run as ``python -m ml_platform.lifecycle.bundle_check BUNDLE DIGEST SAMPLE``: it prints the scores as JSON.
A bundle that only loads where it was trained, or scores otherwise there, is found out before it serves.
The load-and-query check follows TFX's infra validator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_platform.errors import IntegrityError
from ml_platform.storage.lake import Lake
from ml_platform.storage.parquet import read_table, write_table

SAMPLE_ROWS = 200
_TOLERANCE = 1e-9
_SECONDS = 180


def check_bundle(
    lake: Lake, digest: str, sample: pa.Table, expected: npt.NDArray[np.float64], model_key: str
) -> None:
    """Score a sample in a fresh process and compare with the scores that were judged.

    Args:
        lake: Where the bundle is.
        digest: Its digest.
        sample: Feature rows.
        expected: Their scores in the evaluation, in order.
        model_key: For the errors.

    Raises:
        IntegrityError: The bundle cannot be loaded, or its scores differ.
    """
    lake.get(digest)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "sample.parquet"
        rows.write_bytes(write_table(sample))
        command = [sys.executable, "-m", __name__, str(lake.path(digest)), digest, str(rows)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if result.returncode:
        why = result.stderr.strip().splitlines() or [f"it ended with {result.returncode}"]
        raise IntegrityError(
            f"the bundle cannot be loaded in a fresh process: {why[-1]}",
            where=f"{model_key}, model {digest[:12]}",
            fix="train it again; the last champion still serves",
        )
    scores = np.asarray(json.loads(result.stdout), dtype=np.float64)
    if scores.shape != expected.shape or not np.allclose(scores, expected, rtol=0, atol=_TOLERANCE):
        raise IntegrityError(
            "the bundle scores otherwise in a fresh process than it did in its evaluation",
            where=f"{model_key}, model {digest[:12]}",
            fix="evaluate it again; the last champion still serves",
        )


def main() -> None:
    """Score the sample named on the command line."""
    from ml_platform.modeling import bundle

    path, digest, rows = sys.argv[1:]
    model = bundle.from_bytes(Path(path).read_bytes(), digest)
    scores = model.predict(read_table(Path(rows).read_bytes()))
    sys.stdout.write(json.dumps(scores.tolist()))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Threads of the libraries may abort a process that ends while they begin, when all has been said.
    os._exit(0)
