#!/usr/bin/env bash
# Everything CI runs: lint, types, layers, tests. Installs Redis and Postgres where they are missing and possible.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
has_redis() { command -v redis-server >/dev/null; }
has_postgres() { command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
need() { # check, package: install it where that is possible, else say loudly what is not tested
  "$1" && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $2 for the tests …"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"; } >/dev/null 2>&1 || true
  fi
  "$1" || echo "WARNING: $2 is missing, so its tests will be SKIPPED: apt-get install $2"
}
need has_redis redis-server
need has_postgres postgresql
"$bin"/ruff check .
"$bin"/ruff format --check .
# Types and layers are looked at beside the tests, and told after them. Three workers keep two cores busy,
# because tests wait for servers and files.
typed=$(mktemp)
{ "$bin"/mypy && "$bin"/lint-imports; } >"$typed" 2>&1 &
types=$! failed=0
"$bin"/pytest -n 3 --dist loadfile --no-loadscope-reorder -ra "$@" || failed=$?
wait "$types" || failed=$?
cat "$typed"
rm -f "$typed"
exit "$failed"
