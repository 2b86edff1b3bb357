"""Ask a running Dagster on this machine to take the code as it is now."""

from __future__ import annotations

import argparse
import socket
import sys

from dagster_graphql import DagsterGraphQLClient, ReloadRepositoryLocationStatus

HOST, LOCATION = "127.0.0.1", "ml_platform"


def main() -> int:
    """Reload; 0 when the new code is in force or nothing runs that would have to take it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    port = parser.parse_args().port
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        sys.stdout.write(f"no Dagster runs on port {port}: the next start takes the new code\n")
        return 0
    client = DagsterGraphQLClient(HOST, port_number=port, timeout=120)
    found = client.reload_repository_location(LOCATION)
    if found.status == ReloadRepositoryLocationStatus.SUCCESS:
        sys.stdout.write(f"{LOCATION} was reloaded\n")
        return 0
    sys.stderr.write(f"{LOCATION} could not be reloaded, the old code goes on: {found.message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
