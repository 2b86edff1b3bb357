"""``ml-platform pages`` and ``mlflow``: what the UI links to, on loopback."""

from __future__ import annotations

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ml_platform.cli.shared import console, platform


def pages(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; that of the links by default.")] = None,
) -> None:
    """Show reports, charts, diagnoses, READMEs and the catalogue over HTTP on loopback."""
    from ml_platform.lifecycle.shelf import PlatformShelf
    from ml_platform.serving.http import LOOPBACK, require_free, run
    from ml_platform.serving.pages import create_app

    stores = platform()
    chosen = port or urlsplit(stores.pages_url).port or 8090
    require_free(chosen)
    console.print(f"pages on http://{LOOPBACK}:{chosen}", highlight=False)
    run(create_app(PlatformShelf(stores)), port=chosen)


def mlflow(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; that of the links by default.")] = None,
) -> None:
    """Open MLflow's own UI on loopback over the platform's tracking store; a server's address is printed."""
    from ml_platform.serving.http import require_free

    stores = platform()
    uri = stores.tracking.uri
    if uri.startswith(("http://", "https://")):
        console.print(f"MLflow is a server: {uri}", highlight=False)
        return
    chosen = str(port or urlsplit(stores.mlflow_url).port or 5000)
    require_free(int(chosen))
    # The address may hold a password, which an argument would show to everyone on this machine.
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": stores.tracking.artifacts.resolve().as_uri(),
        # Looking at runs needs no workers for evaluation jobs beside the server.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--host",
        "127.0.0.1",
        "--port",
        chosen,
        "--workers",
        "1",
    ]
    os.execve(sys.executable, command, {**os.environ, **settings})
