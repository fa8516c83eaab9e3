#!/usr/bin/env bash
# Measures the release binary against its limits and its peers, and prints the tables of docs/benchmarks.md.
# Needs `make build` and `scripts/install.sh bench`; `make bench` does both. Traffic stays on loopback.
set -euo pipefail
cd "$(dirname "$0")/.."

for peer in langgraph fastapi queues bullmq; do
    requirements=Benchmarks/peers/$peer/requirements.txt
    # BullMQ pins versions that another peer cannot live with.
    [ "$peer" != bullmq ] || requirements=Benchmarks/peers/queues/requirements-bullmq.txt
    stamp=.tools/peer-$peer/requirements.sha256
    if [ -f "$stamp" ] && sha256sum --quiet --check "$stamp" 2>/dev/null; then continue; fi
    echo "Installing .tools/peer-$peer" >&2
    rm -rf ".tools/peer-$peer"
    python3 -m venv ".tools/peer-$peer"
    ".tools/peer-$peer/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
    sha256sum "$requirements" > "$stamp"
done

exec .tools/peer-fastapi/bin/python Benchmarks/bench.py "$@"
