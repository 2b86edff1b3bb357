"""dbt for tests, in processes forked from one that has imported it: half of what a compile costs is imports.

The same command with the same arguments, folder and environment; only the process is not a new interpreter.
Where dbt's own answers are tested, and in all that runs from the command line, dbt is started as the platform
does it.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


@contextlib.contextmanager
def warm_dbt() -> Iterator[str]:
    """The address of a server that runs dbt until this ends; it imports dbt when first asked."""
    with tempfile.TemporaryDirectory(prefix="dbt-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "socket")
        listener.bind(address)
        listener.listen()
        number = listener.fileno()
        command = [sys.executable, str(FOLDER / "server.py"), str(number), str(os.getpid())]
        server = subprocess.Popen(command, pass_fds=[number])
        try:
            yield address
        finally:
            server.terminate()
            server.wait(30)


def dbt_at(address: str) -> list[str]:
    """In place of ``python -m dbt.cli.main``: the same on the server at this address."""
    return [sys.executable, "-I", "-S", str(FOLDER / "client.py"), address]
