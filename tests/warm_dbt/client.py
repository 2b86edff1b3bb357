"""Asks the server to run dbt with these arguments, here, and ends as it ends."""

import json
import os
import socket
import sys
from pathlib import Path

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = {"arguments": sys.argv[2:], "folder": str(Path.cwd()), "environment": dict(os.environ)}
    # The request ends where its half of the connection is closed.
    socket.send_fds(server, [b"\n"], [1, 2])
    server.sendall(json.dumps(asked).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(16)
sys.exit(int(code) if code else "the process that ran dbt was killed")
