#!/usr/bin/env bash
# On the machine that serves: brings ledger and dbt projects up to date, checks them, reloads the code location.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
"$bin"/ml-platform prepare
"$bin"/ml-platform doctor
"$bin"/python scripts/reload_code_location.py --port "${PORT:-3000}"
