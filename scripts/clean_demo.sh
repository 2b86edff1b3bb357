#!/usr/bin/env bash
# Forgets what the demo did: lake, ledger, tracking, serving cache and Dagster's runs, all under var.
set -euo pipefail
cd "$(dirname "$0")/.."
home=${ML_PLATFORM_HOME:-$PWD/var}
if [ -d "$home" ] && [ ! -e "$home/.ml-platform-home" ]; then
  echo "$home does not look like ml-platform's state (no .ml-platform-home in it); not removed" >&2
  exit 1
fi
rm -rf "$home"
echo "removed $home"
