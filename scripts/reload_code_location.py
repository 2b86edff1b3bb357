"""Ask a running Dagster on this machine to take the code as it is now."""

from __future__ import annotations

import argparse
import sys

from dagster_graphql import DagsterGraphQLClient, ReloadRepositoryLocationStatus

LOCATION = "ml_platform"


def main() -> int:
    """Reload; 0 when the new code is in force or nothing runs that would have to take it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    port = parser.parse_args().port
    try:
        client = DagsterGraphQLClient("127.0.0.1", port_number=port, timeout=120)
        found = client.reload_repository_location(LOCATION)
    except Exception as error:
        if "refused" not in str(error).lower():
            raise
        sys.stdout.write(f"no Dagster runs on port {port}: the next start takes the new code\n")
        return 0
    if found.status == ReloadRepositoryLocationStatus.SUCCESS:
        sys.stdout.write(f"{LOCATION} was reloaded\n")
        return 0
    sys.stderr.write(f"{LOCATION} could not be reloaded, the old code goes on: {found.message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
