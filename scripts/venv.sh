#!/usr/bin/env bash
# Makes or refreshes Python environments under .tools/, one for each scripts/requirements/NAME.txt: `venv.sh NAME…`.
# Everything is pinned by hash, and packages come without what they do not list.
set -euo pipefail
cd "$(dirname "$0")/.."

for name in "$@"; do
    requirements=scripts/requirements/$name.txt
    stamp=.tools/$name/requirements.sha256
    if [ -f "$stamp" ] && sha256sum --quiet --check "$stamp" 2>/dev/null; then continue; fi
    echo "Installing .tools/$name"
    rm -rf ".tools/$name"
    python3 -m venv ".tools/$name"
    ".tools/$name/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$requirements"
    sha256sum "$requirements" > "$stamp"
done
