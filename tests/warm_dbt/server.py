"""Runs dbt in a child for each request on the socket whose number it is given, with its parent's id."""

import contextlib
import json
import os
import socket
import sys
from typing import NoReturn

_SECONDS = 5
"""How often it looks whether the tests that started it are still there."""


def serve(listener: socket.socket, parent: int) -> None:
    """Until it is ended, or its parent is gone. Children are forked from one thread, after the imports."""
    listener.settimeout(_SECONDS)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            import dbt.adapters.duckdb
            import dbt.cli.main  # noqa: F401

            if os.fork() == 0:
                listener.close()
                _answer(connection)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that have ended
                pass


def _answer(connection: socket.socket) -> NoReturn:
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    request = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    asked = json.loads(request)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    code = _run(asked["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(code).encode())
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    from dbt.cli.main import cli

    try:
        cli.main(arguments, prog_name="dbt")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
