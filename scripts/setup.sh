#!/usr/bin/env bash
# Makes .venv from the lock. Called by make; may be called again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() { printf '\n%s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "python3 (3.11 or newer) is missing: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "Python 3.11 or newer is needed; $("$python" --version) was found. Name another one: make PYTHON=python3.12 …"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "venv is missing: apt-get install python3-venv"

started=$SECONDS
echo "setting up .venv from requirements.lock (once; some minutes on a slow line) …"
"$python" -m venv .venv
install() { # pip alone takes minutes over so many packages; uv takes seconds, and pip helps out where uv cannot
  local uv_lock; uv_lock=$(mktemp)
  awk '/^uv==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock > "$uv_lock"
  if .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$uv_lock" \
    && .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes --no-deps \
      -r requirements.lock; then
    rm -f "$uv_lock"; return
  fi
  rm -f "$uv_lock"
  echo "uv could not install the lock; pip does it (some minutes) …"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
}
install
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
if ! error=$(.venv/bin/python -c 'import lightgbm' 2>&1); then
  case "$error" in
    *libgomp*) fail "LightGBM needs the system library libgomp: apt-get install libgomp1" ;;
    *) fail "LightGBM cannot be imported: $error" ;;
  esac
fi
touch .venv/.installed
echo "set-up took $((SECONDS - started)) s"
