#!/usr/bin/env bash
# Prints line coverage of Sources/ after `make test`, and fails under 80 % overall or 90 % of the state machines.
# The real binary, which the end-to-end tests start, counts too.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(dirname "$(readlink -f "$(command -v swift)")")
profiles=.build/profiles
"$tools/llvm-profdata" merge --failure-mode=all -sparse "$profiles"/*/*.profraw -o "$profiles/all.profdata"
tests=$(find .build/debug/ -maxdepth 1 -name '*PackageTests.xctest')
"$tools/llvm-cov" export -summary-only -instr-profile "$profiles/all.profdata" "$tests" -object .build/debug/sba \
    > "$profiles/summary.json"

python3 - "$profiles/summary.json" <<'PYTHON'
import json, os, sys

minimum, machine_minimum = 80.0, 90.0
root = os.getcwd() + "/Sources/"
covered, total, machines = {}, {}, []
for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
    name = file["filename"]
    if not name.startswith(root):
        continue
    lines = file["summary"]["lines"]
    target = name[len(root):].split("/")[0]
    covered[target] = covered.get(target, 0) + lines["covered"]
    total[target] = total.get(target, 0) + lines["count"]
    if name.endswith("StateMachine.swift"):
        machines.append((os.path.basename(name), lines["percent"]))
for target in sorted(total):
    print(f"{target:14} {100 * covered[target] / total[target]:5.1f} %  of {total[target]} lines")
overall = 100 * sum(covered.values()) / sum(total.values())
print(f"{'Sources':14} {overall:5.1f} %  of {sum(total.values())} lines (at least {minimum} %)")
for name, percent in machines:
    print(f"{name}: {percent:.1f} % (at least {machine_minimum} %)")
sys.exit(overall < minimum or any(percent < machine_minimum for _, percent in machines))
PYTHON
