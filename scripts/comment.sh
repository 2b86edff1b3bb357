#!/usr/bin/env bash
# Puts what `make smoke` found on a pull request: one comment, which the next run replaces.
set -euo pipefail
cd "$(dirname "$0")/.."
page=${SMOKE_PAGE:-build/smoke.md}
[ -f "$page" ] || { echo "there is nothing to say: run make smoke first" >&2; exit 1; }
[ -n "${PULL_REQUEST:-}" ] || { echo "PULL_REQUEST is not set: this is no pull request" >&2; exit 1; }
gh pr comment "$PULL_REQUEST" --body-file "$page" --edit-last --create-if-none
