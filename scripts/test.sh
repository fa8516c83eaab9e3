#!/usr/bin/env bash
# Runs the tests with the given flags of `swift test`, and keeps the log for scripts/counts.sh and the profiles for
# scripts/coverage.sh. The end-to-end tests come last, one after another: they measure how long things take.
set -uo pipefail
cd "$(dirname "$0")/.."

log=.build/test.log
profiles=.build/profiles
rm -rf "$profiles"
mkdir -p "$profiles"
: > "$log"

part() {
    swift test --disable-xctest "$@" 2>&1 | tee -a "$log"
    local status=${PIPESTATUS[0]}
    mkdir -p "$profiles/$name"
    mv .build/debug/codecov/*.profraw "$profiles/$name/" 2>/dev/null
    return "$status"
}

failed=0
name=unit part "$@" --skip EndToEndTests || failed=1
name=end-to-end part "$@" --filter EndToEndTests --no-parallel || failed=1
exit "$failed"
