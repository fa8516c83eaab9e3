#!/usr/bin/env bash
# Runs the tests with the given flags of `swift test`, and keeps the counts for scripts/counts.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

log=.build/test.log
mkdir -p .build
rm -f .build/debug/codecov/*.profraw
set +e
swift test --disable-xctest "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
set -e
exit "$status"
