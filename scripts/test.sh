#!/usr/bin/env bash
# Everything CI runs: lint, types, layers, tests. Installs redis-server where it is missing and possible.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
if ! command -v redis-server >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing redis-server for the tests …"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server; } >/dev/null 2>&1 || true
  fi
  command -v redis-server >/dev/null \
    || echo "WARNING: redis-server is missing, so the Redis tests will be SKIPPED: apt-get install redis-server"
fi
"$bin"/ruff check .
"$bin"/ruff format --check .
"$bin"/mypy
"$bin"/lint-imports
"$bin"/pytest -n 2 --dist loadgroup -ra "$@"
