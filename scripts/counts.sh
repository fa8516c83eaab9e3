#!/usr/bin/env bash
# Prints the plain counts of the last test run: `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

# `case passing 3 arguments` lines are parts of a test; a test ends with `Test … passed after …`.
passed=$(grep -cE '^. +Test .* passed after' .build/test.log || true)
failed=$(grep -cE '^. +Test .* failed after' .build/test.log || true)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
